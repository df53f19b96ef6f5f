"""Compare texts with the model's translations of their sources, and compute BLEU."""

from __future__ import annotations

from typing import Any

import xarray as xr

from probgen import evaluation
from probgen.api.sampling import sample
from probgen.codecs.texts import END, decode, texts_of
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly


def source_of(event: Event) -> str | None:
    """Return the name of the condition that is a text, or None."""
    return next((name for name, part in event.given.items() if part.is_text), None)


def check(options: Any) -> None:
    """Check that sacrebleu is installed if the options need it.

    Args:
        options: Options of the translation.

    Raises:
        InputError: When `bleu` is set and sacrebleu is missing.
    """
    if options.bleu:
        evaluation.bleu(["a"], ["a"])


def run(fitted: Fitted, data: xr.Dataset, options: Any, call: Call) -> xr.Dataset:
    """Translate the sources of rows.

    The result contains the texts `source`, `reference`, `greedy` and `beam` (row,), and `bleu_source`,
    `bleu_greedy` and `bleu_beam`.
    """
    name = source_of(fitted.event)
    assert name is not None
    rows = evenly(data, options.rows)
    columns = {"source": _lines(rows, name, f"{name}_length"), "reference": _lines(rows, "x", "length")}
    given = {name: columns["source"]}
    known = fitted.definition.options("sample").model_fields
    ways: dict[str, dict[str, Any]] = {"greedy": {"top_k": 1}, "beam": {"beams": options.beams}}
    for kind, how in ways.items():
        if how.keys() <= known.keys():
            columns[kind] = texts_of(sample(fitted, given=given, **call.common, **how)["x"])
    found = xr.Dataset({kind: ("row", texts) for kind, texts in columns.items()})
    if options.bleu:
        scored = (kind for kind in columns if kind != "reference")
        found = found.assign({f"bleu_{k}": evaluation.bleu(columns[k], columns["reference"]) for k in scored})
    return found


def _lines(rows: xr.Dataset, name: str, length: str) -> list[str]:
    """Return the texts of rows, without the line feed at their end."""
    x = rows[name]
    lengths = rows[length].values if length in rows else [x.shape[1]] * len(x)
    return [decode(row[:n], x.attrs["symbols"]).rstrip(END) for row, n in zip(x.values, lengths, strict=True)]
