"""Images beside what a model makes of the image that they are conditioned on, by the protocol of super-resolution.

Approaches: of a smaller image `bicubic`; of one of the same size `copying` and `colors_moved`, which no translation should lose to; the
`mean` where the family has one, a `draw`, and the `mean_of_draws`. Means and draws are never in one column: what is nearest in squares is no draw.

psnr, ssim     luma, 8 bits, a border of `scale` pixels left off (BT.601; grey images as they are): (approach, row)
low_again      dB of the image that is given, from what was made of it brought down again: (approach, row)
band_distance, band_highest   of 63 bands of the cosine transform of 8 x 8 pixels: the mean |log2| of energies over the real ones, and the highest ratio
told_apart     share of patches of 32 x 32 that a small classifier, trained on others, tells from real ones: 1/2 is best
spread         mean deviation of several draws of one image, in levels
coverage       share of numbers of x that lie within an interval of the draws, and `coverage_nominal`, what is right of draws of the true law
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probgen import figures as drawn
from probgen.api.attributing import attributes
from probgen.api.fitting import fit
from probgen.api.sampling import sample
from probgen.codecs.images import is_gray, luma, resized, rounded
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.contract.sizes import sizes_of
from probgen.evaluation.colors import Colours, moved
from probgen.evaluation.pictures import WINDOW, band_ratios, bands, psnr, ssim

PATCH, PATCHES, IMAGES = (
    32,
    2000,
    40,
)  # of the classifier: side, most patches of a kind, images that it is trained on
JUDGED = ("mean", "draw")  # what it is asked of
TAIL = 0.05  # on each side of the interval
SHOWN, SIDE = 5, 96  # rows of the figure, and pixels of them a side
NEEDED = 10  # draws, for an interval
EPOCHS = 12  # of the classifier


def source_of(event: Event) -> str | None:
    """The condition that is an image."""
    return next((name for name, part in event.given.items() if part.is_image), None)


def run(fitted: Fitted, data: xr.Dataset, options: Any, call: Call) -> xr.Dataset:
    """See above; `shown` are the middles of a few rows: (column, row, ...)."""
    name = source_of(fitted.event)
    assert name is not None
    rows = evenly(data, options.rows)
    reference = evenly(call.reference, IMAGES) if call.reference is not None else None
    baselines = _Baselines(fitted, name, rows if reference is None else reference)
    made = [
        _Made(fitted, name, row, options.draws, baselines, call) for row in _images(rows, fitted.event, name)
    ]
    approaches = list(made[0].images)
    per_row: dict[str, Any] = {}
    for measure in ("psnr", "ssim", "low_again"):
        found = [[getattr(m, measure)(a) for m in made] for a in approaches]
        if all(value is not None for line in found for value in line):
            per_row[measure] = (("approach", "row"), np.array(found, dtype=np.float64))
    out = xr.Dataset(per_row, {"approach": approaches})
    truth = (
        np.mean([bands(m.truth_y) for m in made], 0)
        if min(min(m.truth_y.shape[-2:]) for m in made) >= 8
        else None
    )
    if truth is not None:
        ratios = np.stack([band_ratios(np.mean([bands(m.y(a)) for m in made], 0), truth) for a in approaches])
        out["band_distance"] = ("approach", np.abs(ratios).mean(1))
        out["band_highest"] = ("approach", np.exp2(ratios.max(1)))
    out["spread"] = ("row", [m.spread for m in made])
    if options.draws >= NEEDED:
        inside = [m.inside(np.random.default_rng(key(call.seed, "ties", i))) for i, m in enumerate(made)]
        out["coverage"] = ("row", [share for share, _ in inside])
        out = out.assign(coverage_nominal=inside[0][1])
    if options.judge:
        judged = [a for a in approaches if a in JUDGED]
        others = None
        if reference is not None:
            others = [
                _Made(fitted, name, row, 1, baselines, call) for row in _images(reference, fitted.event, name)
            ]
        told = [_told_apart(a, made, others, call.seed) for a in judged]
        out = out.assign({f"told_apart_{a}": t for a, t in zip(judged, told, strict=True) if t is not None})
    for variable in ("psnr", "ssim", "low_again"):
        if variable in out:
            out = out.assign(
                {f"{variable}_{a}": float(out[variable].sel(approach=a).mean()) for a in approaches}
            )
    for variable in ("band_distance", "band_highest"):
        if variable in out:
            out = out.assign({f"{variable}_{a}": float(out[variable].sel(approach=a)) for a in approaches})
    for variable in ("spread", "coverage"):
        if variable in out:
            out = out.assign({f"{variable}_mean": float(out[variable].mean())})
    return out.assign(_shown(made[:: -(-len(made) // SHOWN)], approaches))


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`images`: what is given, what was made of it, x; the middle of each."""
    event = Event.of(found)
    x = found["shown"].values
    shown = replace(event, shape=(*event.shape[:-2], *x.shape[-2:]))
    names = [str(column).replace("_", " ") for column in found["column"].values]
    return {"images": drawn.columns(list(x), names, shown)}


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

    def __init__(self, fitted: Fitted, name: str, rows: xr.Dataset):
        self.levels = fitted.event.levels or 256
        pairs = list(_images(rows, fitted.event, name))
        given, x = pairs[0]
        self.scale = x.shape[-1] // given.shape[-1]
        self.alike = len(given) == len(x)
        if self.scale == 1 and self.alike:
            sources, targets = ([pair[i].reshape(len(pair[i]), -1) for pair in pairs] for i in (0, 1))
            self.source, self.target = (
                Colours.of(np.concatenate(s, 1)[None, :, None]) for s in (sources, targets)
            )

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
        name: str,
        pair: tuple[np.ndarray, np.ndarray],
        draws: int,
        baselines: _Baselines,
        call: Call,
    ):
        given, self.truth = pair
        self.given, self.scale, self.levels = given, baselines.scale, baselines.levels
        condition = given if len(fitted.event.given[name].dims) == 3 else given[0]
        self.images: dict[str, np.ndarray] = dict(baselines.of(given, self.truth.shape))
        how: dict[str, Any] = {"given": {name: condition}, "seed": call.seed, "device": call.device}
        if "mean" in fitted.definition.options("sample").model_fields:
            self.images["mean"] = self._image(sample(fitted, **how, mean=True)["x"].values[0])
        x = sample(fitted, draws, **how)["x"].values
        self.draws = x.reshape(draws, *self.truth.shape)
        self.images["draw"] = self._image(self.draws[0])
        if draws > 1:
            self.images["mean_of_draws"] = self._image(self.draws.mean(0))

    def _image(self, x: np.ndarray) -> np.ndarray:
        return rounded(x.reshape(self.truth.shape), self.levels)

    def y(self, approach: str) -> np.ndarray:
        """Luma, rounded: (1, height, width)."""
        image = self.images[approach]
        if len(image) == 3 and is_gray(self.truth):
            return rounded(image.mean(0, keepdims=True), self.levels)
        return rounded(luma(image)[None] if len(image) == 3 else image.astype(np.float64), self.levels)

    @property
    def truth_y(self) -> np.ndarray:
        """The same of x."""
        y = luma(self.truth)[None] if len(self.truth) == 3 else self.truth.astype(np.float64)
        return rounded(y, self.levels)

    def _inner(self, y: np.ndarray) -> np.ndarray:
        border = self.scale if self.scale > 1 and min(y.shape[-2:]) > 2 * self.scale else 0
        return y[..., border : y.shape[-2] - border, border : y.shape[-1] - border]

    def psnr(self, approach: str) -> float:
        """In dB, of the range of levels."""
        return float(psnr(self._inner(self.y(approach)), self._inner(self.truth_y), self.levels - 1)[0])

    def ssim(self, approach: str) -> float | None:
        """None of what is smaller than its window."""
        x, truth = self._inner(self.y(approach)), self._inner(self.truth_y)
        return float(ssim(x, truth, self.levels - 1)[0]) if min(x.shape[-2:]) >= WINDOW else None

    def low_again(self, approach: str) -> float | None:
        """In dB, of all channels; None of an image that is not made larger."""
        if self.scale == 1 or len(self.given) != len(self.truth):
            return None
        again = resized(self.images[approach], *self.given.shape[-2:])
        return float(psnr(again[None], self.given[None], self.levels - 1)[0])

    @property
    def spread(self) -> float:
        """0 of a function, whose draws are all equal."""
        return float(self.draws.std(0, ddof=1).mean()) if len(self.draws) > 1 else 0.0

    def inside(self, rng: np.random.Generator) -> tuple[float, float]:
        """Which share of x lies within the interval of the draws, and which should; x among equal draws has any place."""
        n = len(self.draws)
        cut = max(1, round(TAIL * (n + 1)))
        rank = (self.draws < self.truth).sum(0) + rng.integers((self.draws == self.truth).sum(0) + 1)
        return float(((rank >= cut) & (rank <= n - cut)).mean()), (n + 1 - 2 * cut) / (n + 1)


def _told_apart(approach: str, made: list[_Made], others: list[_Made] | None, seed: int) -> float | None:
    """How often patches are told right: by a classifier of other images; of the same by turns, where no others are known."""
    if others is not None:
        return _judge([(approach, others, made)], seed)
    if len(made) < 2:
        return None
    halves = made[::2], made[1::2]
    return _judge([(approach, *halves), (approach, *halves[::-1])], seed)


def _judge(turns: list[tuple[str, list[_Made], list[_Made]]], seed: int) -> float | None:
    right: list[NDArray[np.bool_]] = []
    for approach, learnt, asked in turns:
        first, second = (_patches(approach, some, seed) for some in (learnt, asked))
        if first is None or second is None:
            return None
        judge = fit("attributes", first, seed=seed, epochs=EPOCHS)
        told = attributes(judge, second["x"].to_dataset()).values[:, 0]
        right.append(told == second["label"].values)
    return float(np.concatenate(right).mean())


def _patches(approach: str, made: list[_Made], seed: int) -> xr.Dataset | None:
    """Patches of x (label 1) and, of the same places, of what was made (label 0); None of images that are smaller."""
    pairs = [(m.y(approach)[0], m.truth_y[0]) for m in made]
    side = min(PATCH, *(min(x.shape) for pair in pairs for x in pair))
    if side < 8:
        return None
    kinds = [np.concatenate([_cells(pair[i], side) for pair in pairs]) for i in (0, 1)]
    chosen = np.random.default_rng(key(seed, "patches", len(kinds[0]))).permutation(len(kinds[0]))[:PATCHES]
    x = np.concatenate([kind[chosen] for kind in kinds])
    label = np.repeat([0, 1], len(chosen))
    levels = {"support": "integer", "levels": 256 if x.dtype == np.uint8 else int(x.max()) + 1}
    return xr.Dataset({"x": (("row", "height", "width"), x, levels), "label": ("row", label, {"levels": 2})})


def _cells(x: np.ndarray, side: int) -> np.ndarray:
    height, width = (length // side for length in x.shape)
    return (
        x[: height * side, : width * side]
        .reshape(height, side, width, side)
        .swapaxes(1, 2)
        .reshape(-1, side, side)
    )


def _shown(made: list[_Made], approaches: list[str]) -> dict[str, Any]:
    """The middle of a few rows: what is given, in the size of x, what was made, and x."""
    side = min(SIDE, *(min(m.truth.shape[-2:]) for m in made))
    columns = ["given", *(a for a in approaches if a != "copying"), "x"]
    lines = []
    for m in made:
        images = {**m.images, "x": m.truth}
        given = m.given.repeat(m.scale, -1).repeat(m.scale, -2)
        images["given"] = np.broadcast_to(
            given if len(given) == len(m.truth) else given.mean(0, keepdims=True), m.truth.shape
        )
        lines.append([_middle(rounded(images[c], m.levels), side) for c in columns])
    x = np.stack([np.stack(line) for line in zip(*lines, strict=True)])
    x = x if x.shape[2] > 1 else x[:, :, 0]
    dims = ("channel", "height", "width")[-(x.ndim - 2) :]
    return {"shown": (("column", "shown_row", *dims), x), "column": columns}


def _middle(x: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    return x[..., top : top + side, left : left + side]
