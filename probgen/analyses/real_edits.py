"""Use codes of real rows: edit one attribute, interpolate between rows, and insert patches into other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from pydantic import Field

from probgen import latents
from probgen.analyses.edits import MoveOptions, held_by, move_of
from probgen.analyses.searching import Inverting, SearchOptions, middle
from probgen.analyses.space import known
from probgen.errors import InputError, did_you_mean
from probgen.inference import degradations


class WorkOptions(SearchOptions, MoveOptions):
    """Options of the use of codes."""

    held_weight: float = Field(
        0.02, gt=0, description="weight of the distance from the encoder's code (method held)"
    )
    feature_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the scorer's features of x in the search; the scorer also measures the errors",
    )
    attribute: str | tuple[str, ...] | None = Field(
        None,
        description="attribute to edit, or several; default: each with a boundary better than chance",
    )
    by: float = Field(1.5, description="size of an edit, in standard deviations along the boundary's normal")
    reach: float = Field(3.0, gt=0, description="standard deviations from the middle of a strip to its ends")
    steps: int = Field(7, ge=2, description="images in a strip, and in an interpolation between rows")
    patch: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="side of the patch inserted into other rows, as a share of the image's side",
    )


def best_of(codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the codes of the method that suits edits best: near x, and near codes of the encoder.

    Args:
        codes: Codes by method, (row, *dims) each.

    Returns:
        Codes, (row, *dims).
    """
    return codes[next(name for name in ("held", "start", "mean", "encoder", "posterior") if name in codes)]


def edited_rows(
    its: Inverting,
    rows: xr.Dataset,
    rest: Mapping[str, np.ndarray],
    codes: Mapping[str, np.ndarray],
    bounds: xr.Dataset,
    options: WorkOptions,
) -> xr.Dataset:
    """Edit attributes of real rows.

    Args:
        its: The generator.
        rows: The rows.
        rest: Conditions and other latents of the rows.
        codes: Codes by method, (row, *dims) each.
        bounds: Boundaries, by `factor`.
        options: Options of the use of codes.

    Returns:
        `own` (of, edited), the change of the edited attribute by method and for samples, and strips of real
        rows.

    Raises:
        InputError: When an attribute is unknown.
    """
    names = [str(name) for name in bounds["factor"].values]
    asked = [options.attribute] if isinstance(options.attribute, str) else options.attribute
    for name in asked or ():
        if name not in names:
            raise InputError(f"attribute = {name!r}: {did_you_mean(name, names)}")
    chance = dict(zip(names, bounds["chance"].values.astype(bool), strict=True))
    edited = [name for name in asked or names if asked or not chance[name]]
    space, which = its.space, [names.index(name) for name in edited]
    if not edited:
        return xr.Dataset()
    moves = [
        move_of(space, bounds, name, held_by(name, bounds, options.hold), options.along).reshape(
            space.codes.shape[1:]
        )
        for name in edited
    ]
    deviation = known(space.base.values).std(0)
    few = space.some(slice(0, len(rows["x"])))

    def changes(told: Callable[[np.ndarray], Any], start: np.ndarray) -> np.ndarray:
        before = told(start)
        moved = [told(latents.edit(start, move, options.by)) - before for move in moves]
        return np.array([(m[:, k] / deviation[k]).mean() for m, k in zip(moved, which, strict=True)])

    own = {
        name: changes(lambda c: its.told(its.decoded(c, rest), rows), code) for name, code in codes.items()
    }
    own["draws"] = changes(lambda c: known(few.seen(c)), few.codes)
    best = best_of(codes)
    shown = slice(0, min(options.pictured, len(best)))
    ways = np.linspace(-options.reach, options.reach, options.steps)
    some = {name: value[shown] for name, value in rest.items()}
    strips = np.stack(
        [
            np.stack([its.near(its.decoded(latents.edit(best[shown], move, by), some)) for by in ways], 1)
            for move in moves
        ]
    )
    attrs = {
        "units": "deviations of the scores",
        "long_name": f"mean change of the attribute by an edit of {options.by:g} deviations",
    }
    found = xr.Dataset(
        {
            "own": (("of", "edited"), np.stack([*own.values()]), attrs),
            "edit": (("edited", "image", "step", *its.event.dims), strips),
            "at": ("step", ways, {"units": "deviations of n . c"}),
        },
        {"of": [*own], "edited": edited},
    )
    drawn = own.pop("draws").mean()
    return found.assign({f"edit_share_{name}": float(value.mean() / drawn) for name, value in own.items()})


def between_rows(
    its: Inverting, codes: np.ndarray, rest: Mapping[str, np.ndarray], options: WorkOptions
) -> xr.Dataset:
    """Interpolate from the code of each row to the code of the next row.

    Args:
        its: The generator.
        codes: Codes of the rows, (row, *dims).
        rest: Conditions and other latents of the rows.
        options: Options of the use of codes.

    Returns:
        `interpolation` (image, way, *event).
    """
    few = codes[: options.pictured]
    flat = few.reshape(len(few), -1)
    way = latents.interpolate(flat, np.roll(flat, -1, 0), options.steps)
    some = {name: np.repeat(value[: len(few)], options.steps, 0) for name, value in rest.items()}
    x = its.decoded(way.reshape(-1, *codes.shape[1:]).astype(codes.dtype), some)
    return xr.Dataset(
        {
            "interpolation": (
                ("image", "way", *its.event.dims),
                its.near(x).reshape(*way.shape[:2], *x.shape[1:]),
            )
        }
    )


def diffused_rows(
    its: Inverting, rows: xr.Dataset, truth: np.ndarray, rest: Mapping[str, np.ndarray], options: WorkOptions
) -> xr.Dataset:
    """Insert a patch of each row into the next row, and adapt the result (Zhu et al. 2020, section 3.4).

    Only the patch is compared. The search starts at the encoder's code of the composed image, or at the
    nearest samples if there is no encoder.

    Args:
        its: The generator.
        rows: The rows.
        truth: Their x, (row, *event).
        rest: Conditions and other latents of the rows.
        options: Options of the use of codes.

    Returns:
        `pasted` and `diffused`, (image, *event) each.
    """
    few = rows.isel(row=slice(0, options.pictured))
    x, some = truth[: options.pictured], {name: value[: options.pictured] for name, value in rest.items()}
    inside = middle(x.shape[1:], options.patch)
    pasted = np.where(inside, np.roll(x, -1, 0), x)
    both = few.assign(x=(few["x"].dims, pasted.astype(few["x"].dtype), few["x"].attrs))
    start = its.by_encoder(both) if its.has_encoder else its.nearest(pasted, degradations.whole)
    degradation = degradations.mask(its.tensor(inside))
    held = its.held(options.held_weight) if its.has_encoder else None
    seen = np.where(inside, pasted, np.nan)
    _, made = its.one(seen, some, degradation=degradation, start=start, held=held)
    dims = ("image", *its.event.dims)
    return xr.Dataset({"pasted": (dims, pasted), "diffused": (dims, its.near(made))})
