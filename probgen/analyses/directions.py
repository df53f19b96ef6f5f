"""Directions that nobody asked for: along which codes, or what is made of them, vary most; and a walk from draw to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import scored
from probgen.analyses.space import (
    LatentSpace,
    SpaceOptions,
    applies,
    in_words,
    known,
    needs,
    space_of,
    standard_normal,
    strips,
)
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import only, refuse_unused
from probgen.figures import Animation

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True
AT = 20  # codes at which derivatives are taken


class Options(SpaceOptions):
    """Which directions, and how they are shown."""

    method: Literal["principal", "sensitive"] = Field(
        "principal",
        description="components of the codes (GANSpace), or the ways along which what is made of them changes most (as SeFa has it of weights)",
    )
    until: str = Field(
        "x",
        description="x, or the place whose change counts",
        json_schema_extra=only(method="sensitive"),
    )
    k: int | None = Field(None, ge=1, description="directions; by default 8, or as many as codes vary in")
    by: float = Field(
        2.0, gt=0, description="length of a move in deviations of codes, for its effect on attributes"
    )
    measured: int = Field(200, ge=2, description="codes of which effects are taken")
    pictured: int = Field(4, ge=1, description="draws of each direction in a picture")
    steps: int = Field(7, ge=2, description="of a strip, and from one draw of the walk to the next")
    reach: float = Field(
        3.0,
        gt=0,
        description="length of a move from the middle of a strip to its ends, in deviations of codes",
    )
    stops: int = Field(5, ge=2, description="draws that the walk goes through, back to the first")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """`direction` unit vectors, `deviation` of codes along them, `strip` and `walk`; `effect` on attributes where somebody tells them."""
    options = scored(fitted, options, call)
    if options.scorer is None:
        refuse_unused(options, "nobody tells attributes, since there is no scorer", "by", "measured")
    space = space_of(fitted, data, options, call)
    whole = latents.Whitened(space.codes)
    k = options.k or min(8, len(whole.axes))
    shape = space.codes.shape[1:]
    if options.method == "principal":
        ways, _ = latents.principal(space.codes, k)
    else:
        ways = _sensitive(space, options, k)
    deviation = (space.flat @ ways.T).std(0)
    moves = (ways / whole.lengths(ways)[:, None]).reshape(len(ways), *shape)
    x = strips(space, moves, np.linspace(-options.reach, options.reach, options.steps), options.pictured)
    found = xr.Dataset(
        {
            "direction": (("direction", *space.dims), ways.reshape(len(ways), *shape)),
            "deviation": ("direction", deviation),
            "strip": (("direction", "image", "step", *fitted.event.dims), x),
            "walk": (("leg", "step", *fitted.event.dims), _walk(space, options)),
        },
        attrs={"latent": space.latent, "method": options.method, "reach": options.reach},
    )
    random = whole.random(len(moves), np.random.default_rng(call.seed))
    return found if options.scorer is None else _with_effects(found, space, moves, random, options)


def _sensitive(space: LatentSpace, options: Options, k: int) -> np.ndarray:
    spread = np.linspace(0, len(space) - 1, min(AT, len(space))).astype(int)

    def made(codes: np.ndarray) -> np.ndarray:
        rest = space.some(np.zeros(len(codes), dtype=int))  # conditions of one draw for all
        return np.asarray(rest.decoded(codes, options.until)[options.until].values)

    ways, _ = latents.sensitive(made, space.codes[spread], k, among=space.codes)
    return ways


def _walk(space: LatentSpace, options: Options) -> np.ndarray:
    """From draw to draw and back to the first, under the conditions of the first: (leg, step, *event)."""
    stops = space.codes[: min(options.stops, len(space))]
    flat = stops.reshape(len(stops), -1)
    circles = standard_normal(space)
    between = latents.interpolate(flat, np.roll(flat, -1, 0), options.steps + 1, spherical=circles)[:, :-1]
    codes = between.reshape(-1, *stops.shape[1:]).astype(stops.dtype)
    x = space.some(np.zeros(len(codes), dtype=int)).decoded(codes)["x"].values
    return x.reshape(len(stops), options.steps, *x.shape[1:])


def _with_effects(
    found: xr.Dataset, space: LatentSpace, moves: np.ndarray, random: np.ndarray, options: Options
) -> xr.Dataset:
    """Effects of directions on attributes, beside those of random ones."""
    few = space.some(slice(0, min(options.measured, len(space))))
    base = few.base.values
    deviation = known(base).std(0)
    deviation = np.ma.masked_where(
        deviation <= 1e-9 * np.abs(known(base)).max(0), deviation
    )  # as good as constant

    def effects(ways: np.ndarray) -> np.ndarray:
        moved = [few.seen(latents.edit(few.codes, way, options.by)) - base for way in ways]
        return np.stack([(known(m) / deviation).mean(0).filled(np.nan) for m in moved])

    effect, chance = effects(moves), effects(random)
    names = [str(name) for name in few.base["factor"].values]
    size = np.nan_to_num(np.abs(effect))
    best, largest = size.argmax(0), size.max(0)
    purity = np.divide(largest, size[best].sum(1), out=np.zeros_like(largest), where=largest > 0)
    said = {
        f"{name}: direction {b},": effect[b, i]
        for i, (name, b) in enumerate(zip(names, best, strict=True))
        if largest[i] > 0
    }
    return (
        found.assign(
            effect=(("direction", "factor"), effect, {"units": "deviations of the scores"}),
            random=(("random", "factor"), chance),
            best=("factor", best),
            purity=("factor", purity, {"long_name": "its share of all that the best direction changes"}),
            mean_largest=float(largest.mean()),
            mean_largest_random=float(np.nan_to_num(np.abs(chance)).max(0).mean()),
        )
        .assign_coords(factor=names)
        .assign_attrs(summary=in_words(said, lambda a: f"{a:+.2f}"))
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure | Animation]:
    """`strips`, a line a draw and direction; `walk`, and the same as an animation; `effect` on attributes."""
    event, title, reach = Event.of(found), found.attrs["title"], found.attrs["reach"]
    walk, strip = found["walk"].values, found["strip"].values
    lines = strip.reshape(-1, *strip.shape[2:])
    wanted: dict[str, Callable[[], Figure | Animation]] = {
        "strips": lambda: draw.strips(lines, event, f"{title}\n-{reach:g} to {reach:g} deviations".strip()),
        "walk": lambda: draw.strips(walk, event, title),
        "walking": lambda: draw.animation(walk.reshape(-1, *walk.shape[2:]), event),
    }
    if "effect" in found:
        names = [str(name) for name in found["factor"].values]
        ways = [f"direction {i}" for i in range(found.sizes["direction"])]
        wanted["effect"] = lambda: draw.table(found["effect"].values, ways, names, title)
    return draw.suiting(wanted)
