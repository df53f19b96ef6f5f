"""Images beside what a model makes of the image that they are conditioned on, by the protocol of super-resolution.

Of a family that goes from one kind of images to another and back (`label`, and a latent `source`) it is both ways: names of the second end in `_back`.
Approaches: of a smaller image `bicubic`; of one of the same size `copying` and `colors_moved`, which no translation should lose to; the
`mean` where the family has one, a `draw`, and the `mean_of_draws`. Means and draws are never in one column: what is nearest in squares is no draw.

psnr, ssim     luma, 8 bits, a border of `scale` pixels left off (BT.601; grey images as they are), where x or its pair is known: (approach, row)
psnr_colors    of all channels, of images in colour; l1, the mean |error| in the range of levels
gradients      energy of differences of neighbours over that of real images
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
from scipy.ndimage import uniform_filter
from sklearn.linear_model import Ridge

from probgen import figures as drawn
from probgen.api.attributing import attributes
from probgen.api.fitting import fit
from probgen.api.sampling import sample
from probgen.codecs.images import is_gray, luma, resized, rounded
from probgen.contract.analysis import Call
from probgen.contract.definition import deterministic
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.contract.sizes import sizes_of
from probgen.errors import NotOffered
from probgen.evaluation.colors import Colours, moved
from probgen.evaluation.pictures import WINDOW, band_ratios, bands, psnr, ssim

PATCH, PATCHES, IMAGES = (
    32,
    2000,
    40,
)  # of the classifier: side, most patches of a kind, images of any size that it is trained on
MANY = 1000  # images of one size that it is trained on
JUDGED = ("mean", "draw")  # what is asked of it
TAIL = 0.05  # on each side of the interval
SHOWN, SIDE = 5, 96  # rows of the figure, and pixels of them a side
NEEDED = 10  # draws, for an interval
STEPS, FINE = (
    800,
    8.0,
)  # of the classifier, and how much more of differences from neighbours it sees beside luma
RIDGE, POINTS = 10.0, 12  # of the regression, and pixels a side that it sees


def source_of(event: Event) -> str | None:
    """The condition that is an image."""
    return next((name for name, part in event.given.items() if part.is_image), None)


def applies(fitted: Fitted) -> bool:
    """Of images given an image, by condition or by kind."""
    event = fitted.event
    return (
        event.is_image
        and event.discrete
        and (source_of(event) is not None or "source" in fitted.definition.needed)
    )


@dataclass(frozen=True)
class Direction:
    """What is made of what.

    name        of the condition or latent that is the image
    suffix      of what it is called in results
    conditions  what else is given
    pairs       of each row what is given, and x or None: (channel, height, width) each
    real        images of what is to be made
    rows        of the data
    """

    name: str
    suffix: str
    conditions: dict[str, Any]
    pairs: list[tuple[np.ndarray, np.ndarray | None]]
    real: list[np.ndarray]
    rows: xr.Dataset


def directions(fitted: Fitted, data: xr.Dataset, most: int | None) -> list[Direction]:
    """One, of a condition; two, of kinds: from kind 0 to kind 1, and back."""
    event, name = fitted.event, source_of(fitted.event)
    if name is not None:
        rows = evenly(data, most)
        pairs = list(_images(rows, event, name))
        return [Direction(name, "", {}, [*pairs], [x for _, x in pairs], rows)]
    (label,) = event.given
    found = []
    for kind in (0, 1):
        of_kind = [data.isel(row=np.flatnonzero(data[label].values == k)) for k in (kind, 1 - kind)]
        rows, others = (evenly(some, most) for some in of_kind)
        if not rows.sizes["row"]:
            continue
        given = _whole(rows["x"].values)
        truth: list[np.ndarray | None] = (
            [*_whole(rows["pair"].values)] if "pair" in rows else [None] * len(given)
        )
        real = [x for x in truth if x is not None] or [*_whole(others["x"].values)]
        if real:
            both: list[tuple[np.ndarray, np.ndarray | None]] = list(zip(given, truth, strict=True))
            found.append(Direction("source", "_back" * kind, {label: 1 - kind}, both, real, rows))
    return found


def run(fitted: Fitted, data: xr.Dataset, options: Any, call: Call) -> xr.Dataset:
    """See above; `shown` are the middles of a few rows: (column, row, ...). Errors: `NotOffered` for rows of no kind."""
    ways = directions(fitted, data, options.rows)
    if not ways:
        raise NotOffered(
            "translate needs images to translate: rows of kind 0 or 1, and real ones of the other"
        )
    out = xr.Dataset()
    for i, way in enumerate(ways):
        reference = call.reference
        learnt = None
        if reference is not None:
            several = "size" in reference
            learnt = next(
                (
                    w
                    for w in directions(fitted, reference, IMAGES if several else MANY)
                    if w.suffix == way.suffix
                ),
                None,
            )
        found = _measured(fitted, way, learnt, options, call)
        if way.suffix:
            names = map(str, (*found.data_vars, "column", "row", "shown_row"))
            found = found.rename({name: f"{name}{way.suffix}" for name in names})
        out = found if i == 0 else out.merge(found)
    return out


def _measured(
    fitted: Fitted, way: Direction, learnt: Direction | None, options: Any, call: Call
) -> xr.Dataset:
    draws = 1 if deterministic(fitted.module) else options.draws
    baselines = _Baselines(fitted.event, way, learnt or way)
    made = [_Made(fitted, way, pair, draws, baselines, call) for pair in way.pairs]
    approaches = list(made[0].images)
    out = xr.Dataset(coords={"approach": approaches})
    measures: dict[str, Callable[[_Made, str], float | None]] = {
        "psnr": _Made.psnr, "ssim": _Made.ssim, "psnr_colors": _Made.psnr_colors, "l1": _Made.l1, "low_again": _Made.low_again,
    }  # fmt: skip
    for measure, of in measures.items():
        values = [[of(m, a) for m in made] for a in approaches]
        if all(value is not None for line in values for value in line):
            out[measure] = (("approach", "row"), np.array(values, dtype=np.float64))
    real = [_luma_of(x, x, baselines.levels) for x in way.real]
    energy = max(1e-12, float(np.mean([_gradients(y) for y in real])))
    out["gradients"] = (
        "approach",
        [np.mean([_gradients(m.y(a)) for m in made]) / energy for a in approaches],
    )
    if min(min(y.shape[-2:]) for y in [*real, *(m.y("draw") for m in made)]) >= 8:
        truth = np.mean([bands(y) for y in real], 0)
        ratios = np.stack([band_ratios(np.mean([bands(m.y(a)) for m in made], 0), truth) for a in approaches])
        out["band_distance"] = ("approach", np.abs(ratios).mean(1))
        out["band_highest"] = ("approach", np.exp2(ratios.max(1)))
    out["spread"] = ("row", [m.spread for m in made])
    if draws >= NEEDED and all(m.truth is not None for m in made):
        inside = [m.inside(np.random.default_rng(key(call.seed, "ties", i))) for i, m in enumerate(made)]
        out["coverage"] = ("row", [share for share, _ in inside])
        out = out.assign(coverage_nominal=inside[0][1])
    if options.judge:
        others = None
        if learnt is not None:
            others = [_Made(fitted, learnt, pair, 1, baselines, call) for pair in learnt.pairs], learnt.real
        told = {
            a: _told_apart(a, (made, way.real), others, baselines.levels, call.seed)
            for a in approaches
            if a in JUDGED
        }
        out = out.assign({f"told_apart_{a}": share for a, share in told.items() if share is not None})
        out = out.assign(_class_kept(made, way, call))
    out = out.assign(_readable(made, way))
    for measure in ("psnr", "ssim", "psnr_colors", "l1", "low_again"):
        if measure in out:
            out = out.assign(
                {f"{measure}_{a}": float(out[measure].sel(approach=a).mean()) for a in approaches}
            )
    for measure in ("gradients", "band_distance", "band_highest"):
        if measure in out:
            out = out.assign({f"{measure}_{a}": float(out[measure].sel(approach=a)) for a in approaches})
    for measure in ("spread", "coverage"):
        if measure in out:
            out = out.assign({f"{measure}_mean": float(out[measure].mean())})
    return out.assign(_shown(made[:: -(-len(made) // SHOWN)], approaches))


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


def _luma_of(x: np.ndarray, truth: np.ndarray, levels: int) -> np.ndarray:
    """Luma, rounded, of an image that is held against another: (1, height, width)."""
    if len(x) == 3 and is_gray(truth):
        return rounded(x.mean(0, keepdims=True), levels)
    return rounded(luma(x)[None] if len(x) == 3 else x.astype(np.float64), levels)


def _gradients(y: np.ndarray) -> float:
    """Mean square of the differences of neighbours."""
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


class _Baselines:
    """What is made of an image without a model."""

    def __init__(self, event: Event, way: Direction, learnt: Direction):
        self.levels = event.levels or 256
        given, x = way.pairs[0][0], way.real[0]
        self.scale = (
            (event.given[way.name].scale or x.shape[-1] // given.shape[-1]) if way.name in event.given else 1
        )
        self.alike = len(given) == len(x)
        if self.scale == 1 and self.alike:
            kinds = [pair[0] for pair in learnt.pairs], learnt.real
            flat = (
                np.concatenate([image.reshape(len(image), -1) for image in images], 1) for images in kinds
            )
            self.source, self.target = (Colours.of(pixels[None, :, None]) for pixels in flat)

    def of(self, given: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """By name: (channel, height, width) each, in levels of x."""
        if self.scale > 1:
            up = rounded(resized(given, *shape[-2:]), self.levels)
            return {"bicubic": np.broadcast_to(up, shape)}
        if not self.alike:
            return {"copying": np.broadcast_to(given.mean(0, keepdims=True), shape)}
        return {
            "copying": given,
            "colors_moved": moved(given[None], self.source, self.target, self.levels)[0],
        }


class _Made:
    """What was made of one image: (channel, height, width) by approach, in levels."""

    def __init__(
        self,
        fitted: Fitted,
        way: Direction,
        pair: tuple[np.ndarray, np.ndarray | None],
        draws: int,
        baselines: _Baselines,
        call: Call,
    ):
        self.given, self.truth = pair
        self.scale, self.levels = baselines.scale, baselines.levels
        event = fitted.event
        dims = event.given[way.name].dims if way.name in event.given else event.dims
        condition = {**way.conditions, way.name: self.given if len(dims) == 3 else self.given[0]}
        height, width = (self.scale * side for side in self.given.shape[-2:])
        self.shape = (event.channels, height, width)
        self.images: dict[str, np.ndarray] = dict(baselines.of(self.given, self.shape))
        how: dict[str, Any] = {"given": condition, "seed": call.seed, "device": call.device}
        if "mean" in fitted.definition.options("sample").model_fields:
            self.images["mean"] = self._image(sample(fitted, **how, mean=True)["x"].values[0])
        self.draws = sample(fitted, draws, **how)["x"].values.reshape(draws, *self.shape)
        self.images["draw"] = self._image(self.draws[0])
        if draws > 1:
            self.images["mean_of_draws"] = self._image(self.draws.mean(0))

    def _image(self, x: np.ndarray) -> np.ndarray:
        return rounded(x.reshape(self.shape), self.levels)

    def y(self, approach: str) -> np.ndarray:
        """Luma, rounded: (1, height, width)."""
        image = self.images[approach]
        return _luma_of(image, image if self.truth is None else self.truth, self.levels)

    def _inner(self, y: np.ndarray) -> np.ndarray:
        border = self.scale if self.scale > 1 and min(y.shape[-2:]) > 2 * self.scale else 0
        return y[..., border : y.shape[-2] - border, border : y.shape[-1] - border]

    def _both(self, approach: str) -> tuple[np.ndarray, np.ndarray] | None:
        if self.truth is None:
            return None
        return self._inner(self.y(approach)), self._inner(_luma_of(self.truth, self.truth, self.levels))

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
        """Of all channels; None of grey images."""
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
        again = resized(self.images[approach], *self.given.shape[-2:])
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


Kind = tuple[list[_Made], list[np.ndarray]]  # what was made, and real images


def _told_apart(approach: str, kind: Kind, others: Kind | None, levels: int, seed: int) -> float | None:
    """How often patches are told right: by a classifier of other images; of the same by turns, where no others are known."""
    made, real = kind
    if others is not None:
        turns = [(others, kind)]
    elif min(len(made), len(real)) > 1:
        halves = (made[::2], real[::2]), (made[1::2], real[1::2])
        turns = [halves, halves[::-1]]
    else:
        return None
    right = []
    for learnt, asked in turns:
        first, second = (_patches(approach, some, levels, seed) for some in (learnt, asked))
        if first is None or second is None:
            return None
        judge = fit("attributes", first, seed=seed, steps=STEPS)
        right.append(attributes(judge, second[["x"]]).values[:, 0] == second["label"].values)
    return float(np.concatenate(right).mean())


def _patches(approach: str, kind: Kind, levels: int, seed: int) -> xr.Dataset | None:
    """Patches of real images (label 1) and of what was made (label 0), as many; None of images that are smaller than 8 x 8."""
    made, real = kind
    images = [[m.y(approach)[0] for m in made], [_luma_of(x, x, levels)[0] for x in real]]
    side = min(PATCH, *(min(x.shape) for some in images for x in some))
    if side < 8:
        return None
    cells = [np.concatenate([_cells(x, side) for x in some]) for some in images]
    rng = np.random.default_rng(key(seed, "patches", len(cells[0])))
    n = min(PATCHES, *(len(some) for some in cells))
    x = np.concatenate([some[rng.permutation(len(some))[:n]] for some in cells]).astype(np.float32)
    x = np.stack([x, FINE * (x - uniform_filter(x, (0, 3, 3)))], 1)  # grain is faint in an image
    return xr.Dataset(
        {
            "x": (("row", "channel", "height", "width"), x),
            "label": ("row", np.repeat([0, 1], n), {"levels": 2}),
        }
    )


def _class_kept(made: list[_Made], way: Direction, call: Call) -> dict[str, float]:
    """By a classifier of the rows of the fit that are of the kind that is made; nothing where they or pairs have no classes."""
    reference, rows = call.reference, way.rows
    if (
        not way.conditions
        or reference is None
        or "attribute" not in rows
        or any(m.truth is None for m in made)
    ):
        return {}
    levels = np.atleast_1d(rows["attribute"].attrs.get("levels", 0))
    if not (levels > 1).any() or "attribute" not in reference:
        return {}
    column = int((levels > 1).argmax())
    ((label, kind),) = way.conditions.items()
    of_kind = np.flatnonzero(reference[label].values == kind)
    learnt = xr.Dataset(
        {
            "x": reference["x"].isel(row=of_kind),
            "label": (
                "row",
                reference["attribute"].values[of_kind, column].astype(np.int64),
                {"levels": int(levels[column])},
            ),
        }
    )
    teller = fit("attributes", learnt, seed=call.seed)
    known = rows["attribute"].values[:, column]

    def right(images: list[np.ndarray]) -> float:
        x = np.stack(images).reshape(len(images), *learnt["x"].shape[1:])
        told = attributes(teller, xr.Dataset({"x": (learnt["x"].dims, x, learnt["x"].attrs)})).values[:, 0]
        return float((told == known).mean())

    drawn_, true = (
        right([m.images["draw"] for m in made]),
        right([m.truth for m in made if m.truth is not None]),
    )
    return {"class_draw": drawn_, "class_pair": true, "class_kept": drawn_ / max(true, 1e-12)}


def _readable(made: list[_Made], way: Direction) -> dict[str, float]:
    """R2 of each known number, on the second half of the rows by a regression on the first."""
    rows = way.rows
    if not way.conditions or "attribute" not in rows or any(m.truth is None for m in made) or len(made) < 40:
        return {}
    levels = np.atleast_1d(rows["attribute"].attrs.get("levels", 0))
    found = {}
    for column, name in enumerate(map(str, rows["factor"].values)):
        a = rows["attribute"].values[:, column].astype(np.float64)
        if levels[column] == 0 and np.isfinite(a).all() and a.std() > 0:
            found[f"readable_{name}"] = _r2([m.images["draw"] for m in made], a)
            found[f"readable_{name}_pair"] = _r2([m.truth for m in made if m.truth is not None], a)
    return found


def _r2(images: list[np.ndarray], a: np.ndarray) -> float:
    """Of pixels on a grid, means, deviations and differences of channels, each in its deviation."""
    x = np.stack(images).astype(np.float64)
    step = max(1, -(-x.shape[-1] // POINTS))
    grid = x[..., ::step, ::step]
    features = [
        grid.reshape(len(x), -1),
        (grid - grid[:, :1]).reshape(len(x), -1),
        x.mean((2, 3)),
        x.std((2, 3)),
    ]
    f = np.concatenate(features, 1)
    half = len(x) // 2
    f = (f - f[:half].mean(0)) / np.where(f[:half].std(0) > 1e-9, f[:half].std(0), np.inf)
    told = Ridge(RIDGE * f.shape[1] ** 0.5).fit(f[:half], a[:half]).predict(f[half:])
    return float(1 - np.square(told - a[half:]).sum() / np.square(a[half:] - a[half:].mean()).sum())


def _cells(x: np.ndarray, side: int) -> np.ndarray:
    height, width = (length // side for length in x.shape)
    return (
        x[: height * side, : width * side]
        .reshape(height, side, width, side)
        .swapaxes(1, 2)
        .reshape(-1, side, side)
    )


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
