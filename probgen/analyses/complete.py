"""Complete rows: hide one half of each row, and sample the hidden half given the visible half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.errors import InputError

needs = "samples conditional on a part of x"


class Options(BaseOptions):
    """Options of the completion."""

    rows: int = Field(default=8, ge=1, description="rows to complete, evenly spaced")
    n: int = Field(default=6, ge=1, description="completions per row")
    hide: Literal["auto", "lower", "upper", "left", "right", "last"] = Field(
        "auto", description="half to hide; auto: the lower half of an image, else the second half (last)"
    )


def applies(fitted: Fitted) -> bool:
    """Return whether the family can be sampled from."""
    return fitted.definition.offers("sample")


def check(event: Event, options: Options) -> None:
    """Check that the event has the half to hide.

    Args:
        event: The event of the data.
        options: Options of the completion.

    Raises:
        InputError: When the event has no such half.
    """
    hidden(event, options.hide)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Sample completions of rows.

    The result contains the completions `x` (sample, row, *event), `truth` and `observed` (row, *event), and
    the latents.
    """
    rows, event = evenly(data, options.rows), fitted.event
    x = rows["x"].values
    observed = np.broadcast_to(~hidden(event, options.hide), x.shape)
    given = {"x": x, "observed": observed, **conditions_in(rows, event)}
    draws = sample(fitted, options.n, given=given, **call.common)
    dims = ("row", *event.dims)
    return draws.assign(truth=(dims, x), observed=(dims, observed.astype(np.uint8)))


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figure `completions` of images: each row, its visible half, and its completions."""
    x, known = found["truth"].values, found["observed"].values == 1
    columns = [x, np.where(known, x, np.nan), *found["x"].values]
    names = ["x", "known", *(f"draw {i}" for i in range(1, found.sizes["sample"] + 1))]
    event, title = Event.of(found), draw.of_results(found, "Samples given the known half of each row")
    mask = known.any(1) if known.ndim == 4 else known
    return draw.suiting({"completions": lambda: draw.columns(columns, names, event, title, known=mask)})


def hidden(event: Event, half: str) -> np.ndarray:
    """Return a mask of the hidden half of an event.

    Args:
        event: The event.
        half: The half to hide: auto, lower, upper, left, right or last.

    Returns:
        True at hidden values, (*event).

    Raises:
        InputError: When the half is one of an image and the event is not an image.
    """
    shape = tuple(length or 1 for length in event.shape)
    where = np.zeros(shape, dtype=bool)
    image = event.dims[-2:] == ("height", "width")
    if half == "last" or (half == "auto" and not image):
        where.reshape(-1)[where.size // 2 :] = True
        return where
    if not image:
        raise InputError(
            f"complete.hide = {half!r}: only an image has this half, and the event is {event}. Use 'last'."
        )
    height, width = shape[-2:]
    if half in ("auto", "lower", "upper"):
        where[..., slice(None, height // 2) if half == "upper" else slice(height // 2, None), :] = True
    else:
        where[..., slice(width // 2, None) if half == "right" else slice(None, width // 2)] = True
    return where
