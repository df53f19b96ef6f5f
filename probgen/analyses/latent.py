"""Show a latent space: codes of rows, reconstructions, interpolations, random walks, and a grid of two dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.api.decoding import decode
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import latents_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.data.describe import symbols_of
from probgen.errors import NotOffered
from probgen.latents.clusters import (  # at the top: its import uses Python's random generator
    agreement,
    cluster,
    plane,
)

needs = "a latent vector that can be sampled given x"


class Options(BaseOptions):
    """Options of the codes and of the figures."""

    codes: int = Field(default=1000, ge=2, description="rows to encode, evenly spaced")
    clusters: int | None = Field(
        default=None,
        ge=2,
        description="number of k-means clusters of the codes, compared with labels; default: none",
    )
    rows: int = Field(default=8, ge=2, description="number of reconstructions, interpolations and walks")
    steps: int = Field(default=10, ge=2, description="steps of each interpolation and walk")
    stride: float = Field(
        default=0.4, gt=0, le=1, description="step size of a walk, in standard deviations of the prior"
    )
    side: int = Field(default=15, ge=2, description="images per side of the grid (two latent dimensions)")


def applies(fitted: Fitted) -> bool:
    """Return whether the family can be sampled from and has a latent vector."""
    return fitted.definition.offers("sample") and _vector(fitted) is not None


def _vector(fitted: Fitted) -> str | None:
    return next((name for name, dims in latents_of(fitted.module).items() if len(dims) == 1), None)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Encode rows, and decode codes, interpolations and random walks.

    The result contains codes (row, latent), labels and clusters, and x with its reconstructions,
    interpolations and walks. With clusters and labels it also contains their agreement.
    """
    name, event = _vector(fitted), fitted.event
    assert name is not None
    rows = evenly(data, options.codes)
    drawn = sample(fitted, given={"x": rows["x"].values, **conditions_in(rows, event)}, **call.common)
    z = drawn[name].values[0]
    found = xr.Dataset({name: (("row", "latent"), z)}, attrs={"latent": name, "stride": options.stride})
    label = rows["label"].values if "label" in rows else None
    if label is not None:
        names = symbols_of(rows["label"])
        found["label"] = ("row", label, {"symbols": list(names)} if names else {})
    if options.clusters:
        clusters = cluster(z, options.clusters, call.seed)
        found["cluster"] = ("row", clusters)
        if label is not None:
            found = found.assign(agreement(clusters, label))
    shown = min(options.rows, len(z))
    few = np.arange(shown) * len(z) // shown
    z, known = z[few], conditions_in(rows.isel(row=few), event)
    # for example the class of M2
    known |= {k: drawn[k].values[0][few] for k in latents_of(fitted.module) if k != name}
    found["x"] = (("image", *event.dims), rows["x"].values[few])
    between = latents.interpolate(z, np.roll(z, -1, 0), options.steps)
    walk = latents.random_walk(z, options.steps, options.stride, np.random.default_rng(call.seed))
    for kind, way in (("reconstruction", z[:, None]), ("interpolations", between), ("walks", walk)):
        dims = ("image", "step" if kind == "reconstruction" else "way", *event.dims)
        found[kind] = (dims, _decoded(fitted, name, way, known, call))
    if z.shape[1] == 2 and not known:
        seen = _decoded(fitted, name, latents.grid(options.side)[None], {}, call)
        found["grid"] = (("square", "place", *event.dims), seen)
    return found


def _decoded(
    fitted: Fitted, name: str, z: np.ndarray, known: dict[str, np.ndarray], call: Call
) -> np.ndarray:
    """Decode codes: (image, step, latent) -> (image, step, *event).

    If the family has no decoder, x is sampled given the codes.
    """
    images, steps = z.shape[:2]
    given: dict[str, Any] = {name: z.reshape(images * steps, -1)}
    given |= {k: np.repeat(v, steps, axis=0) for k, v in known.items()}
    try:
        x = decode(fitted, given, device=call.device)["x"].values
    except NotOffered:
        x = sample(fitted, given=given, **call.common)["x"].values[0]
    return x.reshape(images, steps, *x.shape[1:])


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `codes` in a plane, and for images `reconstructions`, `interpolations`, `walks` and `grid`."""
    event, titled = Event.of(found), partial(draw.of_results, found)
    z, label = found[found.attrs["latent"]].values, found["label"].values if "label" in found else None
    names = list(symbols_of(found["label"])) if label is not None else []
    x, between, walks = (found[name].values for name in ("x", "interpolations", "walks"))
    # between the codes of a row and of the next one; the rows themselves are at the ends
    ends = np.concatenate([x[:, None], between, np.roll(x, -1, 0)[:, None]], 1)
    steps = ["row", *(f"{t:.2g}" for t in np.linspace(0, 1, between.shape[1])), "row"]
    wanted: dict[str, Callable[[], Figure]] = {
        "codes": lambda: _codes(z, label, names, titled("Codes of rows", f"{len(z)} rows")),
        "reconstructions": lambda: draw.columns(
            [x, found["reconstruction"].values[:, 0]],
            ["x", "reconstruction"],
            event,
            titled("Rows and their reconstructions"),
        ),
        "interpolations": lambda: draw.strips(
            ends,
            event,
            titled("Images between the codes of two rows"),
            above=steps,
            framed=(0, len(steps) - 1),
        ),
        "walks": lambda: draw.strips(
            walks,
            event,
            titled("Random walks from the codes of rows", f"{found.attrs['stride']:g} deviations per step"),
            above=["start", *(str(i) for i in range(1, walks.shape[1]))],
        ),
    }
    if "grid" in found:
        seen = found["grid"].values
        side = round(seen.shape[1] ** 0.5)
        quantiles = latents.grid(side)
        wanted["grid"] = lambda: draw.strips(
            seen.reshape(side, side, *seen.shape[2:]),
            event,
            titled("Images by their codes", "z1 from left to right, z2 upwards"),
            above=[f"{q:.1f}" for q in quantiles[:side, 0]],
            beside=[f"{q:.1f}" for q in quantiles[::side, 1]],
        )
    return draw.suiting(wanted)


def _codes(z: np.ndarray, label: np.ndarray | None, names: list[str], title: str) -> Figure:
    """Return codes in a plane. The axes of more than two dimensions have their share of the variance."""
    points = plane(z)
    share = points.var(0) / max(float(z.astype(float).var(0).sum()), 1e-300)
    told = [f"principal axis {i} ({s:.0%} of the variance), in units of z" for i, s in enumerate(share, 1)]
    axes = (told[0], told[1]) if z.shape[1] > 2 else ("z1", "z2")
    return draw.codes(points, label, names, title, axes)
