"""Mistakes of a generator, and what becomes of them when their codes are moved away from where mistakes are (Shen et al., CVPR 2020, section 4.3).

A mistake is a draw that is far from every real row. Many lie between clusters of good ones, where no hyperplane divides them from these: the way out is the
slope of a quadratic regression at each code, of which the paper's boundary is the linear part. Those that are picked for being worst would be better at any other code, so every figure
stands beside that of random directions of the same size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import BoundaryOptions, known_or_found
from probgen.analyses.space import LatentSpace, applies, features_of, held_among, known, needs
from probgen.api.attributing import attribute_scores
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.contract.state import digest_of
from probgen.errors import InputError
from probgen.evaluation import nearest

__all__ = ["Options", "applies", "figures", "needs", "run"]

ROWS = 6000  # real ones that distances are taken to, at most
SHOWN = 8
FOLDS = 5


class Options(BoundaryOptions):
    """Which draws are mistakes, and how far they are moved."""

    judge: Literal["distance", "critic"] = Field(
        "distance",
        description="from the nearest real row in features of the scorer; or what the critic of a GAN says",
    )
    worst: float = Field(0.1, gt=0, lt=1, description="share of the draws that are mistakes")
    by: float = Field(2.0, gt=0, description="length of a move, in deviations of codes")
    n: int = Field(
        20_000, ge=100, description="codes; mistakes are few, and a way out of them takes many to be found"
    )
    hold: str | tuple[str, ...] = Field(
        "numbers",
        description="attributes that are to stay: all that are numbers, or some by name, or [] for none",
    )
    random: int = Field(10, ge=1, description="number of random directions to compare with")


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Distances from real rows before and after, by random directions, and of other real rows; how far attributes move."""
    space, found = known_or_found(fitted, data, options, call)
    net = space.telling
    if net is None:
        raise InputError(
            "scorer: distances are taken in its features; a run of the family 'attributes' is needed"
        )
    real, others = _real_rows(data, call)
    real_f, other_f = features_of(net, real), features_of(net, others)

    def far(codes: np.ndarray, of: LatentSpace) -> np.ndarray:
        return nearest(features_of(net, of.rows(codes)["x"].values), real_f)[1]

    distance = far(space.codes, space)
    bad = np.log(distance + 1e-3) if options.judge == "distance" else -_critic(space)
    names = [str(name) for name in found["factor"].values]
    # classes are what a mistake is often about
    numbers = [
        name for name, middle in zip(names, space.base["middle"].values, strict=True) if np.isnan(middle)
    ]
    asked = [options.hold] if isinstance(options.hold, str) else options.hold
    held = numbers if options.hold == "numbers" else held_among(names, asked)
    normals = found["normal"].values.reshape(len(names), -1)[[names.index(name) for name in held]]

    picked = np.sort(np.argsort(bad, kind="stable")[-max(2, round(options.worst * len(space))) :])
    some, mended, fold = space.some(picked), space.codes[picked].copy(), np.arange(len(space)) % FOLDS
    told = np.zeros(len(space))
    for i in range(FOLDS):  # what is moved has not told the way
        slope, here = latents.Slope(space.codes[fold != i], bad[fold != i]), fold[picked] == i
        told[fold == i] = slope.predict(space.codes[fold == i])
        mended[here] = mended[here] + options.by * slope.down(mended[here], normals).astype(mended.dtype)
    after = far(mended, some)
    rng = np.random.default_rng(call.seed)
    ways = latents.Whitened(space.codes).random(options.random, rng)
    random = [np.median(far(latents.edit(some.codes, way, options.by), some)) for way in ways]
    stay = [names.index(name) for name in held or names]
    moved = known(some.seen(mended) - some.base.values)[:, stay] / known(space.base.values).std(0)[stay]
    before = float(np.median(distance[picked]))
    shown = np.argsort(-distance[picked], kind="stable")[:SHOWN]
    result = xr.Dataset(
        {
            "distance_before": before,
            "distance_after": float(np.median(after)),
            "distance_random": float(np.mean(random)),
            "distance_real": float(np.median(nearest(other_f, real_f)[1])),
            "distance_draws": float(np.median(distance)),
            "others_moved": float(np.abs(moved).mean()),
            "r2": float(1 - np.square(bad - told).mean() / bad.var()),
            "before": (("image", *fitted.event.dims), some.rows(some.codes)["x"].values[shown]),
            "after": (("image", *fitted.event.dims), some.rows(mended)["x"].values[shown]),
        }
    )
    result["of_real"] = result["distance_after"] / result["distance_real"]
    result["of_random"] = result["distance_after"] / result["distance_random"]
    return result.assign_attrs(latent=space.latent, scorer=str(found.attrs["scorer"]), judge=options.judge)


def _real_rows(data: xr.Dataset, call: Call) -> tuple[np.ndarray, np.ndarray]:
    """Rows that distances are taken to, and others: those of the fit and the data, or else two halves of the data."""
    if call.reference is not None:
        if digest_of(call.reference[["x"]]) == digest_of(data[["x"]]):
            raise InputError(
                "data and reference are the same rows: leave out reference, or give another split"
            )
        return evenly(call.reference, ROWS)["x"].values, evenly(data, ROWS)["x"].values
    if data.sizes["row"] < 4:
        raise InputError(f"{data.sizes['row']} rows: real rows are needed, and others to hold them against")
    x = evenly(data, 2 * ROWS)["x"].values
    return x[::2], x[1::2]


def _critic(space: LatentSpace) -> np.ndarray:
    told = attribute_scores(space.fitted, space.rows(space.codes), device=space.device)
    if "critic" not in told["factor"].values:
        raise InputError(f"judge = 'critic': family {space.fitted.family!r} has no critic")
    return np.asarray(told.sel(factor="critic").values)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`mended`: the worst draws before and after."""
    event, title = Event.of(found), found.attrs["title"]
    pairs = np.stack([found["before"].values, found["after"].values])
    return draw.suiting(
        {"mended": lambda: draw.strips(pairs, event, f"{title}\nworst draws, and the same moved".strip())}
    )
