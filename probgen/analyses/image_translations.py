"""Images beside what a model makes of the image that they are conditioned on, by the protocol of super-resolution.

Of a family that goes from one kind of images to another and back (`label`, and a latent `source`) it is both ways: names of the second end in `_back`.
Approaches: of a smaller image `bicubic`; of one of the same size `copying` and `colors_moved`, which no translation should lose to; the
`mean` where the family has one, a `draw`, and the `mean_of_draws`. Means and draws are never in one column: what is nearest in squares is no draw.

psnr, ssim     luma, 8 bits, a border of `scale` pixels left off (BT.601; gray images as they are), where x or its pair is known: (approach, row)
psnr_colors    of all channels, of images in color; l1, the mean |error| in the range of levels
gradients      energy of differences of neighbors over that of real images
low_again      dB of the image that is given, from what was made of it brought down again: (approach, row)
band_distance, band_highest   of 63 bands of the cosine transform of 8 x 8 pixels: the mean |log2| of energies over the real ones, and the highest ratio
told_apart     share of patches of 32 x 32 that a small classifier, trained on others, tells from real ones: 1/2 is best
class_kept     how often a classifier of real images of the kind tells the class of a draw, over how often that of its pair
readable       R2 of a known number of the image that was given, told by ridge regression from draws; and from pairs
spread         mean deviation of several draws of one image, in levels
coverage       share of numbers of x that lie within an interval of the draws, and `coverage_nominal`, what is right of draws of the true law
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probgen import figures as drawn
from probgen.analyses.image_judges import Kinds, class_found, readable, told_apart
from probgen.api.sampling import sample
from probgen.codecs.images import luma, resized, rounded
from probgen.contract.analysis import Call
from probgen.contract.definition import deterministic, latents_of
from probgen.contract.event import Event, is_image
from probgen.contract.fitted import Fitted
from probgen.contract.options import ConditionalMeanOptions
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.contract.sizes import sizes_of
from probgen.errors import NotOffered
from probgen.evaluation.colors import Colors, moved
from probgen.evaluation.pictures import WINDOW, band_ratios, bands, psnr, ssim

IMAGES, MANY = 40, 1000  # that the classifier is trained on: of several sizes, of one size
JUDGED = ("mean", "draw")  # what it is asked of
TAIL = 0.05  # on each side of the interval
SHOWN, SIDE = 5, 96  # rows of the figure, and pixels of them a side
NEEDED = 10  # draws, for an interval
ENOUGH = 40  # rows, for a regression
Pair = tuple[np.ndarray, np.ndarray | None]  # what is given, and x or None: (channel, height, width) each


def source_of(event: Event) -> str | None:
    """The condition that is an image."""
    return next((name for name, part in event.given.items() if part.is_image), None)


def image_latent(fitted: Fitted) -> str | None:
    """The latent without a prior that is an image."""
    latents = latents_of(fitted.module)
    return next((name for name in fitted.definition.needed if is_image(latents[name])), None)


def applies(fitted: Fitted) -> bool:
    """Of images in levels given an image, by condition or as a latent."""
    event = fitted.event
    return event.is_image and event.discrete and (source_of(event) or image_latent(fitted)) is not None


@dataclass(frozen=True)
class Direction:
    """What is made of what.

    name        of the condition or latent that is the image
    suffix      of what it is called in results
    conditions  what else is given, by name
    pairs       of each row
    real        images of what is to be made
    rows        of the data
    """

    name: str
    suffix: str
    conditions: dict[str, Any]
    pairs: list[Pair]
    real: list[np.ndarray]
    rows: xr.Dataset


def directions(fitted: Fitted, data: xr.Dataset, most: int | None) -> list[Direction]:
    """One, of a condition; of a latent one for each of the conditions that rows are brought to, in the order in which they come."""
    event, name = fitted.event, source_of(fitted.event)
    if name is not None:
        rows = evenly(data, most)
        both = list(_images(rows, event, name))
        return [Direction(name, "", {}, [*both], [x for _, x in both], rows)]
    name = image_latent(fitted)
    assert name is not None
    given = {key: np.asarray(v) for key, v in fitted.definition.of_rows(fitted.options, data).items()}
    labels = [key for key in given if key != name]
    wanted = np.stack([given[key] for key in labels], 1)
    own = np.stack([data[key].values for key in labels], 1)
    found = []
    _, first = np.unique(wanted, axis=0, return_index=True)
    for i, value in enumerate(wanted[np.sort(first)]):
        chosen = evenly(
            data.assign(place=("row", np.arange(len(wanted)))).isel(row=(wanted == value).all(1)), most
        )
        sources = _whole(given[name][chosen["place"].values])
        truth: list[np.ndarray | None] = (
            [*_whole(chosen["pair"].values)] if "pair" in chosen else [None] * len(sources)
        )
        others = evenly(data.isel(row=(own == value).all(1)), most)
        real = [x for x in truth if x is not None] or [*_whole(others["x"].values)]
        suffix = "" if i == 0 else "_back" if i == 1 else f"_{i}"
        if real:
            conditions = dict(zip(labels, value.tolist(), strict=True))
            found.append(
                Direction(name, suffix, conditions, list(zip(sources, truth, strict=True)), real, chosen)
            )
    return found


def run(fitted: Fitted, data: xr.Dataset, options: Any, call: Call) -> xr.Dataset:
    """See above; `shown` are the middles of a few rows: (column, row, ...). Errors: `NotOffered` where there is nothing to hold draws against."""
    ways = directions(fitted, data, options.rows)
    if not ways:
        raise NotOffered("translate needs images to translate, and real ones of what is to be made")
    learned: dict[str, Direction] = {}
    if call.reference is not None:
        most = IMAGES if "size" in call.reference else MANY
        learned = {way.suffix: way for way in directions(fitted, call.reference, most)}
    out = xr.Dataset()
    for way in ways:
        found = _measured(fitted, way, learned.get(way.suffix), options, call)
        names = map(str, (*found.data_vars, "column", "row", "shown_row"))
        out = out.merge(
            found.rename({name: f"{name}{way.suffix}" for name in names}) if way.suffix else found
        )
    return out


MEASURES = ("psnr", "ssim", "psnr_colors", "l1", "low_again")  # of each approach and row


def _measured(
    fitted: Fitted, way: Direction, learned: Direction | None, options: Any, call: Call
) -> xr.Dataset:
    draws = 1 if deterministic(fitted.module) else options.draws
    plain = _Plain(fitted.event, way, learned)
    made = [_Made(fitted, way, i, draws, plain, call) for i in range(len(way.pairs))]
    approaches = list(made[0].images)
    out = xr.Dataset(coords={"approach": approaches})
    for measure in MEASURES:
        of: Callable[[_Made, str], float | None] = getattr(_Made, measure)
        values = [[of(m, a) for m in made] for a in approaches]
        if all(value is not None for line in values for value in line):
            out[measure] = (("approach", "row"), np.array(values, dtype=np.float64))
    real = [_luma(x, x, plain.levels) for x in way.real]
    out = out.merge(_spectra(made, real, approaches))
    out["spread"] = ("row", [m.spread for m in made])
    if draws >= NEEDED and all(m.truth is not None for m in made):
        inside = [m.inside(np.random.default_rng(key(call.seed, "ties", i))) for i, m in enumerate(made)]
        out["coverage"] = ("row", [share for share, _ in inside])
        out = out.assign(coverage_nominal=inside[0][1])
    if options.judge:
        others = (
            [_Made(fitted, learned, i, 1, plain, call) for i in range(len(learned.pairs))]
            if learned is not None
            else []
        )
        for a in (a for a in approaches if a in JUDGED):
            known = (
                Kinds([m.y(a) for m in others], [_luma(x, x, plain.levels) for x in learned.real])
                if learned is not None
                else None
            )
            share = told_apart(Kinds([m.y(a) for m in made], real), known, call.seed)
            out = out if share is None else out.assign({f"told_apart_{a}": share})
        out = out.assign(_class_kept(made, way, call))
    out = out.assign(_readable(made, way))
    figures: dict[str, float] = {}
    for name, found in out.data_vars.items():
        if found.dims == ("approach", "row"):
            figures |= {f"{name}_{a}": float(found.sel(approach=a).mean()) for a in approaches}
        elif found.dims == ("approach",):
            figures |= {f"{name}_{a}": float(found.sel(approach=a)) for a in approaches}
        elif found.dims == ("row",):
            figures[f"{name}_mean"] = float(found.mean())
    return out.assign(figures).assign(_shown(made[:: -(-len(made) // SHOWN)], approaches))


def _spectra(made: list[_Made], real: list[np.ndarray], approaches: list[str]) -> xr.Dataset:
    """Energy of differences of neighbors, and of bands, against real images."""
    energy = max(1e-12, float(np.mean([_gradients(y) for y in real])))
    out = xr.Dataset(
        {
            "gradients": (
                "approach",
                [np.mean([_gradients(m.y(a)) for m in made]) / energy for a in approaches],
            )
        }
    )
    if min(min(y.shape) for y in [*real, *(m.y("draw") for m in made)]) >= 8:
        truth = np.mean([bands(y[None]) for y in real], 0)
        ratios = np.stack(
            [band_ratios(np.mean([bands(m.y(a)[None]) for m in made], 0), truth) for a in approaches]
        )
        out["band_distance"] = ("approach", np.abs(ratios).mean(1))
        out["band_highest"] = ("approach", np.exp2(ratios.max(1)))
    return out


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`images`, and `images_back`: what is given, what was made of it, x; the middle of each."""
    event, out = Event.of(found), {}
    for suffix in ("", "_back"):
        if f"shown{suffix}" in found:
            x = found[f"shown{suffix}"].values
            shown = replace(event, shape=(*event.shape[:-2], *x.shape[-2:]))
            names = [str(column).replace("_", " ") for column in found[f"column{suffix}"].values]
            out[f"images{suffix}"] = drawn.columns(list(x), names, shown)
    return out


def _whole(x: np.ndarray) -> np.ndarray:
    """Images with their channels: (row, channel, height, width)."""
    return x if x.ndim == 4 else x[:, None]


def _luma(x: np.ndarray, truth: np.ndarray, levels: int) -> np.ndarray:
    """Luma, rounded, of an image that is held against another: (channel, height, width) -> (height, width), in the levels of x."""
    if len(x) != 3:
        return rounded(luma(x, truth), levels)
    unit = 255 / (levels - 1)  # BT.601 is of 0 .. 255
    return rounded(luma(x * unit, truth) / unit, levels)


def _gradients(y: np.ndarray) -> float:
    """Mean square of the differences of neighbors."""
    y = y.astype(np.float64)
    return float(np.square(np.diff(y, axis=-1)).mean() + np.square(np.diff(y, axis=-2)).mean())


def _images(rows: xr.Dataset, event: Event, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What is given and x of each row, without padding: (channel, height, width) each."""
    for row, (height, width) in enumerate(sizes_of(rows)):
        part = event.given[name]
        scale = part.scale or rows["x"].shape[-1] // rows[name].shape[-1] or 1
        given = rows[name][row, ..., : height // scale, : width // scale].values
        x = rows["x"][row, ..., :height, :width].values
        yield given.reshape(-1, *given.shape[-2:]), x.reshape(-1, *x.shape[-2:])


class _Plain:
    """What is made of an image without a model, in levels of x."""

    def __init__(self, event: Event, way: Direction, learned: Direction | None):
        self.levels = event.levels or 2
        part = event.given.get(way.name, event)
        self.factor = (self.levels - 1) / ((part.levels or 2) - 1)  # levels of what is given to those of x
        given, x = way.pairs[0][0], way.real[0]
        self.scale = part.scale or (x.shape[-1] // given.shape[-1] if way.name in event.given else 1)
        self.alike, self.colors = len(given) == len(x), None
        if self.scale == 1 and self.alike and learned is not None:
            kinds = [self.factor * pair[0] for pair in learned.pairs], learned.real
            flat = (
                np.concatenate([image.reshape(len(image), -1) for image in images], 1) for images in kinds
            )
            source, target = (Colors.of(pixels[None, :, None]) for pixels in flat)
            self.colors = source, target

    def of(self, given: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """By name: (channel, height, width) each."""
        given = given * self.factor
        if self.scale > 1:
            return {
                "bicubic": np.broadcast_to(rounded(resized(given, shape[-2], shape[-1]), self.levels), shape)
            }
        copied = rounded(given if self.alike else given.mean(0, keepdims=True), self.levels)
        made = {"copying": np.broadcast_to(copied, shape)}
        if self.colors is not None:
            made["colors_moved"] = rounded(moved(given[None], *self.colors, self.levels)[0], self.levels)
        return made


class _Made:
    """What was made of one image: (channel, height, width) by approach, in levels. Each image has random numbers of its own."""

    def __init__(self, fitted: Fitted, way: Direction, i: int, draws: int, plain: _Plain, call: Call):
        given, self.truth = way.pairs[i]
        self.scale, self.levels, self.given = plain.scale, plain.levels, given * plain.factor
        event = fitted.event
        dims = event.given[way.name].dims if way.name in event.given else event.dims
        condition = {**way.conditions, way.name: given if len(dims) == 3 else given[0]}
        height, width = (self.scale * side for side in given.shape[-2:])
        self.shape = (event.channels, height, width)
        self.images: dict[str, np.ndarray] = dict(plain.of(given, self.shape))
        seed = key(call.seed, "translate", way.suffix, way.rows.sizes["row"], i)
        how: dict[str, Any] = {"given": condition, "seed": seed, "device": call.device}
        if issubclass(fitted.definition.options("sample"), ConditionalMeanOptions):
            self.images["mean"] = self._image(sample(fitted, **how, mean=True)["x"].values[0])
        self.draws = sample(fitted, draws, **how)["x"].values.reshape(draws, *self.shape)
        self.images["draw"] = self._image(self.draws[0])
        if draws > 1:
            self.images["mean_of_draws"] = self._image(self.draws.mean(0))

    def _image(self, x: np.ndarray) -> np.ndarray:
        return rounded(x.reshape(self.shape), self.levels)

    def y(self, approach: str) -> np.ndarray:
        """Luma, rounded: (height, width)."""
        image = self.images[approach]
        return _luma(image, image if self.truth is None else self.truth, self.levels)

    def _inner(self, y: np.ndarray) -> np.ndarray:
        border = self.scale if self.scale > 1 and min(y.shape[-2:]) > 2 * self.scale else 0
        return y[..., border : y.shape[-2] - border, border : y.shape[-1] - border]

    def _both(self, approach: str) -> tuple[np.ndarray, np.ndarray] | None:
        if self.truth is None:
            return None
        return self._inner(self.y(approach))[None], self._inner(_luma(self.truth, self.truth, self.levels))[
            None
        ]

    def psnr(self, approach: str) -> float | None:
        """In dB, of the range of levels."""
        both = self._both(approach)
        return None if both is None else float(psnr(*both, self.levels - 1)[0])

    def ssim(self, approach: str) -> float | None:
        """None of what is smaller than its window."""
        both = self._both(approach)
        return (
            None
            if both is None or min(both[0].shape[-2:]) < WINDOW
            else float(ssim(*both, self.levels - 1)[0])
        )

    def psnr_colors(self, approach: str) -> float | None:
        """Of all channels; None of gray images."""
        if self.truth is None or len(self.truth) == 1:
            return None
        return float(
            psnr(rounded(self.images[approach], self.levels)[None], self.truth[None], self.levels - 1)[0]
        )

    def l1(self, approach: str) -> float | None:
        """The mean |error|, of the range of levels."""
        if self.truth is None:
            return None
        return float(np.abs(self.images[approach] - self.truth.astype(np.float64)).mean() / (self.levels - 1))

    def low_again(self, approach: str) -> float | None:
        """In dB, of all channels; None of an image that is not made larger."""
        if self.scale == 1 or len(self.given) != self.shape[0]:
            return None
        again = resized(self.images[approach], self.given.shape[-2], self.given.shape[-1])
        return float(psnr(again[None], self.given[None], self.levels - 1)[0])

    @property
    def spread(self) -> float:
        """0 of a function, whose draws are all equal."""
        return float(self.draws.std(0, ddof=1).mean()) if len(self.draws) > 1 else 0.0

    def inside(self, rng: np.random.Generator) -> tuple[float, float]:
        """Which share of x lies within the interval of the draws, and which should; x among equal draws has any place."""
        assert self.truth is not None
        n = len(self.draws)
        cut = max(1, round(TAIL * (n + 1)))
        rank = (self.draws < self.truth).sum(0) + rng.integers((self.draws == self.truth).sum(0) + 1)
        return float(((rank >= cut) & (rank <= n - cut)).mean()), (n + 1 - 2 * cut) / (n + 1)


def _class_kept(made: list[_Made], way: Direction, call: Call) -> dict[str, float]:
    """By a classifier of the rows of the fit that are of the kind that is made; nothing where they or pairs have no classes."""
    reference, rows = call.reference, way.rows
    truth = [m.truth for m in made if m.truth is not None]
    if (
        not way.conditions
        or reference is None
        or "attribute" not in rows
        or "attribute" not in reference
        or not truth
    ):
        return {}
    levels = np.atleast_1d(rows["attribute"].attrs.get("levels", 0))
    if not (levels > 1).any():
        return {}
    column = int((levels > 1).argmax())
    of_kind = np.all([reference[name].values == value for name, value in way.conditions.items()], 0)
    label = reference["attribute"].values[of_kind, column].astype(np.int64)
    learned = xr.Dataset(
        {"x": reference["x"].isel(row=of_kind), "label": ("row", label, {"levels": int(levels[column])})}
    )
    classes = rows["attribute"].values[:, column]
    drawn_, true = (
        class_found(learned, images, classes, call.seed)
        for images in ([m.images["draw"] for m in made], truth)
    )
    return {"class_draw": drawn_, "class_pair": true, "class_kept": drawn_ / max(true, 1e-12)}


def _readable(made: list[_Made], way: Direction) -> dict[str, float]:
    """R2 of each known number of what was given, from draws and from pairs."""
    rows, truth = way.rows, [m.truth for m in made if m.truth is not None]
    if not way.conditions or "attribute" not in rows or len(truth) < ENOUGH:
        return {}
    levels = np.atleast_1d(rows["attribute"].attrs.get("levels", 0))
    found = {}
    for column, name in enumerate(map(str, rows["factor"].values)):
        number = rows["attribute"].values[:, column].astype(np.float64)
        if levels[column] == 0 and np.isfinite(number).all() and number.std() > 0:
            found[f"readable_{name}"] = readable([m.images["draw"] for m in made], number)
            found[f"readable_{name}_pair"] = readable(truth, number)
    return found


def _shown(made: list[_Made], approaches: list[str]) -> dict[str, Any]:
    """The middle of a few rows: what is given, in the size of x, what was made, and x where it is known."""
    side = min(SIDE, *(min(m.shape[-2:]) for m in made))
    known = all(m.truth is not None for m in made)
    columns = ["given", *(a for a in approaches if a != "copying"), *(["x"] if known else [])]
    lines = []
    for m in made:
        images = dict(m.images)
        if m.truth is not None:
            images["x"] = m.truth
        given = m.given.repeat(m.scale, -1).repeat(m.scale, -2)
        images["given"] = np.broadcast_to(
            given if len(given) == m.shape[0] else given.mean(0, keepdims=True), m.shape
        )
        lines.append([_middle(rounded(images[c], m.levels), side) for c in columns])
    x = np.stack([np.stack(line) for line in zip(*lines, strict=True)])
    x = x if x.shape[2] > 1 else x[:, :, 0]
    dims = ("channel", "height", "width")[-(x.ndim - 2) :]
    return {"shown": (("column", "shown_row", *dims), x), "column": columns}


def _middle(x: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    return x[..., top : top + side, left : left + side]
