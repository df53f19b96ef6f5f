"""Completions: rows of which a half is hidden, and draws of that half given the other."""

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

needs = "draws that can be conditioned on a part of x"


class Options(BaseOptions):
    """What to complete; `last` is the second half of a row that is no image."""

    rows: int = Field(default=8, ge=1, description="rows to complete, evenly spaced")
    n: int = Field(default=6, ge=1, description="completions of each")
    hide: Literal["auto", "lower", "upper", "left", "right", "last"] = Field(
        "auto", description="the hidden half; auto: lower of images, else last"
    )


def applies(fitted: Fitted) -> bool:
    """Of whatever can be drawn from."""
    return fitted.definition.offers("sample")


def check(event: Event, options: Options) -> None:
    """Errors: `InputError` for a half that the event does not have."""
    hidden(event, options.hide)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """x (sample, row, *event); truth and observed (row, *event); and the latents."""
    rows, event = evenly(data, options.rows), fitted.event
    x = rows["x"].values
    observed = np.broadcast_to(~hidden(event, options.hide), x.shape)
    given = {"x": x, "observed": observed, **conditions_in(rows, event)}
    draws = sample(fitted, options.n, given=given, **call.common)
    dims = ("row", *event.dims)
    return draws.assign(truth=(dims, x), observed=(dims, observed.astype(np.uint8)))


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`completions`: each row, what is known of it, and its completions; of images."""
    x, known = found["truth"].values, found["observed"].values == 1
    columns = [x, np.where(known, x, np.nan), *found["x"].values]
    names = ["x", "known", *[""] * found.sizes["sample"]]
    title = found.attrs["title"]
    return draw.suiting({"completions": lambda: draw.columns(columns, names, Event.of(found), title)})


def hidden(event: Event, half: str) -> np.ndarray:
    """True at the half of an event that is hidden. Errors: `InputError`."""
    shape = tuple(length or 1 for length in event.shape)
    where = np.zeros(shape, dtype=bool)
    image = event.dims[-2:] == ("height", "width")
    if half == "last" or (half == "auto" and not image):
        where.reshape(-1)[where.size // 2 :] = True
        return where
    if not image:
        raise InputError(f"complete.hide = {half!r} is for images, not for {event}; use 'last'")
    height, width = shape[-2:]
    if half in ("auto", "lower", "upper"):
        where[..., slice(None, height // 2) if half == "upper" else slice(height // 2, None), :] = True
    else:
        where[..., slice(width // 2, None) if half == "right" else slice(None, width // 2)] = True
    return where
