"""Fill the missing values of a table with samples given the observed values, with intervals.

x_m ~ p(x_m | x_o)          several times: multiple imputation (Rubin 1987)

The quality is measured on observed cells that the analysis hides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.columns import Column
from probgen.contract.conditions import conditions_in
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.data.describe import described, known_values
from probgen.errors import InputError
from probgen.figures import of_results
from probgen.figures.tables import bars
from probgen.readers.series import rounded

needs = "a table with named columns, and samples conditional on a part of x"


OF_CELL = {
    "cell_row": "row of a missing value",
    "column": "its column",
    "cell_value": "the imputed value: median of the samples, or most frequent class",
    "cell_low": "lower bound of its interval",
    "cell_high": "upper bound of its interval",
}
OF_HIDDEN = {
    "coverage": "share of hidden values within their intervals",
    "accuracy": "share of hidden classes that are imputed correctly",
    "rmse": "root mean square error of hidden values, in standard deviations of the column",
}


class Options(BaseOptions):
    """Options of the imputation."""

    rows: int | None = Field(
        None, ge=1, description="greatest number of rows, evenly spaced; default: all rows"
    )
    draws: int = Field(20, ge=2, description="samples per row")
    level: float = Field(0.9, gt=0, lt=1, description="probability of the intervals")
    hide: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of observed cells to hide at random, to compare them with their samples",
    )


def applies(fitted: Fitted) -> bool:
    """Return whether the event is a table and the family can be sampled from."""
    return bool(fitted.event.columns) and fitted.definition.offers("sample")


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Impute missing values, and measure the quality on hidden cells.

    The result contains the filled `table` (row, feature), `low` and `high` (row, feature), and `draws` (draw,
    row, feature). A missing number becomes the median of its samples, a missing class the most frequent one.
    Each filled cell is also listed with its interval in `analyses/impute.tsv`.

    `nominal_coverage` is the coverage that the intervals should have. Intervals of unordered classes are NaN.

    Cells hidden by `hide` are used only for the quality measures; `table` keeps their observed values. The
    measures per column are `column_coverage` of the intervals, `column_accuracy` of classes, and
    `column_rmse`, the root mean square error in standard deviations of the column; -1 where a measure does
    not apply. Their means over columns are `coverage_mean`, `accuracy_mean` and `rmse_mean`.
    """
    rows = evenly(data, options.rows)
    event, x = fitted.event, known_values(rows)
    known = ~np.isnan(x)
    rng = np.random.default_rng(key(call.seed, "hide"))
    hidden = known & (rng.random(x.shape) < options.hide)
    if known.all() and not hidden.any():
        raise InputError(
            "impute: no value is missing. Set hide = 0.2 to hide values and measure how well they are imputed."
        )

    def drawn(there: np.ndarray) -> np.ndarray:
        given = {"x": np.where(there, x, np.nan), **conditions_in(rows, event)}
        found = sample(fitted, options.draws, given=given, **call.common)["x"].values.astype(np.float64)
        return np.where(there, found, rounded(found, event.columns))

    draws = drawn(known) if not known.all() else np.repeat(x[None], options.draws, 0)
    low, high = _interval(draws, options.level)
    unordered = [
        i for i, column in enumerate(event.columns) if column.support == "token" and not column.ordered
    ]
    for bound in (low, high):
        bound[:, unordered] = np.nan  # unordered classes have no interval
    dims = ("row", "feature")
    filled = np.where(known, x, _centers(draws, event))
    low, high = np.where(known, x, low), np.where(known, x, high)
    found = xr.Dataset(
        {
            "table": (dims, filled, described(event)),
            "missing": (dims, (~known).astype(np.uint8)),
            "low": (dims, low),
            "high": (dims, high),
            "draws": (("draw", *dims), draws),
            "gaps": ("feature", (~known).sum(0)),
            **_listed(filled, low, high, known, rows, event),
        },
        {"feature": [column.name for column in event.columns]},
        {"level": options.level},
    )
    said = {"long_name": "coverage of the intervals if the true value has the distribution of the samples"}
    nominal = 1 - 2 * _beyond(options.draws, options.level) / (options.draws + 1)
    found["nominal_coverage"] = ((), nominal, said)
    if "row" in rows.coords:
        found = found.assign_coords(row=rows["row"].variable)
    if not hidden.any():
        return found
    asked = drawn(known & ~hidden)
    return found.assign(_assessed(x, _centers(asked, event), asked, hidden, event, options))


def _listed(
    filled: np.ndarray, low: np.ndarray, high: np.ndarray, known: np.ndarray, rows: xr.Dataset, event: Event
) -> dict[str, object]:
    """List each filled cell: row and column by name, value, and bounds of the interval, as texts."""
    at = np.argwhere(~known)
    if not len(at):
        return {}
    called = rows["row"].values if "row" in rows.coords else np.arange(len(known))
    words = {"cell_value": filled, "cell_low": low, "cell_high": high}
    said = {"cell_row": [str(called[i]) for i, _ in at], "column": [event.columns[j].name for _, j in at]}
    said |= {name: [_word(x[i, j], event.columns[j]) for i, j in at] for name, x in words.items()}
    return {name: ("cell", values, {"long_name": OF_CELL[name]}) for name, values in said.items()}


def _word(value: float, column: Column) -> str:
    if np.isnan(value):
        return ""
    if column.classes:
        return column.classes[int(value)]
    return f"{value:.6g}" if column.support == "real" else str(int(value))


def _centers(draws: np.ndarray, event: Event) -> np.ndarray:
    """Return the point estimates of all columns: (draw, row, feature) -> (row, feature)."""
    return np.stack([_center(draws[..., i], column) for i, column in enumerate(event.columns)], -1)


def _center(draws: np.ndarray, column: Column) -> np.ndarray:
    """Return the median of numbers (rounded if they are whole), or the most frequent class: (draw, row) -> (row,)."""
    if column.support in ("token", "binary"):
        levels = 2 if column.support == "binary" else column.levels or 1
        return np.asarray((draws[..., None] == np.arange(levels)).sum(0).argmax(-1), dtype=np.float64)
    median = np.median(draws, axis=0)
    return median if column.support == "real" and not column.whole else np.round(median)


def _beyond(n: int, level: float) -> int:
    """Return the position, from 1 at either end of n sorted samples, of the bounds of an interval of a level."""
    return max(1, round((n + 1) * (1 - level) / 2))


def _interval(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the interval of samples: (draw, ...) -> (...)."""
    beyond = _beyond(len(draws), level)
    ordered = np.sort(draws, axis=0)
    return ordered[beyond - 1], ordered[-beyond]


def _assessed(
    x: np.ndarray, filled: np.ndarray, draws: np.ndarray, hidden: np.ndarray, event: Event, options: Options
) -> dict[str, object]:
    """Compare hidden values with samples."""
    numbers: dict[str, list[float]] = {"coverage": [], "accuracy": [], "rmse": []}
    for i, column in enumerate(event.columns):
        at = hidden[:, i]
        classes = column.support in ("token", "binary")
        truth, middle = x[at, i], filled[at, i]
        low, high = _interval(draws[:, at, i], options.level)
        deviation = x[~np.isnan(x[:, i]), i].std() or 1.0
        some = at.any()
        numbers["coverage"].append(
            float(((low <= truth) & (truth <= high)).mean()) if some and not classes else math.nan
        )
        numbers["accuracy"].append(float((truth == middle).mean()) if some and classes else math.nan)
        numbers["rmse"].append(
            float(np.sqrt(np.square(truth - middle).mean()) / deviation) if some and not classes else math.nan
        )
    real = [i for i, column in enumerate(event.columns) if column.support == "real" and hidden[:, i].any()]
    found: dict[str, object] = {}
    for name, values in numbers.items():
        kept = np.array(values)
        if np.isfinite(kept).any():
            found[f"{name}_mean"] = (
                (),
                float(np.nanmean(kept)),
                {"long_name": f"{OF_HIDDEN[name]}, mean over columns"},
            )
            found[f"column_{name}"] = (
                "feature",
                np.nan_to_num(kept, nan=-1.0),
                {"long_name": f"{OF_HIDDEN[name]}; -1 where it does not apply"},
            )
    if real:
        found["coverage_real"] = (
            (),
            float(np.mean([numbers["coverage"][i] for i in real])),
            {"long_name": f"{OF_HIDDEN['coverage']}, mean over real columns"},
        )
    return found


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `gaps` (share of missing values per column) and, with hidden cells, `coverage` of the intervals."""
    names = [str(name) for name in found["feature"].values]
    share = found["missing"].values.mean(0)
    drawn = {
        "gaps": bars(
            names, {"missing": share}, "share of rows", of_results(found, "Missing values of each column")
        )
    }
    if "column_coverage" in found:
        values = found["column_coverage"].values
        some = values >= 0
        if some.any():
            drawn["coverage"] = bars(
                [name for name, ok in zip(names, some, strict=True) if ok],
                {"coverage": values[some]},
                f"share within intervals of {100 * found.attrs['level']:.0f} %",
                of_results(found, "Hidden values within their intervals"),
                line=float(found["nominal_coverage"]),
            )
    return drawn
