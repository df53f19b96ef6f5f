"""Find latent codes of real rows, by an encoder and by search.

The analysis measures reconstructions, and uses the codes for edits and interpolations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen.analyses.boundaries import boundaries_file, known_or_found
from probgen.analyses.real_edits import WorkOptions, best_of, between_rows, diffused_rows, edited_rows
from probgen.analyses.searching import Inverting, by_condition
from probgen.analyses.space import applies, as_names, in_words, needs, space_of, steps_of
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import latents_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import refuse_unused
from probgen.contract.rows import evenly
from probgen.errors import InputError, NotOffered
from probgen.inference.sites import sites
from probgen.pair import Pair

__all__ = ["Options", "applies", "check", "figures", "needs", "run"]

METHODS = ("encoder", "mean", "start", "held", "codes", "posterior")
Method = Literal["encoder", "mean", "start", "held", "codes", "posterior"]
SAID = {
    "encoder": "the code of the encoder",
    "mean": "one code, found by a search from the mean of sampled codes",
    "start": "one code, found by a search from the encoder's code",
    "held": "one code, found by a search from the encoder's code that stays near codes of the encoder",
    "codes": "several codes, mixed at a place of the generator",
    "posterior": "a sample from q(z given x), decoded",
}


class Options(WorkOptions):
    """Options of the methods and of the use of codes."""

    methods: tuple[Method, ...] | None = Field(
        None, min_length=1, description="methods of inversion; default: all methods that the model supports"
    )


def check(event: Event, options: Options) -> None:
    """Check that codes of the event can be found.

    Args:
        event: The event of the data.
        options: Options of the inversion.

    Raises:
        InputError: When the event is not an array of numbers of fixed shape.
    """
    if event.support == "token" or None in event.shape:
        raise InputError(
            f"inversion needs arrays of numbers of fixed shape, and the event is {event}. Choose another analysis."
        )


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Invert rows by each method.

    The result contains `reconstruction` (approach, row, *event), `psnr` (approach, row), `code` (coded, row,
    *dims) and its `distance` (coded, row). With a scorer it also contains `attribute_error` and edits of
    rows. It also has interpolations, and for images diffusions (patches adapted to another image).
    """
    judged = options.scorer is not None or boundaries_file(call) is not None
    if not judged:
        why = "there is no scorer of attributes (set scorer, or find the boundaries of the run first)"
        refuse_unused(options, why, "attribute", "by", "hold", "along", "feature_weight")
    space, bounds = (
        known_or_found(
            fitted, data, options if options.scorer is None else by_condition(fitted, options), call
        )
        if judged
        else (space_of(fitted, data, by_condition(fitted, options), call), None)
    )
    its = Inverting.of(space, options, data, call)
    rows = evenly(data, options.rows)
    truth, rest = rows["x"].values.astype(np.float64), its.rest(rows)
    wanted = _methods(its, options)
    codes, made = _by_methods(its, rows, truth, rest, options, call, wanted)
    psnr = np.stack([its.psnr(x, truth) for x in made.values()])
    found = xr.Dataset(
        {
            "x": (("row", *fitted.event.dims), truth),
            "reconstruction": (
                ("approach", "row", *fitted.event.dims),
                np.stack([its.near(x) for x in made.values()]),
            ),
            "psnr": (("approach", "row"), psnr, {"units": "dB", "long_name": "peak signal-to-noise ratio"}),
            **{f"psnr_{name}": float(value) for name, value in zip(wanted, psnr.mean(1), strict=True)},
        },
        {"approach": wanted},
        {
            "latent": space.latent,
            "pictured": min(options.pictured, len(truth)),
            "methods": "; ".join(f"{name}: {SAID[name]}" for name in wanted),
        },
    )
    if codes:
        found = found.merge(_of_codes(its, truth, rest, codes))
        found = found.merge(between_rows(its, best_of(codes), rest, options))
    if bounds is not None:
        found = found.merge(_kept(its, rows, truth, made, bounds))
        if codes:
            found = found.merge(edited_rows(its, rows, rest, codes, bounds, options))
    if _is_image(fitted.event):
        found = found.merge(diffused_rows(its, rows, truth, rest, options))
    said = f"PSNR of {len(truth)} rows, dB: {_each(found, 'psnr', wanted, '.1f')}"
    if bounds is not None:
        said += f"; attribute errors: {_each(found, 'attribute_error', wanted, '.2f')}"
    return found.assign_attrs(summary=said, scorer=str(bounds.attrs["scorer"]) if bounds is not None else "")


def _each(found: xr.Dataset, figure: str, methods: list[str], form: str) -> str:
    return in_words({name: float(found[f"{figure}_{name}"]) for name in methods}, lambda a: format(a, form))


def _methods(its: Inverting, options: Options) -> list[str]:
    """Return the requested methods, or all that the model supports; an option of an unused method is refused."""
    lacking: dict[str, str] = {}
    if not its.has_encoder:
        why = "the model has no encoder. Analyze a run of the family 'inverter'."
        lacking = dict.fromkeys(("encoder", "start", "held"), why)
    if not its.mixable:
        lacking["codes"] = "the generator has no feature maps at which codes can be mixed"
    if not (its.has_encoder and its.draws_posterior):
        lacking["posterior"] = "the model has no q(z given x) to sample from"
    for name in options.methods or ():
        if name in lacking:
            raise NotOffered(f"method {name!r}: {lacking[name]}")
    wanted = [name for name in METHODS if name not in lacking and name in (options.methods or METHODS)]
    for method, names in {"codes": ("codes", "place"), "held": ("held_weight",)}.items():
        if method not in wanted and not (method == "held" and its.has_encoder and _is_image(its.event)):
            refuse_unused(options, f"the method {method!r} is not used", *names)
    return wanted


def _is_image(event: Event) -> bool:
    return event.dims[-2:] == ("height", "width")


def _by_methods(
    its: Inverting,
    rows: xr.Dataset,
    truth: np.ndarray,
    rest: Mapping[str, np.ndarray],
    options: Options,
    call: Call,
    wanted: list[str],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the codes of the methods with one code per row, and the reconstructions of all methods."""
    start = its.by_encoder(rows) if its.has_encoder else None
    codes: dict[str, np.ndarray] = {}
    made: dict[str, np.ndarray] = {}
    for name in wanted:
        if name == "codes":
            made[name] = its.several(truth, rest, call.seed).x.double().cpu().numpy()
        elif name == "encoder" and start is not None:
            codes[name], made[name] = start, its.decoded(start, rest)
        elif name == "posterior":
            given = {"x": rows["x"].values, **conditions_in(rows, its.event)}
            codes[name] = sample(its.fitted, given=given, **call.common)[its.space.latent].values[0]
            made[name] = its.decoded(codes[name], rest)
        else:
            codes[name], made[name] = its.one(
                truth,
                rest,
                start=None if name == "mean" else start,
                held=its.held(options.held_weight) if name == "held" else None,
                feature_weight=options.feature_weight,
            )
    return codes, made


def _of_codes(
    its: Inverting, truth: np.ndarray, rest: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray]
) -> xr.Dataset:
    """Return `code`, its `distance` (coded, row) from the mean of sampled codes, and for a pair `log_p` (coded, row).

    `log_p` is log p(x given z).
    """
    dims, names = ("coded", "row"), [*codes]
    far = np.stack(
        [its.domain.distance(its.tensor(code).to(its.domain.mean)).cpu().numpy() for code in codes.values()]
    )
    said = {
        "units": "deviations of draws",
        "long_name": "root mean square distance from the mean of sampled codes",
    }
    found = xr.Dataset(
        {
            "code": ((*dims, *its.space.dims), np.stack([*codes.values()])),
            "distance": (dims, far, said),
            **{
                f"distance_{name}": float(np.sqrt(np.square(d).mean()))
                for name, d in zip(names, far, strict=True)
            },
        },
        {"coded": names},
    )
    module = its.fitted.module
    if not (its.draws_posterior and isinstance(module, Pair)) or its.space.latent not in latents_of(module):
        return found
    x, known_ = its.tensor(truth), {name: its.tensor(value) for name, value in rest.items()}
    given = {name: known_[name] for name in its.event.given}
    values = []
    for code in codes.values():
        latent = {its.space.latent: its.tensor(code).to(its.domain.mean)}
        others = {k: v for k, v in known_.items() if k not in given}
        with torch.no_grad():
            passed = sites(module.model, {**others, **latent}, inputs={"x": x, "n": len(x), **given})
        values.append(passed["x"].log_prob(len(x)).double().cpu().numpy())
    found["log_p"] = (dims, np.stack(values), {"units": "nat", "long_name": "log p(x given z)"})
    return found.assign({f"log_p_{name}": float(v.mean()) for name, v in zip(names, values, strict=True)})


def _kept(
    its: Inverting, rows: xr.Dataset, truth: np.ndarray, made: Mapping[str, np.ndarray], bounds: xr.Dataset
) -> xr.Dataset:
    """Return mean differences between attribute scores of reconstructions and of rows."""
    scores = its.told(truth, rows)
    errors = np.stack([its.attribute_errors(x, scores, rows) for x in made.values()])
    attrs = {
        "units": f"deviations of the scores over {its.deviation[1]}",
        "long_name": "mean absolute difference from the score of x",
    }
    found = xr.Dataset(
        {"attribute_error": (("approach", "factor"), errors, attrs)},
        {"approach": [*made], "factor": bounds["factor"].values},
    )
    return found.assign(
        {f"attribute_error_{name}": float(np.nanmean(e)) for name, e in zip(made, errors, strict=True)}
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `reconstructions`, `edit_NAME` of real rows, `interpolations` and `diffusion`."""
    event, titled = Event.of(found), partial(draw.of_results, found)
    methods = [str(name) for name in found["approach"].values]
    n = int(found.attrs["pictured"])
    x = found["x"].values
    shown = [x[:n], *(found["reconstruction"].values[i, :n] for i in range(len(methods)))]
    wanted: dict[str, Callable[[], Figure]] = {
        "reconstructions": lambda: draw.columns(
            shown, ["x", *methods], event, titled("Reconstructions from codes found for each row")
        ),
    }
    if "interpolation" in found:
        between = found["interpolation"].values
        wanted["interpolations"] = lambda: draw.strips(
            between,
            event,
            titled("Images between the codes of two rows"),
            above=[f"{t:.2g}" for t in np.linspace(0, 1, between.shape[1])],
        )
    if "diffused" in found:
        parts = [x[:n], np.roll(x[:n], -1, 0), found["pasted"].values, found["diffused"].values]
        wanted["diffusion"] = lambda: draw.columns(
            parts, ["context", "patch of", "pasted", "diffused"], event, titled("Patches put into other rows")
        )
    if "edit" in found:
        edited = [str(name) for name in found["edited"].values]
        reach = float(found["at"].max())
        for i, name in enumerate(as_names(edited)):
            strip = found["edit"].values[i]
            said = titled(f"Real rows with less and more of {edited[i]}", "steps in deviations")
            wanted[f"edit_{name}"] = partial(
                draw.strips, strip, event, said, above=steps_of(reach, strip.shape[1])
            )
    return draw.suiting(wanted)
