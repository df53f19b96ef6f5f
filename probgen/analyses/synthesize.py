"""Synthetic rows: draws of a table as the table that it came from, with its names, types and classes."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.data.describe import described, known_values
from probgen.figures.tables import marginals
from probgen.readers.series import rounded

needs = "a table with named columns, drawn without conditions"
rowless = True


class Options(BaseOptions):
    """How many rows."""

    n: int = Field(1000, ge=1, description="rows that are drawn")


def applies(fitted: Fitted) -> bool:
    """Of tables without conditions."""
    return bool(fitted.event.columns) and fitted.definition.offers("sample") and not fitted.event.given


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """table (row, feature), which is also `analyses/synthesize.csv`; and of real rows as many (real_row, feature), if there are some."""
    drawn = rounded(sample(fitted, options.n, **call.common)["x"].values, fitted.event.columns)
    found = xr.Dataset({"table": (("row", "feature"), drawn, described(fitted.event))})
    if data is not None:
        found["real"] = (("real_row", "feature"), known_values(evenly(data, options.n)))
    return found.assign_coords(feature=[column.name for column in fitted.event.columns])


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`marginals`: each column of draws, beside that of real rows."""
    real = found["real"].values if "real" in found else None
    return {
        "marginals": marginals(found["table"].values, real, Event.of(found).columns, found.attrs["title"])
    }
