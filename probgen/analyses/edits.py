"""Edits: draws that change in one attribute while others are held, and how far every attribute goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import BoundaryOptions, known_or_found
from probgen.analyses.space import (
    LatentSpace,
    applies,
    as_names,
    held_among,
    in_words,
    known,
    layers_of,
    needs,
    strips,
)
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.errors import InputError, NotOffered, did_you_mean

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True


class MoveOptions(BoundaryOptions):
    """Along which way an attribute is changed."""

    hold: str | tuple[str, ...] = Field(
        "others",
        description="attributes that are to stay: others for all others, or some by name, or [] for none",
    )
    along: Literal["gentle", "normal"] = Field(
        "gentle",
        description="the least move by the covariance of codes, or the normal less its part in the span of those held",
    )


class Options(MoveOptions):
    """What is changed, and what is held."""

    attribute: str | tuple[str, ...] | None = Field(
        None, description="which, or several; by default each of them"
    )
    by: float = Field(2.0, description="deviations of n . c over draws")
    layers: str | int | None = Field(None, description="of codes that have some: 3, or '0-2'; by default all")
    measured: int = Field(300, ge=2, description="codes of which the change of each attribute is taken")
    pictured: int = Field(6, ge=1, description="draws in a picture")
    steps: int = Field(7, ge=2, description="images in a strip")
    reach: float = Field(3.0, gt=0, description="deviations from the middle of a strip to its ends")
    force: bool = Field(False, description="also along a boundary that is no better than chance")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """`moved (edited, factor)`, mean changes in deviations; `move` of one deviation; `strip (factor, image, step, *event)`."""
    layers = layers_of(options.layers)
    space, found = known_or_found(fitted, data, options, call)
    names = [str(name) for name in found["factor"].values]
    edited, weak = _edited(options, names, found)
    held = {name: held_by(name, found, options.hold) for name in edited}
    moves = np.stack(
        [
            move_of(space, found, name, held[name], options.along).reshape(space.codes.shape[1:])
            for name in edited
        ]
    )
    if layers is not None:  # the others of a move are 0 from here on
        moves = np.stack([latents.mix(np.zeros((1, *move.shape)), move[None], layers)[0] for move in moves])
    ways = np.linspace(-options.reach, options.reach, options.steps)
    few = space.some(slice(0, min(options.measured, len(space))))
    deviation = known(space.base.values).std(0)
    changes = known(
        np.stack([few.seen(latents.edit(few.codes, move, options.by)) - few.base.values for move in moves])
    )
    changes = changes / deviation
    moved = xr.DataArray(
        changes.mean(1).filled(np.nan), {"edited": edited, "factor": names}, ("edited", "factor"),
        attrs={"units": "deviations of the scores", "long_name": f"mean change by an edit of {options.by:g}"},
    )  # fmt: skip
    own = np.array([float(moved.sel(edited=name, factor=name)) for name in edited])
    beside = [
        [other for other in names if found["of"].sel(factor=other) != found["of"].sel(factor=name)]
        for name in edited
    ]
    others = np.array(
        [
            np.abs(moved.sel(edited=n, factor=b)).mean() if b else np.nan
            for n, b in zip(edited, beside, strict=True)
        ]
    )
    stay = [np.abs(moved.sel(edited=n, factor=held[n])).max() if held[n] else np.nan for n in edited]
    result = xr.Dataset(
        {
            "moved": moved,
            "error": (
                ("edited", "factor"),
                (changes.std(1, ddof=1) / np.sqrt(np.maximum(changes.count(1), 1))).filled(np.nan),
            ),
            "own": ("edited", own),
            "others": ("edited", others),
            "held_most": (
                "edited",
                np.array(stay, dtype=float),
                {"long_name": "largest change of those held"},
            ),
            "move": (("edited", *space.dims), moves, {"long_name": "of one deviation"}),
            "strip": (
                ("edited", "image", "step", *fitted.event.dims),
                strips(space, moves, ways, options.pictured),
            ),
            "at": ("step", ways, {"units": "deviations of n . c"}),
            "mean_own": float(own.mean()),
            "mean_others": float(np.nanmean(others)) if any(beside) else np.nan,
        }
    )
    result["purity"] = result["mean_own"] / result["mean_others"]
    holds = "; ".join(f"{name} holding {', '.join(held[name]) or 'nothing'}" for name in edited)
    return result.assign_attrs(
        latent=space.latent,
        scorer=str(found.attrs["scorer"]),
        held=holds,
        summary=f"own change at {options.by:g}: {in_words(dict(zip(edited, own, strict=True)), lambda a: f'{a:+.2f}')}; "
        f"others on average {float(result['mean_others']):.3f}"
        + (f"; left out, no better than chance: {', '.join(weak)}" if weak else ""),
    )


def held_by(name: str, found: xr.Dataset, hold: str | tuple[str, ...]) -> list[str]:
    """What stays while one attribute is edited: not itself, and not other classes of the same. Errors: `InputError`."""
    names = [str(other) for other in found["factor"].values]
    of = dict(zip(names, found["of"].values, strict=True))
    wanted = names if hold == "others" else held_among(names, [hold] if isinstance(hold, str) else hold)
    return [other for other in wanted if of[other] != of[name]]


def move_of(
    space: LatentSpace, found: xr.Dataset, name: str, held: list[str], along: str = "gentle"
) -> np.ndarray:
    """The move of one deviation of an attribute that leaves others: (code,)."""
    flat = found["normal"].values.reshape(found.sizes["factor"], -1)
    normals = dict(zip(map(str, found["factor"].values), flat, strict=True))
    n, others = normals[name], np.array([normals[other] for other in held]).reshape(len(held), flat.shape[1])
    try:
        way = latents.gentle(n, others, space.covariance) if along == "gentle" else latents.project(n, others)
    except InputError:
        raise NotOffered(
            f"attribute {name!r}: in {space.latent}, of {flat.shape[1]} dimensions, nothing is left of it with {len(held)} others held "
            f"({', '.join(held)}); name fewer in hold, or [] for none"
        ) from None
    return latents.step(n, float(found["deviation"].sel(factor=name)), way)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`moved`, how far each attribute goes along each direction; `strip_NAME` of draws."""
    event, title = Event.of(found), found.attrs["title"]
    edited = [str(name) for name in found["edited"].values]
    wanted: dict[str, Callable[[], Figure]] = {
        "moved": lambda: draw.table(
            found["moved"].values, edited, [str(n) for n in found["factor"].values], title,
            beside="edited", above="change in deviations",
        )
    }  # fmt: skip
    reach = float(found["at"].max())
    files = as_names(edited)
    for i, name in enumerate(edited):
        said = f"{title}\n{name}, -{reach:g} to {reach:g} deviations".strip()
        wanted[f"strip_{files[i]}"] = partial(draw.strips, found["strip"].values[i], event, said)
    return draw.suiting(wanted)


def _edited(options: Options, names: list[str], found: xr.Dataset) -> tuple[list[str], list[str]]:
    """What is edited, and what is left out since its boundary is no better than chance. Errors: `InputError`, `NotOffered`."""
    asked = [options.attribute] if isinstance(options.attribute, str) else options.attribute
    if asked is not None and (not asked or len(set(asked)) < len(asked)):
        raise InputError(
            f"attribute = {list(asked)}: names of different attributes are needed; leave it out for all"
        )
    for name in asked or ():
        if name not in names:
            raise InputError(f"attribute = {name!r}: {did_you_mean(name, names)}")
    chance = dict(zip(names, found["chance"].values.astype(bool), strict=True))
    weak = [name for name in asked or names if chance[name] and not options.force]
    if weak and (asked is not None or len(weak) == len(names)):
        accuracy = float(found["accuracy"].sel(factor=weak[0]))
        raise NotOffered(
            f"attribute {weak[0]!r}: its boundary is no better than chance (accuracy {accuracy:.2f} on held-out codes, nan if it is not known); "
            "leave it out of attribute, or give force = true"
        )
    return [name for name in asked or names if name not in weak], weak
