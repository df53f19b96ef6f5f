"""Inversion: codes of real rows, by an encoder and by search; what is kept of a row, and what can be done with its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import boundaries_file, known_or_found
from probgen.analyses.edits import MoveOptions, held_by, move_of
from probgen.analyses.inverting import Inverting, SearchOptions
from probgen.analyses.space import applies, as_names, in_words, known, needs, space_of
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import latents_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.errors import InputError, NotOffered, did_you_mean
from probgen.inference import degradations
from probgen.inference.sites import sites
from probgen.pair import Pair

__all__ = ["Options", "applies", "figures", "needs", "run"]

METHODS = ("encoder", "mean", "start", "held", "codes", "posterior")
Method = Literal["encoder", "mean", "start", "held", "codes", "posterior"]
SAID = {
    "encoder": "the code that the encoder gives",
    "mean": "one code, searched for from the mean of draws",
    "start": "one code, searched for from the encoder's",
    "held": "the same, kept where the encoder is at home",
    "codes": "several codes, mixed at a place of the generator",
    "posterior": "a draw from q(z given x), decoded",
}


class Options(SearchOptions, MoveOptions):
    """By what methods, and what is done with codes."""

    methods: tuple[Method, ...] | None = Field(
        None, min_length=1, description="by default all that the model has"
    )
    held_weight: float = Field(
        0.02, gt=0, description="of the distance from the encoder's code, in the method held"
    )
    attribute: str | tuple[str, ...] | None = Field(
        None, description="edited in real rows; by default each whose boundary is better than chance"
    )
    by: float = Field(1.5, description="of an edit, in deviations of n . c over draws")
    reach: float = Field(3.0, gt=0, description="deviations from the middle of a strip to its ends")
    steps: int = Field(7, ge=2, description="images in a strip, and from one row to another")
    patch: float = Field(
        0.5, gt=0, lt=1, description="side of the patch that is put into other rows, as a share of theirs"
    )


def check(event: Event, options: Options) -> None:
    """Errors: `InputError` for an event that codes are not searched for of."""
    if event.support == "token" or None in event.shape:
        raise InputError(f"codes are searched for of arrays of numbers, not of {event}")


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """`reconstruction (approach, row, *event)`, `psnr`, `distance` of codes, `attribute_error`; edits, interpolations, diffusions."""
    judged = options.scorer is not None or boundaries_file(call) is not None
    if not judged and options.attribute is not None:
        raise InputError(
            "attribute: nobody tells attributes; give scorer, or find the boundaries of the run first"
        )
    space, bounds = (
        known_or_found(fitted, data, options, call)
        if judged
        else (space_of(fitted, data, options, call), None)
    )
    its = Inverting.of(space, options, data, call)
    rows = evenly(data, options.rows)
    truth, rest = rows["x"].values.astype(np.float64), its.rest(rows)
    codes, made = _by_methods(its, rows, truth, rest, options, call)
    methods = [*made]
    psnr = np.stack([its.psnr(x, truth) for x in made.values()])
    found = xr.Dataset(
        {
            "x": (("row", *fitted.event.dims), truth),
            "reconstruction": (
                ("approach", "row", *fitted.event.dims),
                np.stack([its.near(x) for x in made.values()]),
            ),
            "psnr": (("approach", "row"), psnr, {"units": "dB", "long_name": "peak signal-to-noise ratio"}),
            **{f"psnr_{name}": float(value) for name, value in zip(methods, psnr.mean(1), strict=True)},
        },
        {"approach": methods},
        {"latent": space.latent, "methods": "; ".join(f"{name}: {SAID[name]}" for name in methods)},
    )
    for name, code in codes.items():
        distance = its.domain.distance(its.tensor(code).to(its.domain.mean)).cpu().numpy()
        found[f"distance_{name}"] = float(np.sqrt(np.square(distance).mean()))
    found = found.assign(_log_probs(its, truth, rest, codes))
    if bounds is not None:
        found = found.merge(_kept(its, rows, truth, made, bounds))
        found = found.merge(_edited(its, rows, rest, codes, bounds, options))
    best = codes[next(name for name in ("held", "start", "mean", "encoder", "posterior") if name in codes)]
    found = found.merge(_between(its, best, rest, options))
    if fitted.event.dims[-2:] == ("height", "width"):
        found = found.merge(_diffused(its, rows, truth, rest, options))
    numbers = {name: float(found[f"psnr_{name}"]) for name in methods}
    return found.assign_attrs(
        scorer=str(bounds.attrs["scorer"]) if bounds is not None else "",
        summary=f"PSNR of {len(truth)} rows, dB: {in_words(numbers, lambda a: f'{a:.1f}')}"
        + (
            f"; attribute errors: {in_words({n: float(found[f'attribute_error_{n}']) for n in methods}, lambda a: f'{a:.2f}')}"
            if bounds is not None
            else ""
        ),
    )


def _by_methods(
    its: Inverting,
    rows: xr.Dataset,
    truth: np.ndarray,
    rest: Mapping[str, np.ndarray],
    options: Options,
    call: Call,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Codes by method, where there is one of each row, and x of them. Errors: `NotOffered` for a method that the model does not have."""
    lacking = dict.fromkeys(
        ("encoder", "start", "held"), "there is no encoder: analyze a run of the family 'inverter'"
    )
    lacking = {} if its.has_encoder else lacking
    if not its.mixes:
        lacking["codes"] = "the generator has no maps where codes could be mixed"
    if not isinstance(its.fitted.module, Pair) or not its.has_encoder:
        lacking["posterior"] = "the model has no q(z given x)"
    for method in options.methods or ():
        if method in lacking:
            raise NotOffered(f"method {method!r}: {lacking[method]}")
    wanted: list[str] = [
        name for name in METHODS if name not in lacking and name in (options.methods or METHODS)
    ]
    start = its.by_encoder(rows) if its.has_encoder else None
    codes: dict[str, np.ndarray] = {}
    made: dict[str, np.ndarray] = {}
    for name in wanted:
        if name == "codes":
            made[name] = its.several(truth, rest, call.seed)
        elif name in ("encoder", "posterior"):
            if name == "encoder" and start is not None:
                codes[name] = start
            else:
                given = {"x": rows["x"].values, **conditions_in(rows, its.event)}
                codes[name] = sample(its.fitted, given=given, **call.common)[its.space.latent].values[0]
            made[name] = its.decoded(codes[name], rest)
        else:
            held = its.held(options.held_weight) if name == "held" else None
            codes[name], made[name] = its.one(truth, rest, start=None if name == "mean" else start, held=held)
    return codes, made


def _log_probs(
    its: Inverting, truth: np.ndarray, rest: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """`log_prob_METHOD`, log p(x given z) in nats a row, of a pair."""
    module = its.fitted.module
    if not isinstance(module, Pair) or set(latents_of(module)) - {its.space.latent, *rest}:
        return {}
    x = its.tensor(truth)
    known_ = {name: its.tensor(value) for name, value in rest.items()}
    given = {name: known_[name] for name in its.event.given}
    found = {}
    for name, code in codes.items():
        values = {
            **{k: v for k, v in known_.items() if k not in given},
            its.space.latent: its.tensor(code).to(its.domain.mean),
        }
        with torch.no_grad():
            passed = sites(module.model, values, inputs={"x": x, "n": len(x), **given})
        found[f"log_prob_{name}"] = (
            (),
            float(passed["x"].log_prob(len(x)).mean()),
            {"units": "nat", "long_name": "log p(x given z)"},
        )
    return found


def _kept(
    its: Inverting, rows: xr.Dataset, truth: np.ndarray, made: Mapping[str, np.ndarray], bounds: xr.Dataset
) -> xr.Dataset:
    """How far scores of reconstructions are from those of rows."""
    errors = np.stack([its.attribute_errors(x, truth, rows) for x in made.values()])
    attrs = {
        "units": f"deviations of the scores over {its.deviation[1]}",
        "long_name": "mean distance from the score of x",
    }
    found = xr.Dataset(
        {"attribute_error": (("approach", "factor"), errors, attrs)},
        {"approach": [*made], "factor": bounds["factor"].values},
    )
    return found.assign(
        {f"attribute_error_{name}": float(np.nanmean(e)) for name, e in zip(made, errors, strict=True)}
    )


def _edited(
    its: Inverting,
    rows: xr.Dataset,
    rest: Mapping[str, np.ndarray],
    codes: Mapping[str, np.ndarray],
    bounds: xr.Dataset,
    options: Options,
) -> xr.Dataset:
    """`own (approach, edited)`, the change of the attribute that is edited, beside that of draws; strips of real rows."""
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
    best = codes[next(name for name in ("held", "start", "mean", "encoder", "posterior") if name in codes)]
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
        "long_name": f"mean change of the attribute by an edit of {options.by:g}",
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


def _between(
    its: Inverting, codes: np.ndarray, rest: Mapping[str, np.ndarray], options: Options
) -> xr.Dataset:
    """`interpolation (image, way, *event)`: from the code of each row to that of the next."""
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


def _diffused(
    its: Inverting, rows: xr.Dataset, truth: np.ndarray, rest: Mapping[str, np.ndarray], options: Options
) -> xr.Dataset:
    """A patch of each row in the context of the next (Zhu et al. 2020, section 3.4): the patch alone is compared, from the encoder's code of both."""
    few = rows.isel(row=slice(0, options.pictured))
    x, some = truth[: options.pictured], {name: value[: options.pictured] for name, value in rest.items()}
    inside = np.zeros(x.shape[1:], dtype=bool)
    middle = tuple(
        slice(round(n * (1 - options.patch) / 2), round(n * (1 + options.patch) / 2)) for n in x.shape[-2:]
    )
    inside[..., middle[0], middle[1]] = True
    if inside.all() or not inside.any():
        raise InputError(
            f"patch = {options.patch}: of images of {x.shape[-2]} x {x.shape[-1]} it is nothing, or everything"
        )
    pasted = np.where(inside, np.roll(x, -1, 0), x)
    if its.has_encoder:
        both = few.assign(x=(few["x"].dims, pasted.astype(few["x"].dtype), few["x"].attrs))
        degradation = degradations.mask(its.tensor(inside))
        seen = np.where(inside, pasted, np.nan)
        _, made = its.one(
            seen,
            some,
            degradation=degradation,
            start=its.by_encoder(both),
            held=its.held(options.held_weight),
        )
    else:
        _, made = its.one(pasted, some)
    dims = ("image", *its.event.dims)
    return xr.Dataset({"pasted": (dims, pasted), "diffused": (dims, its.near(made))})


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`reconstructions` by each method, `edit_NAME` of real rows, `interpolations`, `diffusion`."""
    event, title = Event.of(found), found.attrs["title"]
    methods = [str(name) for name in found["approach"].values]
    n = found.sizes["image"]
    x = found["x"].values
    shown = [x[:n], *(found["reconstruction"].values[i, :n] for i in range(len(methods)))]
    wanted: dict[str, Callable[[], Figure]] = {
        "reconstructions": lambda: draw.columns(shown, ["x", *methods], event, title),
        "interpolations": lambda: draw.strips(found["interpolation"].values, event, title),
    }
    if "diffused" in found:
        parts = [x[:n], np.roll(x[:n], -1, 0), found["pasted"].values, found["diffused"].values]
        wanted["diffusion"] = lambda: draw.columns(
            parts, ["context", "patch of", "pasted", "diffused"], event, title
        )
    if "edit" in found:
        edited = [str(name) for name in found["edited"].values]
        reach = float(found["at"].max())
        for i, name in enumerate(as_names(edited)):
            said = f"{title}\nreal rows: {edited[i]}, -{reach:g} to {reach:g} deviations".strip()
            wanted[f"edit_{name}"] = partial(draw.strips, found["edit"].values[i], event, said)
    return draw.suiting(wanted)
