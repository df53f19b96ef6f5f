"""Find the rows that a model finds least likely, and the columns that make them unlikely.

The surprise of row x and column i is -log p(x_i | all other columns) = log p(x_-i) - log p(x), minus its mean
over typical rows. Columns are named one after another, and a named column is then treated as missing.
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
from probgen.data.describe import known_values
from probgen.errors import NotOffered
from probgen.figures import of_results
from probgen.figures.tables import cells

needs = "a table with named columns, and scores of rows with missing values"
TYPICAL = 200  # at most, rows that define the usual surprise of a column
NAMED = 2.0  # a column with more nats than this beyond the usual is named


class Options(BaseOptions):
    """Options of the list of outliers."""

    rows: int = Field(20, ge=1, description="number of least likely rows")
    named: int = Field(3, ge=1, description="greatest number of named columns per row")


def applies(fitted: Fitted) -> bool:
    """Return whether the event is a table and the family scores rows with missing values."""
    accepts = "observed" in fitted.definition.accepts
    return bool(fitted.event.columns) and fitted.definition.offers("score") and accepts


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Return the least likely rows, least likely first.

    The result contains `place` (position in the data), `log_prob` (row,), `surprise` (row, feature) in nats
    more than usual, `x`, and `why`: the most surprising columns with their values. `log_prob_rows` contains
    all rows.
    """
    if "observed" in data:
        data = data.assign(x=(data["x"].dims, known_values(data), data["x"].attrs)).drop_vars("observed")
    scores = _scores(fitted, data, call)
    order = np.argsort(scores, kind="stable")[: options.rows]
    few = data.isel(row=order)
    usual = np.nanmean(_surprise(fitted, evenly(data, TYPICAL), call), axis=0)
    surprise, named = _explained(fitted, few, usual, options.named, call)
    names = [column.name for column in fitted.event.columns]
    values = frame(few["x"]).astype(object)
    why = [
        ", ".join(f"{names[j]} = {values.iloc[i, j]!s} ({surprise[i, j]:+.1f})" for j in columns)
        or "no single column"
        for i, columns in enumerate(named)
    ]
    called = data["row"].values[order] if "row" in data.coords else order
    return xr.Dataset(
        {
            "place": ("row", order),
            "called": ("row", [str(each) for each in called], {"long_name": "name of the row"}),
            "log_prob": ("row", scores[order], {"units": "nat", "long_name": "log p(x) of the row"}),
            "why": ("row", why, {"long_name": "its most surprising columns (nats more than usual)"}),
            "surprise": (
                ("row", "feature"),
                np.nan_to_num(surprise),
                {"units": "nat", "long_name": "surprise beyond the usual"},
            ),
            "x": (("row", "feature"), few["x"].values, few["x"].attrs),
            "log_prob_rows": ("all_rows", scores, {"units": "nat"}),
        },
        {"feature": names},
    )


def _scores(fitted: Fitted, data: xr.Dataset, call: Call) -> np.ndarray:
    found = score(fitted, data, **call.common)
    if "log_prob" not in found:
        raise NotOffered(f"the family {fitted.family!r} has no likelihood. Use a family that has one.")
    return np.asarray(found["log_prob"].values, dtype=np.float64)


def _explained(
    fitted: Fitted, rows: xr.Dataset, usual: np.ndarray, most: int, call: Call
) -> tuple[np.ndarray, list[list[int]]]:
    """Return the surprise of each cell beyond the usual, (row, feature), and the named columns of each row.

    The most surprising column is named first and then treated as missing, because one wild value makes all
    related columns surprising.
    """
    x = rows["x"].values.astype(np.float64)
    left = x.copy()
    named: list[list[int]] = [[] for _ in x]
    surprise = np.full(x.shape, np.nan)
    for _ in range(most + 1):
        more = _surprise(fitted, rows.assign(x=(rows["x"].dims, left, rows["x"].attrs)), call) - usual
        open_ = ~np.isnan(left)
        surprise[open_] = more[open_]
        before = left.copy()
        for i, columns in enumerate(named):
            if np.isnan(before[i]).all() or len(columns) == most:
                continue
            j = int(np.argmax(np.where(open_[i], more[i], -np.inf)))
            if more[i, j] > NAMED:
                columns.append(j)
                left[i, j] = np.nan
        if np.array_equal(before, left, equal_nan=True):
            break
    return surprise, named


def _surprise(fitted: Fitted, rows: xr.Dataset, call: Call) -> np.ndarray:
    """Return -log p(x_i | others): (row, feature), NaN where a value is missing."""
    x = rows["x"].values.astype(np.float64)
    whole, found = _scores(fitted, rows, call), np.full(x.shape, np.nan)
    for i in range(x.shape[1]):
        without = x.copy()
        without[:, i] = np.nan
        rest = rows.assign(x=(rows["x"].dims, without, rows["x"].attrs))
        found[:, i] = np.where(np.isnan(x[:, i]), np.nan, _scores(fitted, rest, call) - whole)
    return found


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figure `surprise`: the surprise of each column in each row."""
    names = [str(name) for name in found["feature"].values]
    rows = [str(name) for name in found["called"].values]
    title = of_results(found, "Surprise of each value of the least likely rows")
    return {"surprise": cells(found["surprise"].values, rows, names, "nats more than usual", title, "row")}
