"""Facts and samples as text and as HTML, for interactive sessions and notebooks."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from html import escape

import numpy as np
import xarray as xr

from probgen.contract.event import Event

LONGEST = 400  # characters of a value
BYTES = 15_000  # of the picture, before it becomes text; the page then has less than 30 KiB
AT_MOST = 10  # samples


def as_text(title: str, facts: Mapping[str, str]) -> str:
    """Return facts as lines.

    Args:
        title: The first line.
        facts: The facts by name; empty facts are left out.

    Returns:
        The title, and one line for each fact.
    """
    lines = (f"    {name:<12}{_short(value)}" for name, value in facts.items() if value)
    return "\n".join([title, *lines])


def as_html(title: str, facts: Mapping[str, str], picture: str = "") -> str:
    """Return facts as a table. There is no script, and all facts are escaped.

    Args:
        title: The text above the table.
        facts: The facts by name; empty facts are left out.
        picture: An element of `picture_of`, or "".

    Returns:
        A fragment of HTML.
    """
    rows = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(_short(value))}</td></tr>'
        for name, value in facts.items()
        if value
    )
    return f"<div><strong>{escape(title)}</strong><table>{rows}</table>{picture}</div>"


def last_metrics(history: xr.Dataset) -> str:
    """Return the number of steps, and the last finite value of each metric of the last stage.

    Args:
        history: The metrics of every step, (step,), with the coordinate `stage`.

    Returns:
        A phrase; "" for a history without steps.
    """
    if not history.sizes.get("step"):
        return ""
    stage = str(history["stage"].values[-1])
    part = history.isel(step=history["stage"].values == stage)
    finite = {str(name): v.values[np.isfinite(v.values)] for name, v in part.data_vars.items()}
    metrics = ", ".join(f"{name} {values[-1]:.5g}" for name, values in finite.items() if len(values))
    return f"{history.sizes['step']:,} steps" + (f"; {stage}: {metrics}" if metrics else "")


def shown_images(event: Event) -> int:
    """Return how many samples a picture has.

    Args:
        event: The description of one datum.

    Returns:
        4 to 10, fewer for larger images; 0 if x is not an image of one size, in gray or in color.
    """
    if not event.is_image or event.any_size or event.channels not in (1, 3):
        return 0
    return min(AT_MOST, max(4, BYTES // event.size))


def picture_of(x: np.ndarray, event: Event, said: str) -> str:
    """Return images as one picture in a row. Large images have fewer pixels.

    Args:
        x: The images, (row, *event).
        event: The description of one image.
        said: The text for readers who do not see the picture.

    Returns:
        An element of HTML with less than 22 KiB.
    """
    n, levels = len(x), event.levels or 2
    stride = math.ceil(math.sqrt(n * event.size / BYTES))
    x = x.reshape(n, event.channels, *x.shape[-2:])[..., ::stride, ::stride].astype(np.float64)
    low, high = (0.0, levels - 1.0) if event.discrete else (x.min(), x.max())
    level = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    if event.channels == 1 and event.discrete and levels < 256:
        level = 1 - level  # ink on paper where levels are few, as in `figures`
    height, width = x.shape[-2:]
    row = np.zeros((height, n * (width + 1) - 1, event.channels + 1), np.uint8)  # gaps are transparent
    for i, image in enumerate(np.round(255 * level).astype(np.uint8)):
        place = row[:, i * (width + 1) : i * (width + 1) + width]
        place[..., :-1], place[..., -1] = np.moveaxis(image, 0, 2), 255
    from PIL import Image  # a fit needs no pictures

    file = io.BytesIO()
    Image.fromarray(row).save(file, "png", optimize=True)  # of mode LA or RGBA
    return (
        f'<img alt="{escape(said)}" title="{escape(said)}" width="{row.shape[1] * max(1, 64 // height)}" '
        'style="image-rendering: pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
