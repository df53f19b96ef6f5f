"""Change one attribute of samples while other attributes stay, and measure the change of every attribute."""

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
    steps_of,
    strips,
)
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.errors import InputError, NotOffered, did_you_mean

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True


class MoveOptions(BoundaryOptions):
    """Options of the direction along which an attribute is changed."""

    hold: str | tuple[str, ...] = Field(
        "others",
        description="attributes to keep fixed: others (all others), a list of names, or [] for none",
    )
    along: Literal["gentle", "normal"] = Field(
        "gentle",
        description="shortest move by the covariance of codes (gentle), or the projected normal (normal)",
    )


class Options(MoveOptions):
    """Options of the edits."""

    attribute: str | tuple[str, ...] | None = Field(
        None, description="attribute to edit, or several; default: each attribute"
    )
    by: float = Field(2.0, description="size of an edit, in standard deviations along the boundary's normal")
    layers: str | int | None = Field(
        None, description="layers of the code to edit, e.g. 3 or '0-2'; default: all layers"
    )
    measured: int = Field(300, ge=2, description="codes used to measure the changes of attributes")
    pictured: int = Field(6, ge=1, description="samples in a figure")
    steps: int = Field(7, ge=2, description="images in a strip")
    reach: float = Field(3.0, gt=0, description="standard deviations from the middle of a strip to its ends")
    force: bool = Field(False, description="also edit along boundaries that are no better than chance")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Edit attributes of samples by moving their codes.

    The result contains `moved` (edited, factor), the mean changes in standard deviations of the scores;
    `move`, the change of a code for one standard deviation; and `strip` (edited, image, step, *event).
    """
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
    if layers is not None:  # a move is 0 in all other layers
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
        attrs={"units": "deviations of the scores", "long_name": f"mean change by an edit of {options.by:g} deviations"},
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
                {"long_name": "largest change of the fixed attributes"},
            ),
            "move": (
                ("edited", *space.dims),
                moves,
                {"long_name": "change of the code for one deviation of n . c"},
            ),
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
    holds = "; ".join(f"{name} with {', '.join(held[name]) or 'nothing'} fixed" for name in edited)
    return result.assign_attrs(
        latent=space.latent,
        scorer=str(found.attrs["scorer"]),
        held=holds,
        summary=f"own change at {options.by:g}: {in_words(dict(zip(edited, own, strict=True)), lambda a: f'{a:+.2f}')}; "
        f"others on average {float(result['mean_others']):.3f}"
        + (f"; left out, no better than chance: {', '.join(weak)}" if weak else ""),
    )


def held_by(name: str, found: xr.Dataset, hold: str | tuple[str, ...]) -> list[str]:
    """Return the attributes that stay fixed while one attribute is edited.

    The attribute itself, and other classes of the same attribute, are left out.

    Args:
        name: The edited attribute.
        found: Boundaries, by `factor`.
        hold: The option: others, or names of attributes.

    Returns:
        Names of attributes.

    Raises:
        InputError: When a name is unknown.
    """
    names = [str(other) for other in found["factor"].values]
    of = dict(zip(names, found["of"].values, strict=True))
    wanted = names if hold == "others" else held_among(names, [hold] if isinstance(hold, str) else hold)
    return [other for other in wanted if of[other] != of[name]]


def move_of(
    space: LatentSpace, found: xr.Dataset, name: str, held: list[str], along: str = "gentle"
) -> np.ndarray:
    """Return the move of codes that changes one attribute and leaves others fixed.

    Args:
        space: Codes.
        found: Boundaries, by `factor`.
        name: The edited attribute.
        held: Attributes that stay fixed.
        along: gentle or normal, as in the option.

    Returns:
        The move that changes n . c by one standard deviation: (code,).

    Raises:
        NotOffered: When the fixed attributes leave no direction.
    """
    flat = found["normal"].values.reshape(found.sizes["factor"], -1)
    normals = dict(zip(map(str, found["factor"].values), flat, strict=True))
    n, others = normals[name], np.array([normals[other] for other in held]).reshape(len(held), flat.shape[1])
    try:
        way = latents.gentle(n, others, space.covariance) if along == "gentle" else latents.project(n, others)
    except InputError:
        raise NotOffered(
            f"attribute {name!r}: no direction in {space.latent} ({flat.shape[1]} dimensions) changes it and leaves {len(held)} "
            f"others fixed ({', '.join(held)}). Name fewer attributes in hold, or use [] for none."
        ) from None
    return latents.step(n, float(found["deviation"].sel(factor=name)), way)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the table `moved` (change of each attribute by each edit), and `strip_NAME` of samples."""
    event = Event.of(found)
    edited = [str(name) for name in found["edited"].values]
    wanted: dict[str, Callable[[], Figure]] = {
        "moved": lambda: draw.table(
            found["moved"].values, edited, [str(n) for n in found["factor"].values],
            draw.of_results(found, "Change of each attribute by each edit, in deviations"),
            beside="edited attribute", above="attribute that changes",
        )
    }  # fmt: skip
    reach = float(found["at"].max())
    files = as_names(edited)
    for i, name in enumerate(edited):
        strip = found["strip"].values[i]
        said = draw.of_results(found, f"Samples with less and more of {name}", "steps in deviations")
        wanted[f"strip_{files[i]}"] = partial(
            draw.strips, strip, event, said, above=steps_of(reach, strip.shape[1])
        )
    return draw.suiting(wanted)


def _edited(options: Options, names: list[str], found: xr.Dataset) -> tuple[list[str], list[str]]:
    """Return the attributes to edit, and the attributes left out because their boundary is no better than chance."""
    asked = [options.attribute] if isinstance(options.attribute, str) else options.attribute
    if asked is not None and (not asked or len(set(asked)) < len(asked)):
        raise InputError(
            f"attribute = {list(asked)}: the names must be different, at least one. Leave attribute out to edit all."
        )
    for name in asked or ():
        if name not in names:
            raise InputError(f"attribute = {name!r}: {did_you_mean(name, names)}")
    chance = dict(zip(names, found["chance"].values.astype(bool), strict=True))
    weak = [name for name in asked or names if chance[name] and not options.force]
    if weak and (asked is not None or len(weak) == len(names)):
        accuracy = float(found["accuracy"].sel(factor=weak[0]))
        raise NotOffered(
            f"attribute {weak[0]!r}: its boundary is no better than chance (accuracy {accuracy:.2f} on held-out codes). "
            "Leave it out of attribute, or set force = true."
        )
    return [name for name in asked or names if name not in weak], weak
