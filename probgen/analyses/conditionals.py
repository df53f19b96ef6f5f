"""Show, for each site, the expected value, the uncertainty (entropy) and the surprise at the observed value."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen.api.scoring import score
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import ConditionalsOptions
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly

SEEN = 1600  # at most, symbols of a text in the figure

needs = "p(x_i | x_<i) at every site, as in autoregressive families"


class Options(BaseOptions):
    """Options of the conditional distributions."""

    rows: int = Field(default=8, ge=1, description="rows to score, evenly spaced")


def applies(fitted: Fitted) -> bool:
    """Return whether the family's score hook has the option `conditionals`."""
    definition = fitted.definition
    return definition.offers("score") and issubclass(definition.options("score"), ConditionalsOptions)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Score rows site by site.

    The result contains the scores with `site_log_prob`, with `site_mean` and `site_entropy` if the family
    computes them, and `x`.
    """
    rows = evenly(data, options.rows)
    found = score(fitted, rows, conditionals=True, **call.common)
    return found.assign(x=rows["x"].drop_attrs())


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figure `surprise` of a text, or `sites` of images.

    `sites` shows x, the expected values, entropy and surprise; the last two are summed over the colors of a
    pixel.
    """
    event = Event.of(found)
    if event.symbols:
        length = min(int(found["length"][0]) if "length" in found else found.sizes["time"], SEEN)
        text, surprise = found["x"].values[0, :length], -found["site_log_prob"].values[0, :length]
        title = draw.of_results(found, "Surprise of each symbol given the symbols before it")
        top = math.log(len(event.symbols))
        return {"surprise": draw.surprise([event.symbols[i] for i in text], surprise, title, top=top)}
    if "site_mean" not in found:
        return {}
    columns: list[np.ndarray | draw.Numbers] = [found["x"].values, found["site_mean"].values]
    names, title = ["x", "expected"], draw.of_results(found, "Each pixel given the pixels before it")
    for name, nats in (("entropy", found.get("site_entropy")), ("surprise", -found["site_log_prob"])):
        if nats is not None:
            of_pixels = nats.sum("channel") if "channel" in nats.dims else nats
            columns.append(draw.Numbers(of_pixels.values, "nats"))
            names.append(name)
    return draw.suiting({"sites": lambda: draw.columns(columns, names, event, title)})
