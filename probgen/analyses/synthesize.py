"""Sample a synthetic table with the names, types and classes of the original table."""

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
from probgen.figures import of_results
from probgen.figures.tables import marginals
from probgen.readers.series import rounded

needs = "a table with named columns, sampled without conditions"
rowless = True


class Options(BaseOptions):
    """Options of the synthetic table."""

    n: int = Field(1000, ge=1, description="number of rows to sample")


def applies(fitted: Fitted) -> bool:
    """Return whether the event is a table without conditions."""
    return bool(fitted.event.columns) and fitted.definition.offers("sample") and not fitted.event.given


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Sample a table.

    The result contains `table` (row, feature), which is also written to `analyses/synthesize.csv`. With data
    it also contains as many real rows, `real` (real_row, feature).
    """
    drawn = rounded(sample(fitted, options.n, **call.common)["x"].values, fitted.event.columns)
    found = xr.Dataset({"table": (("row", "feature"), drawn, described(fitted.event))})
    if data is not None:
        found["real"] = (("real_row", "feature"), known_values(evenly(data, options.n)))
    return found.assign_coords(feature=[column.name for column in fitted.event.columns])


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figure `marginals`: each column of the samples, with real rows if there are any."""
    real = found["real"].values if "real" in found else None
    title = of_results(found, "Each column of the samples", f"{found['table'].shape[0]} samples")
    return {"marginals": marginals(found["table"].values, real, Event.of(found).columns, title)}
