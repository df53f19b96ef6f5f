"""A fitted model as text and as HTML, for interactive sessions and notebooks."""

from __future__ import annotations

import base64
import io
import json
import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from probgen.contract.definition import latents_of
from probgen.contract.run import Run
from probgen.contract.seeds import generators_kept, key, seed_torch
from probgen.contract.surroundings import alone
from probgen.errors import ProbgenError

if TYPE_CHECKING:
    from probgen.contract.fitted import Fitted

LONGEST = 400  # characters of a value
BYTES = 15_000  # of the picture, before it becomes text; the page then has less than 30 KiB
AT_MOST = 10  # samples
QUICK = 1024  # numbers of x that a model without latents samples one after the other in about a second


def facts(fitted: Fitted) -> dict[str, str]:
    """Return what a user looks for first, by name.

    Args:
        fitted: The fitted model.

    Returns:
        Family, event, options that differ from their defaults, number of parameters, data, last metrics, and notes.
    """
    options = fitted.options.model_dump(mode="json", exclude_defaults=True)
    data = fitted.provenance.get("data", {})
    where = [str(data[name]) for name in ("name", "split", "path") if name in data]
    numbers = sum(array.size for array in fitted.state.data_vars.values())
    found = {
        "family": f"{fitted.family} ({fitted.definition.origin})",
        "event": str(fitted.event),
        "options": ", ".join(f"{k} = {json.dumps(v)}" for k, v in options.items())
        or "all have their defaults",
        "parameters": f"{numbers:,}",
        "data": ", ".join([*where, f"{data['rows']:,} rows"]) if "rows" in data else "",
        "fit": _last(fitted),
        "groups": ", ".join(fitted.groups),
        "notes": " ".join(fitted.notes),
    }
    return {name: _short(value) for name, value in found.items() if value}


def as_text(fitted: Fitted) -> str:
    """Return the facts as lines.

    Args:
        fitted: The fitted model.

    Returns:
        One line for each fact, below a title.
    """
    return "\n".join(["Fitted", *(f"    {name:<12}{value}" for name, value in facts(fitted).items())])


def as_html(fitted: Fitted) -> str:
    """Return the facts as a table, with some samples if x is an image.

    The page has no script and less than 30 KiB. All values are escaped.

    Args:
        fitted: The fitted model.

    Returns:
        A fragment of HTML.
    """
    rows = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in facts(fitted).items()
    )
    return f"<div><strong>Fitted</strong><table>{rows}</table>{_picture(fitted)}</div>"


def _last(fitted: Fitted) -> str:
    """Return the number of steps, and the last finite value of each metric of the last stage."""
    history = fitted.history
    if not history.sizes.get("step"):
        return ""
    stage = str(history["stage"].values[-1])
    part = history.isel(step=history["stage"].values == stage)
    finite = {str(name): v.values[np.isfinite(v.values)] for name, v in part.data_vars.items()}
    metrics = ", ".join(f"{name} {values[-1]:.5g}" for name, values in finite.items() if len(values))
    return f"{history.sizes['step']:,} steps" + (f"; {stage}: {metrics}" if metrics else "")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _picture(fitted: Fitted) -> str:
    """Return samples as an image in a row, or "" if x is not an image or is not sampled quickly without conditions."""
    event, definition = fitted.event, fitted.definition
    if (
        not event.is_image
        or event.any_size
        or event.channels not in (1, 3)
        or event.given
        or definition.needed
        or not definition.offers("sample")
        or not (latents_of(fitted.module) or event.size <= QUICK)
    ):
        return ""
    n = min(AT_MOST, max(4, BYTES // event.size))
    try:
        x = _samples(fitted, n)
    except ProbgenError:  # the rest of the page is useful without samples
        return ""
    stride = math.ceil(math.sqrt(n * event.size / BYTES))
    levels = x.reshape(n, event.channels, *event.shape[-2:])[..., ::stride, ::stride]
    height, width = levels.shape[-2:]
    row = np.zeros((height, n * (width + 1) - 1, event.channels + 1), np.uint8)  # gaps are transparent
    for i, image in enumerate(levels):
        place = row[:, i * (width + 1) : i * (width + 1) + width]
        place[..., :-1], place[..., -1] = np.moveaxis(image, 0, 2), 255
    file = io.BytesIO()
    Image.fromarray(row).save(file, "png", optimize=True)  # of mode LA or RGBA
    scale = max(1, 64 // height)
    said = f"{n} samples, seed 0"
    return (
        f'<img alt="{said}" title="{said}" width="{row.shape[1] * scale}" style="image-rendering: pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )


def _samples(fitted: Fitted, n: int) -> np.ndarray:
    """Return the n samples of `probgen.sample(fitted, n, seed=0)` as levels from 0 to 255."""
    definition, run = fitted.definition, Run(0, dtype=fitted.dtype)
    with alone(), generators_kept(), torch.no_grad():
        module = fitted.module.to(run.device)
        assert not module.training
        seed_torch(key(run.seed, "sample", 0))
        options = definition.options("sample")()
        x = definition.call("sample", fitted=fitted, n=n, given={}, options=options, run=run)["x"]
    x = x.cpu().numpy().astype(np.float64)
    event = fitted.event
    levels = event.levels or 2
    low, high = (0.0, levels - 1.0) if event.discrete else (x.min(), x.max())
    level = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    if event.channels == 1 and event.discrete and levels < 256:
        level = 1 - level  # ink on paper where levels are few, as in `figures`
    return np.round(255 * level).astype(np.uint8)
