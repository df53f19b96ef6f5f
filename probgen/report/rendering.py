"""A report as one HTML page: no script, no request, the same bytes for the same runs."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from probgen.codecs.sounds import from_mu_law, wav
from probgen.codecs.texts import texts_of
from probgen.contract.event import Event
from probgen.report.drawing import curve, grid, intervals, picture
from probgen.report.gathering import Gathered, Model
from probgen.store.files import write_whole

IMAGES, LINES, SOUNDS, NUMBERS = 40, 12, 4, 8  # samples that are shown
ACROSS = 16  # most columns of a table that are shown
ROOM, GAP = 100, 2  # characters across a page of A4, and between two columns
WORD = 12  # least width of a column of words, which are broken into lines on paper
DIGITS = 4  # of the spread of a column
MOST_DIGITS = 15  # that float64 distinguishes
LIKELIHOODS = {"log_likelihood", "objective", "valid_log_likelihood"}
NAMES = {"loss": "fit", "valid_loss": "validation"}
VERSIONS = (
    "seed",
    "created",
    "dtype",
    "device",
    "threads",
    "parts",
    "python",
    "probgen_version",
    "torch_version",
    "pyro_ppl_version",
    "numpy_version",
    "family_origin",
)


def write(report: Gathered, out: Path, rows: bool = True) -> Path:
    """Write a report.

    Args:
        report: The content of the report, from `gather`.
        out: The HTML file; an older one is replaced.
        rows: Whether rows of the data are shown.

    Returns:
        The file.

    Raises:
        FileError: For a damaged picture.
        RunError: If the file cannot be written.
    """
    # a name of a folder or a title may have bytes that are not text
    content = page(report, rows).encode(errors="backslashreplace")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, content)
    return out


def page(report: Gathered, rows: bool = True) -> str:
    """Return a report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "figure": _figure,
        "words": _words,
        "zipped": zip,
        "json": _json,
    }
    chapters = [_chapter(part, rows) for part in report.parts.values() or [report]]
    return environment.get_template("page.html").render(
        report=report, models=report.models, chapters=chapters, versions=VERSIONS
    )


def _chapter(report: Gathered, rows: bool) -> dict[str, Any]:
    """What a page shows of one recipe, or of several runs."""
    drawn = intervals([(row["log_prob"], row["log_prob_se"]) for row in report.table])
    models = [
        {
            "model": model,
            # the first samples of the seed, not chosen
            "samples": _samples(
                model.samples,
                model.event,
                report.rows if rows and model.name in report.sources[0].models else None,
            ),
            "curves": _curves(model),
            "pictures": [_embedded(file, model.name) for file in model.pictures],
            "found": [_result(found) for found in model.found],
            "other": {k: v for k, v in model.options.items() if k not in model.chosen and v is not None},
        }
        for model in report.models
    ]
    return {
        "report": report,
        "models": models,
        "bars": dict(zip((row["model"] for row in report.table), map(Markup, drawn), strict=True)),
        "data": _samples(report.rows, report.models[0].event) if rows else None,
        "found": [_result(found) for found in report.found],
    }


def _number(value: float | None, places: int = 3) -> str:
    """A number; nothing for one that is unknown, as is the standard error of one row."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.{places}f}" if math.isfinite(value) else "infinite" if value > 0 else "minus infinite"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.5g}"


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _embedded(file: Path, of: str) -> dict[str, Any]:
    url, width, height = picture(file)
    return {
        "url": url,
        "width": width,
        "height": height,
        "name": file.stem.replace("_", " ").replace(".", ": "),
        "alt": f"{file.stem} of {of}",
    }


def _result(found: Any) -> dict[str, Any]:
    return {"found": found, "pictures": [_embedded(file, found.name) for file in found.pictures]}


def _curves(model: Model) -> list[tuple[str, Markup]]:
    """The likelihood of each stage by step, or the losses of a game."""
    drawn = []
    stages = model.history["stage"].values if "stage" in model.history.coords else np.array([], str)
    per = "time step" if model.event.dims[-1:] == ("time",) else "row"
    for stage in dict.fromkeys(stages.tolist()):
        part = model.history.isel(step=stages == stage)
        x = part["step"].values + 1
        metrics = {
            str(k): v.values.astype(float) for k, v in part.data_vars.items() if v.dtype.kind in "biuf"
        }
        chosen = (
            [k for k in metrics if k in LIKELIHOODS]
            or [k for k in ("loss", "valid_loss") if k in metrics]
            or [k for k in metrics if k.endswith("loss")]
        )
        sign = -1 if chosen and chosen[0] in NAMES else 1
        unit = f"nats per {per}" if sign < 0 or set(chosen) <= LIKELIHOODS else "loss"
        svg = curve([(NAMES.get(k, k.replace("_", " ")), x, sign * metrics[k]) for k in chosen], "step", unit)
        if svg:
            drawn.append((stage, Markup(svg)))
    return drawn


def _samples(found: xr.Dataset | None, event: Event, like: xr.Dataset | None = None) -> dict[str, Any] | None:
    """Samples or rows, in the form that suits the event."""
    if found is None or "x" not in found:
        return None
    x = found["x"].values
    k = len(event.dims)
    x = x.reshape(-1, *x.shape[x.ndim - k :])
    shown: dict[str, Any] = {"n": len(x)}
    if event.is_image and k <= 3:
        real = like["x"].values if like is not None and "x" in like else None
        return shown | {
            "kind": "images",
            "url": grid(x[:IMAGES], event, real),
            "shown": min(IMAGES, len(x)),
        }
    if event.is_text:
        return shown | {"kind": "texts", "texts": texts_of(found["x"])[:LINES]}
    if event.rate:
        return shown | {"kind": "sounds", "sounds": [_sound(row, event.rate) for row in x[:SOUNDS]]}
    if k == 1:
        names = [column.name for column in event.columns] or [str(i) for i in range(x.shape[1])]
        columns = [_cells(x[:, j], event, j) for j in range(min(ACROSS, len(names)))]
        words = [bool(event.columns and event.columns[j].classes) for j in range(len(columns))]
        widths = [
            GAP + min(max(map(len, cells)), WORD if word else ROOM)
            for cells, word in zip(columns, words, strict=True)
        ]
        fit = max(1, int((np.cumsum(widths) <= ROOM).sum()))
        return shown | {
            "kind": "table",
            "names": names[:fit],
            "words": words[:fit],
            "columns": len(names),
            "rows": [list(row) for row in zip(*columns[:fit], strict=True)],
        }
    return None


def _cells(values: np.ndarray, event: Event, j: int) -> list[str]:
    """The first values of a column, with so many digits that rows which differ look different."""
    classes = event.columns[j].classes if event.columns else ()
    known = values[np.isfinite(values)].astype(float)
    spread = np.ptp(known) if known.size else 0.0
    largest = np.abs(known).max() if known.size else 0.0
    more = round(math.log10(largest / spread)) if 0 < spread < largest else 0
    digits = min(DIGITS + more, MOST_DIGITS)

    def cell(value: float) -> str:
        if not math.isfinite(value):
            return "missing"
        if classes and 0 <= int(value) < len(classes):
            return classes[int(value)]
        whole = float(value).is_integer() and abs(value) < 10**MOST_DIGITS
        return f"{value:.0f}" if whole else f"{value:.{digits}g}"

    return [cell(value) for value in values[:NUMBERS]]


def _sound(levels: np.ndarray, rate: int) -> str:
    return "data:audio/wav;base64," + base64.b64encode(wav(from_mu_law(levels), rate)).decode()
