"""Outliers: the rows that a model finds least likely, and the columns that make them so.

Of row x and column i the surprise is -log p(x_i | all other columns) = log p(x_-i) - log p(x); what it is of a usual row is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen.api.framing import frame
from probgen.api.scoring import score
from probgen.contract.analysis import Call
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.errors import NotOffered
from probgen.figures.tables import cells

needs = "a table with named columns, and scores of rows with missing values"
TYPICAL = 200  # rows by which the usual surprise of a column is told


class Options(BaseOptions):
    """How many rows."""

    rows: int = Field(20, ge=1, description="least likely rows")
    named: int = Field(3, ge=1, description="columns that are named of each")


def applies(fitted: Fitted) -> bool:
    """Of tables that are known in part."""
    accepts = "observed" in fitted.definition.accepts
    return bool(fitted.event.columns) and fitted.definition.offers("score") and accepts


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Of the least likely rows, least likely first: `place` in the data, `log_prob` (row,), `surprise` (row, feature) in nats more than usual, x, and
    `why`: the columns that are most surprising, with their values. `log_prob_rows` is of all rows.
    """
    scores = _scores(fitted, data, call)
    order = np.argsort(scores, kind="stable")[: options.rows]
    few = data.isel(row=order)
    usual = _surprise(fitted, evenly(data, TYPICAL), call)
    surprise = _surprise(fitted, few, call) - np.nanmean(usual, axis=0)
    names = [column.name for column in fitted.event.columns]
    values = frame(few["x"]).astype(object)
    why = []
    for i in range(len(order)):
        best = np.argsort(-np.nan_to_num(surprise[i], nan=-np.inf))[: options.named]
        parts = [
            f"{names[j]} = {values.iloc[i, j]} ({surprise[i, j]:+.1f})" for j in best if surprise[i, j] > 0
        ]
        why.append(", ".join(parts) or "no column by itself")
    called = data["row"].values[order] if "row" in data.coords else order
    return xr.Dataset(
        {
            "place": ("row", order),
            "called": ("row", [str(each) for each in called]),
            "log_prob": ("row", scores[order], {"units": "nat"}),
            "why": ("row", why),
            "surprise": (
                ("row", "feature"),
                np.nan_to_num(surprise),
                {"units": "nat", "long_name": "more than usual"},
            ),
            "x": (("row", "feature"), few["x"].values, few["x"].attrs),
            "log_prob_rows": ("all_rows", scores, {"units": "nat"}),
        },
        {"feature": names},
    )


def _scores(fitted: Fitted, data: xr.Dataset, call: Call) -> np.ndarray:
    found = score(fitted, data, **call.common)
    if "log_prob" not in found:
        raise NotOffered(f"{fitted.family} has no likelihood")
    return np.asarray(found["log_prob"].values, dtype=np.float64)


def _surprise(fitted: Fitted, rows: xr.Dataset, call: Call) -> np.ndarray:
    """-log p(x_i | others) of rows: (row, feature), NaN where a value is missing."""
    x = rows["x"].values.astype(np.float64)
    whole, found = _scores(fitted, rows, call), np.full(x.shape, np.nan)
    for i in range(x.shape[1]):
        without = x.copy()
        without[:, i] = np.nan
        rest = rows.assign(x=(rows["x"].dims, without, rows["x"].attrs))
        found[:, i] = np.where(np.isnan(x[:, i]), np.nan, _scores(fitted, rest, call) - whole)
    return found


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`surprise`: which columns make each row odd."""
    names = [str(name) for name in found["feature"].values]
    rows = [str(name) for name in found["called"].values]
    return {
        "surprise": cells(found["surprise"].values, rows, names, "nats more than usual", found.attrs["title"])
    }
