"""Compare images with the model's images of the same condition image, by the protocol of super-resolution.

For a family that translates between two kinds of images (`label`, and a latent `source`) both directions are
measured. Variables of the second direction end in `_back`.

Approaches: for a smaller condition image, `bicubic`; for one of the same size, the baselines `copying` and
`colors_moved`; `mean`, if the family has one; `draw` (one sample); and `mean_of_draws`. Means and samples are
separate approaches, because the image of least squared error is not a sample.

The variables of the result:

- `psnr`, `ssim` (approach, row): luma in 8 bits (BT.601; gray images unchanged), without a border of `scale`
  pixels, if x or its pair is known.
- `psnr_colors`: PSNR of all channels, for color images. `l1`: the mean |error| as a share of the range of
  levels.
- `gradients`: energy of differences of neighboring pixels, divided by the energy for real images.
- `low_again` (approach, row): PSNR in dB of the condition image and the reduced result.
- `band_distance`, `band_highest`: for 63 bands of the cosine transform of 8 x 8 pixels, the mean |log2| of
  the energy ratio to real images, and the highest ratio.
- `told_apart`: accuracy of a small classifier of generated and real patches of 32 x 32 pixels; it is trained
  on other images. 1/2 is best.
- `class_kept`: accuracy of a classifier, trained on real images, on the samples, divided by its accuracy on
  their pairs.
- `readable`: R^2 of a known number of the condition image, predicted from samples by ridge regression; also
  from pairs.
- `spread`: mean standard deviation over several samples for one image, in levels.
- `coverage`: share of the values of x inside an interval of the samples; `coverage_nominal` is its value for
  samples of the true distribution.
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

# training images of the classifier: for images of several sizes, of one size
IMAGES, MANY = 40, 1000
JUDGED = ("mean", "draw")  # approaches that the classifier judges
TAIL = 0.05  # probability outside the interval on each side
SHOWN, SIDE = 5, 96  # rows of the figure, and pixels per side
NEEDED = 10  # samples for an interval
ENOUGH = 40  # rows for a regression
Pair = tuple[np.ndarray, np.ndarray | None]  # condition image, and x or None: (channel, height, width) each


def source_of(event: Event) -> str | None:
    """Return the name of the condition that is an image, or None."""
    return next((name for name, part in event.given.items() if part.is_image), None)


def image_latent(fitted: Fitted) -> str | None:
    """Return the name of the latent without a prior that is an image, or None."""
    latents = latents_of(fitted.module)
    return next((name for name in fitted.definition.needed if is_image(latents[name])), None)


def applies(fitted: Fitted) -> bool:
    """Return whether the model makes images in levels from an image, given as a condition or a latent."""
    event = fitted.event
    return event.is_image and event.discrete and (source_of(event) or image_latent(fitted)) is not None


@dataclass(frozen=True)
class Direction:
    """One direction of translation.

    Attributes:
        name: Name of the condition or latent that is the image.
        suffix: Suffix of the variables in the result.
        conditions: The other conditions, by name.
        pairs: The condition image and x (or None) of each row.
        real: Real images of the target kind.
        rows: The rows of the data.
    """

    name: str
    suffix: str
    conditions: dict[str, Any]
    pairs: list[Pair]
    real: list[np.ndarray]
    rows: xr.Dataset


def directions(fitted: Fitted, data: xr.Dataset, most: int | None) -> list[Direction]:
    """Return the directions of translation.

    A condition has one direction. A latent has one for each target condition, in order of first appearance.

    Args:
        fitted: The fitted model.
        data: Rows.
        most: Greatest number of rows per direction; None for all.

    Returns:
        Directions for which there are real images.
    """
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
    """Measure translations of images; the docstring of the module lists the variables.

    `shown` (column, row, ...) contains the middle of a few rows.

    Args:
        fitted: The fitted model.
        data: Rows.
        options: Options of the translation.
        call: The call of the analysis.

    Returns:
        The measures, and each one as figures.

    Raises:
        NotOffered: When there are no real images to compare samples with.
    """
    ways = directions(fitted, data, options.rows)
    if not ways:
        raise NotOffered(
            "translate: there are no images to translate, or no real images of the target kind. Use data that have both."
        )
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


MEASURES = ("psnr", "ssim", "psnr_colors", "l1", "low_again")  # by approach and row


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
    """Return energies of neighbor differences and of bands, relative to real images."""
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
    """Return `images` and `images_back`: the middle of the condition image, the generated images and x."""
    event, out = Event.of(found), {}
    for suffix in ("", "_back"):
        if f"shown{suffix}" in found:
            x = found[f"shown{suffix}"].values
            shown = replace(event, shape=(*event.shape[:-2], *x.shape[-2:]))
            names = [str(column).replace("_", " ") for column in found[f"column{suffix}"].values]
            out[f"images{suffix}"] = drawn.columns(
                list(x), names, shown, drawn.of_results(found, "Images made from the given ones")
            )
    return out


def _whole(x: np.ndarray) -> np.ndarray:
    """Return images with a channel dimension: (row, channel, height, width)."""
    return x if x.ndim == 4 else x[:, None]


def _luma(x: np.ndarray, truth: np.ndarray, levels: int) -> np.ndarray:
    """Return rounded luma in the levels of x: (channel, height, width) -> (height, width).

    `truth` is the image that the luma is compared with.
    """
    if len(x) != 3:
        return rounded(luma(x, truth), levels)
    unit = 255 / (levels - 1)  # BT.601 is defined for 0 .. 255
    return rounded(luma(x * unit, truth) / unit, levels)


def _gradients(y: np.ndarray) -> float:
    """Return the mean square of differences between neighboring pixels."""
    y = y.astype(np.float64)
    return float(np.square(np.diff(y, axis=-1)).mean() + np.square(np.diff(y, axis=-2)).mean())


def _images(rows: xr.Dataset, event: Event, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the condition image and x of each row, without padding: (channel, height, width) each."""
    for row, (height, width) in enumerate(sizes_of(rows)):
        part = event.given[name]
        scale = part.scale or rows["x"].shape[-1] // rows[name].shape[-1] or 1
        given = rows[name][row, ..., : height // scale, : width // scale].values
        x = rows["x"][row, ..., :height, :width].values
        yield given.reshape(-1, *given.shape[-2:]), x.reshape(-1, *x.shape[-2:])


class _Plain:
    """The baselines that need no model, in levels of x."""

    def __init__(self, event: Event, way: Direction, learned: Direction | None):
        self.levels = event.levels or 2
        part = event.given.get(way.name, event)
        self.factor = (self.levels - 1) / (
            (part.levels or 2) - 1
        )  # from levels of the condition image to levels of x
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
        """Return the baseline images by name: (channel, height, width) each."""
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
    """The generated images for one condition image: (channel, height, width) by approach, in levels.

    Each image has its own random stream.
    """

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
        """Return rounded luma: (height, width)."""
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
        """Return PSNR in dB; the peak is the range of levels."""
        both = self._both(approach)
        return None if both is None else float(psnr(*both, self.levels - 1)[0])

    def ssim(self, approach: str) -> float | None:
        """Return SSIM, or None for an image smaller than the window."""
        both = self._both(approach)
        return (
            None
            if both is None or min(both[0].shape[-2:]) < WINDOW
            else float(ssim(*both, self.levels - 1)[0])
        )

    def psnr_colors(self, approach: str) -> float | None:
        """Return PSNR of all channels, or None for a gray image."""
        if self.truth is None or len(self.truth) == 1:
            return None
        return float(
            psnr(rounded(self.images[approach], self.levels)[None], self.truth[None], self.levels - 1)[0]
        )

    def l1(self, approach: str) -> float | None:
        """Return the mean |error| as a share of the range of levels."""
        if self.truth is None:
            return None
        return float(np.abs(self.images[approach] - self.truth.astype(np.float64)).mean() / (self.levels - 1))

    def low_again(self, approach: str) -> float | None:
        """Return PSNR in dB of all channels of the reduced image; None if the image is not enlarged."""
        if self.scale == 1 or len(self.given) != self.shape[0]:
            return None
        again = resized(self.images[approach], self.given.shape[-2], self.given.shape[-1])
        return float(psnr(again[None], self.given[None], self.levels - 1)[0])

    @property
    def spread(self) -> float:
        """The mean standard deviation over samples; 0 for a deterministic model."""
        return float(self.draws.std(0, ddof=1).mean()) if len(self.draws) > 1 else 0.0

    def inside(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return the share of x inside the interval of the samples, and its nominal value.

        Where samples equal x, the rank of x among them is random.
        """
        assert self.truth is not None
        n = len(self.draws)
        cut = max(1, round(TAIL * (n + 1)))
        rank = (self.draws < self.truth).sum(0) + rng.integers((self.draws == self.truth).sum(0) + 1)
        return float(((rank >= cut) & (rank <= n - cut)).mean()), (n + 1 - 2 * cut) / (n + 1)


def _class_kept(made: list[_Made], way: Direction, call: Call) -> dict[str, float]:
    """Return accuracies on samples and pairs of a classifier trained on rows of the fit of the target kind.

    The result is empty if rows or pairs have no classes.
    """
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
    """Return R^2 of each known number of the condition image, predicted from samples and from pairs."""
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
    """Return the middle of a few rows: the condition image at the size of x, the generated images, and x if known."""
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
