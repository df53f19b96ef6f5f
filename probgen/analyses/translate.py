"""Translations: rows beside what the model makes of the text that they are conditioned on, and BLEU of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import evaluation
from probgen.api.sampling import sample
from probgen.codecs.texts import END, decode, texts_of
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly

needs = "texts that are conditioned on a text"


class Options(BaseOptions):
    """What to translate: greedily, symbol by symbol, and by a beam where the family has one."""

    rows: int | None = Field(default=None, ge=1, description="rows, evenly spaced; by default all")
    beams: int = Field(default=5, ge=1, description="of the beam")
    bleu: bool = Field(True, description="BLEU of the translations, which needs sacrebleu: probgen[text]")


def applies(fitted: Fitted) -> bool:
    """Of texts given texts."""
    return bool(fitted.event.symbols) and _source(fitted.event) is not None


def _source(event: Event) -> str | None:
    return next((name for name, part in event.given.items() if part.symbols), None)


def check(event: Event, options: Options) -> None:
    """Errors: `InputError` where sacrebleu is missing."""
    if options.bleu:
        evaluation.bleu(["a"], ["a"])


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """source, reference, greedy and beam: texts (row,); bleu_source, bleu_greedy and bleu_beam."""
    name = _source(fitted.event)
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


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """None: the texts are the result."""
    return {}


def _lines(rows: xr.Dataset, name: str, length: str) -> list[str]:
    """Texts of rows, without the line feed that ends them."""
    x = rows[name]
    lengths = rows[length].values if length in rows else [x.shape[1]] * len(x)
    return [decode(row[:n], x.attrs["symbols"]).rstrip(END) for row, n in zip(x.values, lengths, strict=True)]
