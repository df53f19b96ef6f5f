"""Restore degraded images with a generator, and compare the results with the truth and with plain baselines.

For each task the same rows are degraded and then restored: the method searches for codes whose degraded
output matches the degraded image. The baselines use no other image (Gu, Shen & Zhou, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch.nn.functional import interpolate

from probgen import figures as draw
from probgen.analyses.boundaries import scored
from probgen.analyses.searching import Inverting, SearchOptions, by_condition, middle
from probgen.analyses.space import applies, in_words, needs, space_of
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import refuse_unused
from probgen.contract.rows import evenly
from probgen.errors import InputError, NotOffered
from probgen.evaluation.pictures import harmonic
from probgen.inference import degradations
from probgen.inference.degradations import Degradation
from probgen.readers.images import images

__all__ = ["Options", "applies", "check", "figures", "needs", "run"]

Task = Literal["inpainting", "colorization", "super-resolution", "denoising", "deblurring", "dequantization"]
METHODS = {
    "plain": "the mean of visible pixels, the gray image, bicubic enlargement, or the degraded image",
    "smooth": "hidden pixels by harmonic interpolation of their neighbors, or a Gaussian blur of one pixel over noise",
    "one": "one code, found by a search from the samples nearest to the degraded image",
    "codes": "several codes, mixed at a place of the generator, from a neighborhood of the same start",
    "posterior": "a sample from p(x given the visible pixels)",
}

BASELINES = ("plain", "smooth")
USUAL = ("inpainting", "colorization", "super-resolution", "denoising")
USED_BY = {
    "hole": "inpainting",
    "mask": "inpainting",
    "factor": "super-resolution",
    "sigma": "denoising",
    "blur": "deblurring",
    "levels": "dequantization",
}


class Options(SearchOptions):
    """Options of the degradations and of the search."""

    tasks: tuple[Task, ...] | None = Field(
        None,
        min_length=1,
        description="tasks; default: inpainting, colorization (color images only), super-resolution, denoising",
    )
    n: int = Field(2000, ge=10, description="number of sampled codes")
    codes: int = Field(5, ge=1, description="codes per row in the method of several codes")
    prior: float = Field(
        0.02,
        ge=0,
        description="weight of a code's distance from the mean of sampled codes (method of one code)",
    )
    hole: float = Field(
        0.375,
        gt=0,
        lt=1,
        description="inpainting: side of the hidden rectangle, as a share of the image's side",
    )
    mask: str | None = Field(
        None,
        description="inpainting: image file of the same size, white where x is hidden, instead of a hole",
    )
    factor: int = Field(4, ge=2, description="super-resolution: factor by which the sides are reduced")
    sigma: float = Field(
        0.1, gt=0, description="denoising: standard deviation of the noise, as a share of the peak of x"
    )
    blur: float = Field(1.5, gt=0, description="deblurring: standard deviation of the Gaussian, in pixels")
    levels: int = Field(4, ge=2, description="dequantization: number of levels left per color")

    @model_validator(mode="after")
    def _used_by_tasks(self) -> Options:
        tasks = self.tasks or USUAL
        for name, task in USED_BY.items():
            if getattr(self, name) != type(self).model_fields[name].default and task not in tasks:
                raise ValueError(
                    f"{name} has no effect without the task {task}. Leave it out, or add the task."
                )
        if self.mask is not None and self.hole != type(self).model_fields["hole"].default:
            raise ValueError("hole has no effect with a mask. Leave out hole or mask.")
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"tasks = {list(tasks)}: a task is repeated. List each task once.")
        return self


@dataclass(frozen=True)
class Lost:
    """The degraded rows of one task.

    Attributes:
        seen: The degraded rows; their shape depends on the task. NaN where a value is hidden.
        degradation: The degradation as a function.
        shown: The degraded rows at the size of x, for the figure.
        baselines: Restorations of the baselines, (row, *event) each.
        observed: True where x is visible (inpainting), or None.
    """

    seen: np.ndarray
    degradation: Degradation
    shown: np.ndarray
    baselines: Mapping[str, np.ndarray]
    observed: np.ndarray | None = None


def check(event: Event, options: Options) -> None:
    """Check that the event is an image that suits the tasks.

    Args:
        event: The event of the data.
        options: Options of the restoration.

    Raises:
        InputError: When the event is not an image, or does not suit a task.
    """
    event.image()
    for task in options.tasks or ():
        if task == "colorization" and not _colored(event):
            raise InputError("tasks: colorization needs images of three colors. Leave it out of tasks.")
    if "inpainting" in (options.tasks or USUAL) and _suits("inpainting", event, options):
        _hidden(event, options)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Restore rows in each task by each method.

    The result contains `restored` (task, approach, row, *event), `psnr` (task, approach, row), and with a
    scorer `attribute_error` (task, approach, factor). Its figures are `psnr_TASK_METHOD`, `gain_TASK` and
    `attribute_error_TASK_METHOD`.
    """
    event = fitted.event
    check(event, options)
    wanted = scored(fitted, by_condition(fitted, options), call)
    its = Inverting.of(space_of(fitted, data, wanted, call), wanted, data, call)
    if not its.mixable:
        refuse_unused(
            options, "the generator has no feature maps at which codes can be mixed", "codes", "place"
        )
    rows = evenly(data, options.rows)
    truth, rest = rows["x"].values.astype(np.float64), its.rest(rows)
    tasks = list(options.tasks or [task for task in USUAL if _suits(task, event, options)])
    found: dict[str, dict[str, np.ndarray]] = {}
    shown = []
    for task in tasks:
        lost = _lost(task, its, truth, options, call.seed)
        made = dict(lost.baselines)
        start = its.nearest(lost.seen, lost.degradation)
        _, made["one"] = its.one(
            lost.seen, rest, degradation=lost.degradation, start=start, prior=options.prior
        )
        if its.mixable:
            mixed = its.several(lost.seen, rest, call.seed, degradation=lost.degradation, start=start)
            made["codes"] = mixed.x.double().cpu().numpy()
        if lost.observed is not None:
            if its.draws_posterior:
                known = np.broadcast_to(lost.observed, truth.shape)
                given = {"x": truth, "observed": known, **conditions_in(rows, event)}
                with suppress(NotOffered):
                    drawn = sample(fitted, given=given, **call.common)["x"].values[0]
                    made["posterior"] = drawn.astype(np.float64)
            made = {name: np.where(lost.observed, truth, x) for name, x in made.items()}
        found[task] = {name: its.near(x) for name, x in made.items()}
        shown.append(lost.shown)
    methods = [name for name in METHODS if any(name in made for made in found.values())]
    nothing = np.full_like(truth, np.nan)
    restored = np.stack([[made.get(name, nothing) for name in methods] for made in found.values()])
    psnr = np.stack([[its.psnr(x, truth) for x in made] for made in restored])
    result = xr.Dataset(
        {
            "x": (("row", *event.dims), truth),
            "seen": (
                ("task", "row", *event.dims),
                np.stack(shown),
                {"long_name": "degraded image at the size of x; NaN where x is hidden"},
            ),
            "restored": (("task", "approach", "row", *event.dims), restored),
            "psnr": (
                ("task", "approach", "row"),
                psnr,
                {"units": "dB", "long_name": "peak signal-to-noise ratio"},
            ),
        },
        {"task": tasks, "approach": methods},
        {
            "latent": its.space.latent,
            "pictured": min(options.pictured, len(truth)),
            "methods": "; ".join(f"{name}: {METHODS[name]}" for name in methods),
        },
    )
    said = []
    for i, task in enumerate(tasks):
        means = {name: float(psnr[i, j].mean()) for j, name in enumerate(methods) if name in found[task]}
        best = max(value for name, value in means.items() if name in BASELINES)
        result = result.assign({f"psnr_{_word(task)}_{name}": value for name, value in means.items()})
        result[f"gain_{_word(task)}"] = means["one"] - best
        result[f"gain_{_word(task)}"].attrs = {
            "units": "dB",
            "long_name": "PSNR of one code minus PSNR of the best baseline",
        }
        said.append(f"{task} {in_words(means, lambda a: f'{a:.1f}')}")
    if its.space.tells is not None:
        names = [str(name) for name in its.space.base["factor"].values]
        lacking, scores = np.full(len(names), np.nan), its.told(truth, rows)
        errors = np.stack(
            [
                [
                    its.attribute_errors(made[name], scores, rows) if name in made else lacking
                    for name in methods
                ]
                for made in found.values()
            ]
        )
        attrs = {
            "units": f"deviations of the scores over {its.deviation[1]}",
            "long_name": "mean absolute difference from the score of x",
        }
        result = result.assign_coords(factor=names).assign(
            attribute_error=(("task", "approach", "factor"), errors, attrs)
        )
        for i, task in enumerate(tasks):
            for j, name in enumerate(methods):
                if name in found[task]:
                    result[f"attribute_error_{_word(task)}_{name}"] = float(np.nanmean(errors[i, j]))
    return result.assign_attrs(summary=f"PSNR of {len(truth)} rows, dB: {'; '.join(said)}")


def _lost(task: str, its: Inverting, truth: np.ndarray, options: Options, seed: int) -> Lost:
    """Return the degraded rows of a task."""
    x, event = its.tensor(truth), its.event
    peak = its.peak(truth)
    if task == "inpainting":
        known = ~_hidden(event, options)
        degradation = degradations.mask(its.tensor(known))
        seen = degradation(x).cpu().numpy()
        mean = np.nanmean(seen, axis=(-2, -1), keepdims=True)
        baselines = {"plain": np.where(known, truth, mean), "smooth": harmonic(truth, known)}
        return Lost(seen, degradation, seen, baselines, known)
    if task == "denoising":
        rng = np.random.default_rng(seed)
        seen = truth + options.sigma * peak * rng.standard_normal(truth.shape)
        baselines = {"plain": seen}
        if min(truth.shape[-2:]) > degradations.REACH:
            baselines["smooth"] = degradations.blur(1.0)(its.tensor(seen)).cpu().numpy()
        return Lost(seen, degradations.whole, its.near(seen), baselines)
    if task == "super-resolution":
        degradation = degradations.shrink(options.factor)
        small = degradation(x)
        maps = small if small.ndim == 4 else small[:, None]
        size = list(truth.shape[-2:])
        larger = interpolate(maps, size, mode="bicubic", align_corners=False).reshape(truth.shape)
        blocks = interpolate(maps, size, mode="nearest").reshape(truth.shape)
        return Lost(small.cpu().numpy(), degradation, blocks.cpu().numpy(), {"plain": larger.cpu().numpy()})
    made: dict[str, Callable[[], Degradation]] = {
        "colorization": lambda: degradations.gray,
        "deblurring": lambda: degradations.blur(options.blur),
        "dequantization": lambda: degradations.quantize(options.levels, *its.range(truth)),
    }
    degradation = made[task]()
    seen = degradation(x).cpu().numpy()
    same = np.broadcast_to(seen, truth.shape)
    return Lost(seen, degradation, same, {"plain": same})


def _hidden(event: Event, options: Options) -> np.ndarray:
    """Return a mask of the hidden pixels: (*event).

    A mask of another size, or a mask that hides nothing or everything, raises `InputError`.
    """
    shape = event.fixed_shape
    height, width = shape[-2:]
    if options.mask is None:
        hidden = middle(shape, options.hole)
        which = f"hole = {options.hole}"
    else:
        hidden = np.zeros(shape, dtype=bool)
        if not Path(options.mask).is_file():
            raise InputError(f"mask = {options.mask!r}: there is no such file. Give an image file.")
        read = images(Path(options.mask))["x"].values[0].astype(float)
        if read.shape[-2:] != (height, width):
            raise InputError(
                f"mask = {options.mask!r} is {read.shape[-1]} x {read.shape[-2]}, and the images are {width} x {height}. Use a mask of the same size."
            )
        plane = read if read.ndim == 2 else read.mean(0)
        hidden[..., plane > 0.5 * (1 if plane.max() <= 1 else 255)] = True
        which = f"mask = {options.mask!r}"
    if hidden.all() or not hidden.any():
        raise InputError(
            f"{which} hides {'everything' if hidden.any() else 'nothing'} of images of {width} x {height}. Hide a part (white in a mask)."
        )
    return hidden


def _suits(task: str, event: Event, options: Options) -> bool:
    """Return whether a task suits the images; an unsuitable task is left out unless the option names it."""
    height, width = event.fixed_shape[-2:]
    fits = {
        "colorization": _colored(event),
        "super-resolution": not (height % options.factor or width % options.factor),
        "inpainting": options.mask is not None or height * width > 1,
    }
    return fits.get(task, True)


def _colored(event: Event) -> bool:
    return len(event.dims) == 3 and event.shape[0] == 3


def _word(task: str) -> str:
    return task.replace("-", "_")


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return a figure per task: x, the degraded image, and the restoration of each method."""
    event = Event.of(found)
    n = int(found.attrs["pictured"])
    wanted: dict[str, Callable[[], Figure]] = {}
    for task in map(str, found["task"].values):
        one = found.sel(task=task)
        names = [
            str(name)
            for name in found["approach"].values
            if np.isfinite(one["psnr"].sel(approach=name)).any()
        ]
        parts: list[Any] = [one["x"].values[:n], one["seen"].values[:n]]
        parts += [one["restored"].sel(approach=name).values[:n] for name in names]
        wanted[_word(task)] = partial(
            draw.columns, parts, ["x", "seen", *names], event, draw.of_results(found, f"Restoration: {task}")
        )
    return draw.suiting(wanted)
