"""Find mistakes of a generator, and move their codes away from mistakes (Shen et al., CVPR 2020, section 4.3).

A mistake is a sample that is far from every real row. Many mistakes lie between clusters of good samples,
where no hyperplane separates them. The codes therefore move down the slope of a quadratic regression at each
code; the boundary of the paper is its linear part. The worst samples improve with any other code, because
they were selected as the worst. Every figure is therefore compared with random directions of the same length.
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

ROWS = 6000  # at most, real rows that distances are measured to
SHOWN = 8
FOLDS = 5


class Options(BoundaryOptions):
    """Options of the mistakes and of the moves."""

    judge: Literal["distance", "critic"] = Field(
        "distance",
        description="distance from the nearest real row in features of the scorer, or the critic of a GAN",
    )
    worst: float = Field(0.1, gt=0, lt=1, description="share of the samples that count as mistakes")
    by: float = Field(2.0, gt=0, description="length of a move, in standard deviations of codes")
    n: int = Field(
        20_000, ge=100, description="number of sampled codes; mistakes are rare, so many are needed"
    )
    hold: str | tuple[str, ...] = Field(
        "numbers",
        description="attributes to keep fixed: numbers (all numeric ones), a list of names, or [] for none",
    )
    random: int = Field(10, ge=1, description="number of random directions to compare with")


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Move the worst samples, and compare their distances from real rows before and after.

    The result also contains the distances after random moves, the distances of other real rows, and the mean
    absolute change of the fixed attributes.
    """
    space, found = known_or_found(fitted, data, options, call)
    net = space.telling
    if net is None:
        raise InputError(
            "scorer: it has no features to measure distances in. Use a run of the family 'attributes'."
        )
    real, others = _real_rows(data, call)
    real_f, other_f = features_of(net, real), features_of(net, others)

    def far(codes: np.ndarray, of: LatentSpace) -> np.ndarray:
        return nearest(features_of(net, of.rows(codes)["x"].values), real_f)[1]

    distance = far(space.codes, space)
    bad = np.log(distance + 1e-3) if options.judge == "distance" else -_critic(space)
    names = [str(name) for name in found["factor"].values]
    # a class is often part of the mistake, so that only numbers are fixed by default
    numbers = [
        name for name, middle in zip(names, space.base["middle"].values, strict=True) if np.isnan(middle)
    ]
    asked = [options.hold] if isinstance(options.hold, str) else options.hold
    held = numbers if options.hold == "numbers" else held_among(names, asked)
    normals = found["normal"].values.reshape(len(names), -1)[[names.index(name) for name in held]]

    picked = np.sort(np.argsort(bad, kind="stable")[-max(2, round(options.worst * len(space))) :])
    some, repaired, fold = space.some(picked), space.codes[picked].copy(), np.arange(len(space)) % FOLDS
    told = np.zeros(len(space))
    for i in range(FOLDS):  # no code is moved along a slope that was fitted to it
        slope, here = latents.Slope(space.codes[fold != i], bad[fold != i]), fold[picked] == i
        told[fold == i] = slope.predict(space.codes[fold == i])
        repaired[here] = repaired[here] + options.by * slope.down(repaired[here], normals).astype(
            repaired.dtype
        )
    after = far(repaired, some)
    rng = np.random.default_rng(call.seed)
    ways = latents.Whitened(space.codes).random(options.random, rng)
    random = [np.median(far(latents.edit(some.codes, way, options.by), some)) for way in ways]
    stay = [names.index(name) for name in held or names]
    moved = known(some.seen(repaired) - some.base.values)[:, stay] / known(space.base.values).std(0)[stay]
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
            "after": (("image", *fitted.event.dims), some.rows(repaired)["x"].values[shown]),
        }
    )
    result["of_real"] = result["distance_after"] / result["distance_real"]
    result["of_random"] = result["distance_after"] / result["distance_random"]
    return result.assign_attrs(latent=space.latent, scorer=str(found.attrs["scorer"]), judge=options.judge)


def _real_rows(data: xr.Dataset, call: Call) -> tuple[np.ndarray, np.ndarray]:
    """Return the real rows that distances are measured to, and other real rows.

    With a reference these are the rows of the fit and the data, otherwise two halves of the data.
    """
    if call.reference is not None:
        if digest_of(call.reference[["x"]]) == digest_of(data[["x"]]):
            raise InputError(
                "data and reference are the same rows. Leave out reference, or use another split."
            )
        return evenly(call.reference, ROWS)["x"].values, evenly(data, ROWS)["x"].values
    if data.sizes["row"] < 4:
        raise InputError(
            f"{data.sizes['row']} rows: at least 4 are needed, half of them to compare the others with. Use more rows."
        )
    x = evenly(data, 2 * ROWS)["x"].values
    return x[::2], x[1::2]


def _critic(space: LatentSpace) -> np.ndarray:
    told = attribute_scores(space.fitted, space.rows(space.codes), device=space.device)
    if "critic" not in told["factor"].values:
        raise InputError(
            f"judge = 'critic': the family {space.fitted.family!r} has no critic. Use judge = 'distance'."
        )
    return np.asarray(told.sel(factor="critic").values)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return one figure: the worst samples before and after the move."""
    event, title = Event.of(found), draw.of_results(found, "The worst samples, and the same samples moved")
    pairs = np.stack([found["before"].values, found["after"].values])
    return draw.suiting({"repaired": lambda: draw.strips(pairs, event, title, beside=["sample", "moved"])})
