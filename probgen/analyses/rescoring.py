"""Find the layer of a generator that decides each attribute, or report that no layer stands out.

The method is the re-scoring of HiGAN (Yang, Shen & Zhou, IJCV 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field
from scipy.stats import t as student

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import known_or_found
from probgen.analyses.edits import MoveOptions, held_by, move_of
from probgen.analyses.space import applies, needs
from probgen.contract.analysis import Call
from probgen.contract.fitted import Fitted
from probgen.errors import InputError, NotOffered

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True


class Options(MoveOptions):
    """Options of the moves."""

    by: float = Field(
        2.0,
        gt=0,
        description="length of each move, in standard deviations of codes; one layer moves at a time",
    )
    random: int = Field(39, ge=1, description="number of random directions to compare with")
    measured: int = Field(200, ge=2, description="number of codes to move")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Move codes in one layer at a time, and score the results again.

    The result contains `effect` (edited, layer, factor) with its error and interval, the effects of random
    directions, and the layers that stand out.
    """
    space, found = known_or_found(fitted, data, options, call)
    if "layer" not in space.dims[:1]:
        raise NotOffered(f"latent = {space.latent!r}: its codes have no layers. Choose a latent with layers.")
    there = np.flatnonzero(np.isfinite(space.base.values).all(1))[: options.measured]
    if len(there) < 2:
        raise NotOffered("scorer: fewer than two samples have all scores. Use another scorer.")
    few = space.some(there)
    names = [str(name) for name in found["factor"].values]
    moves = np.stack(
        [move_of(space, found, name, held_by(name, found, options.hold), options.along) for name in names]
    )
    try:
        r = latents.rescore(
            few.seen, few.codes, moves, by=options.by, random=options.random, among=space.codes, names=names,
            seed=call.seed,
        )  # fmt: skip
    except InputError as error:  # scores are constant, or missing after a move
        raise NotOffered(str(error)) from None
    chance = found["chance"].values.astype(bool)  # moves along these boundaries have no known effect
    called, named = r.called & ~chance[:, None], np.where(chance, -1, r.layer)
    width = student.ppf(0.975, len(few) - 1)
    own = np.arange(len(names))
    change = r.effect[own, :, own]
    share = np.abs(change) / np.maximum(np.abs(change).sum(1, keepdims=True), 1e-12)
    dims = ("edited", "layer", "factor")
    result = xr.Dataset(
        {
            "effect": (dims, r.effect, {"units": "deviations of the scores over the codes that are moved"}),
            "error": (dims, r.error),
            "low": (dims, r.effect - width * r.error),
            "high": (dims, r.effect + width * r.error),
            "rectified": (dims, r.rectified, {"long_name": "mean of max(change, 0), the statistic of HiGAN"}),
            "random": (
                ("direction", "layer", "factor"),
                r.random,
                {"units": "deviations of the scores over the codes that are moved"},
            ),
            "own": (("edited", "layer"), change),
            "share": (("edited", "layer"), share, {"long_name": "share of the summed effect"}),
            "p": (("edited", "layer"), r.p),
            "called": (("edited", "layer"), called),
            "named": (
                "edited",
                named,
                {"long_name": "layer of the largest effect if it stands out, else -1"},
            ),
            "standing_out": float((named >= 0).mean()),
        },
        {"edited": names, "factor": names, "layer": np.arange(change.shape[1])},
    )
    said = [
        f"{name}: layer {i} ({share[k, i]:.0%})"
        for k, (name, i) in enumerate(zip(names, named, strict=True))
        if i >= 0
    ]
    silent = [name for name, i, weak in zip(names, named, chance, strict=True) if i < 0 and not weak]
    lines = [", ".join(said)] if said else []
    lines += [f"no layer stands out: {', '.join(silent)}"] if silent else []
    lines += (
        [f"boundaries no better than chance: {', '.join(np.array(names)[chance])}"] if chance.any() else []
    )
    return result.assign_attrs(
        latent=space.latent, scorer=str(found.attrs["scorer"]), by=options.by, summary="; ".join(lines)
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `layers` (change of each attribute by layer, with intervals) and `share` of the summed effect."""
    names, layers = [str(n) for n in found["edited"].values], [str(i) for i in found["layer"].values]
    own = np.arange(len(names))
    chance = np.abs(found["random"].values).max((0, 1))
    error = (found["high"] - found["low"]).values[own, :, own] / 2
    title = draw.of_results(found, "Change of each attribute by its boundary in one layer")
    return {
        "layers": draw.by_layer(
            found["own"].values, error, found["called"].values, chance, names, layers, title
        ),
        "share": draw.table(
            found["share"].values,
            names,
            layers,
            draw.of_results(found, "Share of each layer in the summed effect"),
            beside="attribute",
            above="layer",
        ),
    }
