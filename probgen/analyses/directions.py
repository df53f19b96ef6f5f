"""Find directions in latent space along which codes, or generated data, vary most, without labels.

The analysis also shows a walk from sample to sample.
"""

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
    steps_of,
    strips,
)
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import only, refuse_unused
from probgen.figures import Animation

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True
AT = 20  # codes at which derivatives are computed


class Options(SpaceOptions):
    """Options of the directions and their figures."""

    method: Literal["principal", "sensitive"] = Field(
        "principal",
        description="principal components of codes (GANSpace), or directions of largest output change (as SeFa)",
    )
    until: str = Field(
        "x",
        description="x, or the place of the generator whose change counts",
        json_schema_extra=only(method="sensitive"),
    )
    k: int | None = Field(
        None,
        ge=1,
        description="number of directions; default: 8, or fewer if the codes vary in fewer dimensions",
    )
    by: float = Field(
        2.0,
        gt=0,
        description="length of a move to measure effects on attributes, in standard deviations of codes",
    )
    measured: int = Field(200, ge=2, description="codes used to measure effects on attributes")
    pictured: int = Field(4, ge=1, description="samples per direction in a figure")
    steps: int = Field(
        7, ge=2, description="images in a strip, and steps from one sample of the walk to the next"
    )
    reach: float = Field(
        3.0,
        gt=0,
        description="length of a move from the middle to the ends of a strip, in standard deviations of codes",
    )
    stops: int = Field(5, ge=2, description="samples that the closed walk passes through")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Find directions, and show samples moved along them.

    The result contains the unit vectors `direction`, the `deviation` of codes along them, `strip` and `walk`.
    With a scorer it also contains `effect`, the mean changes of attributes.
    """
    options = scored(fitted, options, call)
    if options.scorer is None:
        refuse_unused(options, "there is no scorer of attributes", "by", "measured")
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
        # the conditions of the first sample, for all codes
        rest = space.some(np.zeros(len(codes), dtype=int))
        return np.asarray(rest.decoded(codes, options.until)[options.until].values)

    ways, _ = latents.sensitive(made, space.codes[spread], k, among=space.codes)
    return ways


def _walk(space: LatentSpace, options: Options) -> np.ndarray:
    """Return x along a walk from sample to sample and back, conditional on the first one: (leg, step, *event)."""
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
    """Add the mean changes of attributes along the directions, and along random directions."""
    few = space.some(slice(0, min(options.measured, len(space))))
    base = few.base.values
    deviation = known(base).std(0)
    # scores that are constant up to rounding have no effect size
    deviation = np.ma.masked_where(deviation <= 1e-9 * np.abs(known(base)).max(0), deviation)

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
            purity=(
                "factor",
                purity,
                {"long_name": "share of the attribute in all changes by its best direction"},
            ),
            mean_largest=float(largest.mean()),
            mean_largest_random=float(np.nan_to_num(np.abs(chance)).max(0).mean()),
        )
        .assign_coords(factor=names)
        .assign_attrs(summary=in_words(said, lambda a: f"{a:+.2f}"))
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure | Animation]:
    """Return `strips` (a line per sample and direction), `walk`, its animation `walking`, and the table `effect`."""
    event, reach = Event.of(found), found.attrs["reach"]
    walk, strip = found["walk"].values, found["strip"].values
    lines = strip.reshape(-1, *strip.shape[2:])
    wanted: dict[str, Callable[[], Figure | Animation]] = {
        "strips": lambda: draw.strips(
            lines,
            event,
            draw.of_results(found, "Samples moved along each direction", "steps in deviations"),
            above=steps_of(reach, strip.shape[2]),
            beside=[f"sample {i}, direction {j}" for i, j in np.ndindex(*strip.shape[:2])],
        ),
        "walk": lambda: draw.strips(walk, event, draw.of_results(found, "A walk through the latent space")),
        "walking": lambda: draw.animation(walk.reshape(-1, *walk.shape[2:]), event),
    }
    if "effect" in found:
        names = [str(name) for name in found["factor"].values]
        ways = [f"direction {i}" for i in range(found.sizes["direction"])]
        wanted["effect"] = lambda: draw.table(
            found["effect"].values,
            ways,
            names,
            draw.of_results(found, "Change of each attribute, in deviations"),
            above="attribute",
        )
    return draw.suiting(wanted)
