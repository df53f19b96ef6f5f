"""Every picture can be read: it has a title, its axes say what they show, its marks differ by more than color, no text is small."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import probgen
from probgen import figures
from probgen.contract.columns import Column
from probgen.contract.definition import Illustrating
from probgen.contract.event import Event
from probgen.figures import style
from probgen.figures.attributes import told_against_known
from probgen.figures.side_by_side import border
from probgen.figures.tables import bars, cells, marginals
from probgen.figures.titles import heading
from probgen.plugins.family import family
from probgen.plugins.registry import registered
from probgen.recipes.draws import history, picture_of, real_rows
from probgen.testing import spaces
from tests.planted import factors, planted
from tests.test_attributes import bars as attributed

NUMBER = re.compile(r"[-−+]?[\d.,]+(e[-−+]?\d+)?(\$.*\$)?")
MAPS = {style.SEQUENTIAL, style.DIVERGING, "gray", "gray_r", style.BEHIND_TEXT.name, "codes"}
TITLE = heading("What it shows", "model", "10 rows", "seed 0")


def faults(figure: Figure) -> list[str]:
    """What keeps a reader from reading the figure."""
    FigureCanvasAgg(figure).draw()
    found = []
    told = figure._suptitle.get_text() if figure._suptitle is not None else ""
    if not told.strip():
        found.append("there is no title")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text.get_fontsize() < style.LEAST:
            found.append(f"{text.get_text()!r} has {text.get_fontsize()} pt")
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            if not (axes.get_xlabel() or axes.get_ylabel()):
                found.append("a color bar has no label")
            continue
        if axes.get_visible() and axes.axison:
            found += [*unlabeled(figure, axes), *unseen(axes)]
        for spine in ("top", "right") if axes.images or axes.lines else ():
            if axes.spines[spine].get_visible():
                found.append(f"there is a spine {spine}")
        found += [f"{color} is not of the palette" for color in colors_of(axes) if not allowed(color)]
        found += [
            f"color map {name}"
            for name in {i.get_cmap().name for i in axes.images if i.get_array().ndim == 2} - MAPS
        ]
    return found


def unlabeled(figure: Figure, axes: Any) -> list[str]:
    """Axes with numbers that nothing explains: no label of them or of the outer panels, and none of the whole figure."""
    if axes.images and not axes.spines["left"].get_visible():
        return []  # a grid of images, whose title explains the names of lines and columns
    found = []
    for side, whole, span in (("x", figure._supxlabel, "colspan"), ("y", figure._supylabel, "rowspan")):
        axis = getattr(axes, f"{side}axis")
        shown = [t.get_text() for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
        place = axes.get_subplotspec()
        along = [
            each
            for each in figure.axes
            if place is not None
            and each.get_subplotspec() is not None
            and getattr(each.get_subplotspec(), span) == getattr(place, span)
        ]
        labels = [getattr(each, f"{side}axis").label.get_text() for each in (axes, *along)]
        labels.append(whole.get_text() if whole is not None else "")
        if any(NUMBER.fullmatch(text) for text in shown) and not any(labels):
            found.append(f"the {side} axis has numbers {shown[:3]} without a label")
    return found


def unseen(axes: Any) -> list[str]:
    """Entries of a legend without a mark within the axes, and legends of one entry."""
    legend = axes.get_legend()
    if legend is None:
        return []
    found = [] if len(legend.get_texts()) > 1 else ["the legend has one entry"]
    handles, labels = axes.get_legend_handles_labels()
    for handle, label in zip(handles, labels, strict=True):
        if isinstance(handle, PathCollection):
            points = np.asarray(handle.get_offsets())
            drawn = len(points) > 0
        elif hasattr(handle, "get_xdata"):
            drawn = np.isfinite(np.asarray(handle.get_ydata(), dtype=float)).sum() > (
                handle.get_marker() in ("None", None, "")
            )
        else:
            drawn = True
        if not drawn:
            found.append(f"{label!r} in the legend is not visible")
    return found


def colors_of(axes: Any) -> Iterator[str]:
    """Colors of lines, marks, bars and areas."""
    for line in axes.lines:
        yield to_hex(line.get_color())
    for patch in axes.patches:
        yield to_hex(patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor())
    for marks in axes.collections:
        for color in [*marks.get_facecolor(), *marks.get_edgecolor()]:
            yield to_hex(color)


def allowed(color: str) -> bool:
    red, green, blue = to_rgb(color)
    return color.upper() in style.PALETTE or color == style.UNKNOWN or (red == green == blue)


# pictures of arrays

RNG = np.random.default_rng(0)
GRAY_IMAGES, COLORS = (
    Event(("height", "width"), (8, 8), "integer", 17),
    Event(("channel", "height", "width"), (3, 8, 8), "integer", 256),
)
BITS = Event(("feature",), (30,), "binary", 2)


def steps(n: int) -> dict[str, np.ndarray]:
    loss = 3 + 10 / (1 + np.arange(n)) + 0.1 * np.sin(np.arange(n))
    valid = np.where(np.arange(n) == n // 2, 3.2, np.nan)
    return {
        "loss": loss,
        "valid_loss": valid,
        "reconstruction": -loss + 1,
        "kl": 1 - np.exp(-np.arange(n) / 9),
    }


def clouds(n: int, features: int) -> np.ndarray:
    return RNG.normal(size=(n, features))


GAUSSIANS = np.array([0.4, 0.6]), np.array([[0.0, 1.0], [1.0, -1.0]]), np.stack([np.eye(2), 2 * np.eye(2)])
COLUMNS = [
    Column("income $", "real", unit="EUR"),
    Column("visits", "count"),
    Column("grade", "token", 3, classes=("low", "mid", "high")),
]


def table(n: int) -> np.ndarray:
    return np.stack([RNG.normal(size=n), RNG.poisson(3, n), RNG.integers(0, 3, n)], 1)


def levels(n: int, *shape: int, top: int = 17) -> np.ndarray:
    return RNG.integers(0, top, (n, *shape))


ARRAYS: dict[str, Callable[[], Figure]] = {
    "curves": lambda: figures.curves(steps(900), np.arange(900), "step", TITLE),
    "curves of few steps": lambda: figures.curves(steps(12), np.arange(12), "epoch", TITLE),
    "images": lambda: figures.images(levels(64, 8, 8), GRAY_IMAGES, title=TITLE),
    "images and data": lambda: figures.images(levels(10, 8, 8), GRAY_IMAGES, real=levels(30, 8, 8), title=TITLE),
    "images in color": lambda: figures.images(levels(7, 3, 8, 8, top=256), COLORS, title=TITLE),
    "images by condition": lambda: figures.draw(
        levels(30, 8, 8), GRAY_IMAGES, names=[f"label {i}" for i in range(10)], real=levels(40, 8, 8), title=TITLE
    ),
    "strips": lambda: figures.strips(levels(12, 8, 8).reshape(3, 4, 8, 8), GRAY_IMAGES, TITLE, above=list("abcd"), framed=(0, 3)),
    "columns": lambda: figures.columns(
        [levels(3, 8, 8), np.where(np.arange(8) < 4, levels(3, 8, 8), np.nan), figures.Numbers(RNG.random((3, 8, 8)), "nats"), figures.Codes(levels(3, 4, 4), 17)],
        ["x", "known", "surprise", "codes"], GRAY_IMAGES, TITLE, known=np.broadcast_to(np.arange(8) < 4, (3, 8, 8)),
    ),
    "columns in color": lambda: figures.columns([levels(3, 3, 8, 8, top=256)] * 2, ["x", "draw 1"], COLORS, TITLE),
    "sounds": lambda: figures.sounds(levels(5, 400, top=256), 8000, [f"digit {i}" for i in range(5)], TITLE),
    "a short sound": lambda: figures.sounds(levels(1, 20, top=256), 8000, title=TITLE),
    "one feature": lambda: figures.scatter(clouds(50, 1), ["a"], real=clouds(50, 1), title=TITLE),
    "two features": lambda: figures.scatter(clouds(50, 2), ["a", "b"], GAUSSIANS, real=clouds(50, 2), title=TITLE),
    "four features": lambda: figures.scatter(clouds(50, 4), list("abcd"), real=clouds(50, 4), title=TITLE),
    "four features alone": lambda: figures.scatter(clouds(50, 4), list("abcd"), title=TITLE),
    "raster": lambda: figures.raster(levels(20, 30, top=2), BITS, real=levels(20, 30, top=2), title=TITLE),
    "lines": lambda: figures.lines(clouds(20, 30), real=clouds(20, 30), title=TITLE),
    "codes of 3 classes": lambda: figures.codes(clouds(50, 2), np.arange(50) % 3, ["a", "b", "c"], TITLE),
    "codes of 10 classes": lambda: figures.codes(clouds(50, 2), np.arange(50) % 10, title=TITLE),
    "codes of 30 names": lambda: figures.codes(clouds(60, 2), np.arange(60) % 30, [f"class {i}" for i in range(30)], TITLE),
    "codes": lambda: figures.codes(clouds(50, 2), title=TITLE),
    "marginals": lambda: marginals(table(50), table(50), COLUMNS, TITLE),
    "marginals alone": lambda: marginals(table(50), None, COLUMNS, TITLE),
    "bars": lambda: bars(list("abc"), {"samples": np.arange(3), "rows": np.ones(3)}, "distance", TITLE, line=0.5),
    "bars of nothing": lambda: bars(list("abc"), {"missing": np.zeros(3)}, "share of rows", TITLE),
    "cells": lambda: cells(clouds(3, 4), list("abc"), list("wxyz"), "nats", TITLE),
    "table": lambda: figures.table(clouds(3, 4), list("abc"), list("wxyz"), TITLE),
    "by layer": lambda: figures.by_layer(clouds(5, 4), np.full((5, 4), 0.2), clouds(5, 4) > 0, np.ones(5), list("abcde"), list("0123"), TITLE),
    "roc curves": lambda: figures.roc_curves(RNG.random(50), {"vae": RNG.random(40) + 0.5, "swaps": RNG.random(40)}, TITLE),
    "surprise": lambda: figures.surprise(list("To be, or not\nto be: $ 5\n" * 9), RNG.random(25 * 9), TITLE, top=3.0),
    "attention": lambda: figures.attention([(RNG.random((3, 4)), list("abc"), ["$", "x", "y", "z"])], TITLE),
    "told": lambda: told_against_known(np.stack([RNG.random(20), np.arange(20) % 2], 1), np.stack([RNG.random(20), np.arange(20) % 2], 1), {"a": 0, "b": 2}, TITLE),
    "search": lambda: figures.search_history(np.arange(9), np.array([1, 2, np.nan, 3, 2, 1, 4, 3, 2.0]), TITLE),
    "importance": lambda: figures.importance(
        {"rate": 0.7, "net": 0.3}, {"rate": np.geomspace(1e-3, 1, 9), "net": np.array(list("abababaab"))}, RNG.random(9),
        ["rate"], {"net": ["a", "b"]}, TITLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_a_picture_of_arrays_can_be_read(name: str) -> None:
    assert faults(ARRAYS[name]()) == []


def test_every_function_that_draws_is_among_them() -> None:
    drawing = {"curves", "images", "strips", "columns", "sounds", "scatter", "raster", "lines", "codes", "table", "by_layer", "roc_curves", "surprise", "attention", "search_history", "importance", "diagnosis", "draw", "animation"}  # fmt: skip
    helping = set(figures.__all__) - drawing
    for name in helping:
        made = getattr(figures, name)
        assert "Return a figure of" not in (made.__doc__ or ""), f"{name} draws, but no test looks at what"


# pictures of families and analyses


def pictured(family_name: str) -> bool:
    return isinstance(family(family_name).source, Illustrating)


def stripes(n: int = 40, side: int = 8) -> xr.Dataset:
    label = np.arange(n) % 3
    wave = np.sin(np.arange(side) * (1 + label[:, None]) + np.random.default_rng(1).random((n, 1)) * 6)
    x = np.clip(8 + 7 * wave[:, None, :] + np.zeros((n, side, 1)), 0, 16).astype(np.uint8)
    return xr.Dataset(
        {
            "x": (("row", "height", "width"), x, {"support": "integer", "levels": 17}),
            "label": ("row", label, {"levels": 3}),
        }
    )


def kinds() -> xr.Dataset:
    data = stripes()
    return data.assign(label=("row", np.arange(40) % 2, {"levels": 2}))


def enlarged() -> xr.Dataset:
    data = stripes(20)[["x"]]
    low = data.x.values.reshape(20, 4, 2, 4, 2).mean((2, 4)).astype(np.uint8)
    return data.assign(low=(("row", "low_height", "low_width"), low, {"support": "integer", "levels": 17}))


def sentences() -> xr.Dataset:
    return probgen.datasets.pairs(["eins zwei", "zwei eins"] * 20, ["one two", "two one"] * 20)


def plane() -> xr.Dataset:
    return xr.Dataset({"x": (("row", "feature"), np.random.default_rng(2).normal(size=(120, 2)))})


LAYERED = {"channels": (4, 4), "latent": 4, "steps": 4, "batch_size": 8}
FAMILIES: dict[str, tuple[Callable[[], xr.Dataset], dict[str, Any]]] = {
    "attributes": (lambda: attributed(30), {"channels": (4, 4), "hidden": 8, "epochs": 1}),
    "seq2seq": (sentences, {"width": 8, "layers": 1, "encoder_layers": 1, "heads": 2, "window": 12, "epochs": 1}),
    "srresnet": (enlarged, {"patch": 4, "width": 4, "blocks": 1, "steps": 2, "batch_size": 4}),
    "gan": (plane, {"hidden": (8,), "steps": 4, "batch_size": 16, "members": 2}),
    "dcgan": (stripes, {"channels": (4, 8), "latent": 4, "steps": 4, "batch_size": 8}),
    "stylegan": (stripes, {**LAYERED, "style": 4, "d_channels": (4,), "given": ("label",)}),
    "progan": (stripes, LAYERED),
    "biggan": (stripes, {**LAYERED, "d_channels": (4,), "given": ("label",)}),
    "cyclegan": (kinds, {"steps": 2, "batch_size": 4, "width": 4, "d_channels": (4,)}),
    "diffusion": (stripes, {"hidden": (4,), "blocks": 1, "steps": 2, "batch_size": 8}),
    "flow": (plane, {"depth": 1, "hidden": 4, "epochs": 1}),
    "glow": (stripes, {"dequantization": "uniform", "levels": 1, "steps_per_level": 1, "hidden": 4, "epochs": 1}),
    "vqvae": (stripes, {"codes": 5, "latent": 4, "hidden": 4, "blocks": 1, "halvings": 1, "epochs": 2, "prior": None}),
    "vqvae2": (stripes, {"codes": 5, "latent": 4, "hidden": 4, "blocks": 1, "halvings": 1, "epochs": 2, "prior": {"epochs": 1, "channels": 4, "layers": 1, "head": 4}}),
}  # fmt: skip


@cache
def fitted(name: str) -> tuple[probgen.Fitted, xr.Dataset]:
    data, options = FAMILIES[name][0](), FAMILIES[name][1]
    return probgen.fit(name, data, valid=data if name == "vqvae" else None, **options), data


def test_all_families_with_pictures_are_among_them() -> None:
    own = {
        name
        for name, plugins in registered("families").items()
        if plugins[0].distribution.startswith("probgen")
    }
    assert {name for name in own if pictured(name)} <= FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_pictures_of_a_family_can_be_read(name: str) -> None:
    model, data = fitted(name)
    drawn = {
        **model.definition.pictures(model, data, seed=0, device=None),
        **history(model, f"Recipe: {name}"),
    }
    assert drawn
    assert {key: wrong for key, figure in drawn.items() if (wrong := faults(figure))} == {}


Case = tuple[str | type, Callable[[], xr.Dataset], dict[str, Any], dict[str, Any]]
VAE = {"latent": 3, "hidden": (8,), "epochs": 1, "likelihood": "categorical"}
SWAP = {"latent": 2, "hidden": (8,), "epochs": 1, "given": ("label",), "conditioning": "decoders"}
MOVED = {"n": 200, "measured": 20, "pictured": 2, "steps": 3, "scorer": factors}
SEARCHED = {"rows": 3, "n": 50, "search_steps": 2, "pictured": 2}


def made() -> xr.Dataset:
    """Images for the planted generator."""
    return xr.Dataset({"x": (("row", "height", "width"), np.random.default_rng(0).random((20, 10, 10)))})


def mixed() -> xr.Dataset:
    data = spaces.example("mixed", rows=120)
    data["x"][::7, 0] = np.nan
    return data


def text() -> xr.Dataset:
    symbols = list("$\n ab")
    x = np.random.default_rng(3).integers(0, len(symbols), (1, 400))
    return xr.Dataset(
        {"x": (("row", "time"), x, {"support": "token", "levels": len(symbols), "symbols": symbols})}
    )


# the model and its rows, the options of its fit and of the analysis; an analysis may have several cases
ANALYSES: dict[str, list[Case]] = {
    "complete": [("independent", stripes, {}, {"rows": 3, "n": 2})],
    "conditionals": [
        ("pixelcnn", lambda: stripes()[["x"]], {"channels": 4, "layers": 1, "epochs": 1}, {"rows": 3}),
        ("ngram", text, {"order": 1}, {}),
    ],
    "latent": [
        ("vae", stripes, VAE, {"codes": 30, "rows": 3, "steps": 3}),
        ("vae", lambda: stripes()[["x"]], {**VAE, "latent": 2}, {"codes": 20, "rows": 3, "steps": 3, "side": 3}),
    ],
    "diagnose": [("independent", plane, {}, {"n": 60})],
    "boundaries": [(planted, made, {}, {"n": 200, "scorer": factors})],
    "edits": [(planted, made, {}, {**MOVED, "force": True, "hold": []})],
    "directions": [(planted, made, {}, {**MOVED, "k": 2})],
    "rescoring": [(planted, made, {}, {"n": 200, "measured": 20, "random": 3, "scorer": factors})],
    "disentanglement": [("vae", stripes, VAE, {"n": 200, "scorer": "morphology"})],
    "mistakes": [("vae", stripes, VAE, {"n": 200, "random": 2, "hold": ["slant", "area"]})],
    "inversion": [(planted, made, {}, SEARCHED)],
    "restoration": [(planted, made, {}, {**SEARCHED, "tasks": ("denoising", "inpainting"), "hole": 0.5})],
    "translate": [("srresnet", enlarged, FAMILIES["srresnet"][1], {"rows": 3})],
    "fakes": [("autoencoder", stripes, SWAP, {"n": 40, "rows": 40, "scorer": "morphology"})],
    "fidelity": [("mixture", mixed, {"steps": 5}, {"rows": 60})],
    "impute": [("mixture", mixed, {"steps": 5}, {"draws": 4, "hide": 0.2})],
    "outliers": [("mixture", mixed, {"steps": 5}, {"rows": 5})],
    "synthesize": [("mixture", mixed, {"steps": 5}, {"n": 40})],
}  # fmt: skip


def test_all_analyses_are_among_them() -> None:
    own = registered("analyses")
    assert {name for name in own if own[name][0].distribution == "probgen"} == ANALYSES.keys()


@cache
def analyzed(name: str) -> dict[str, Figure]:
    drawn = {}
    for i, (model, rows, options, asked) in enumerate(ANALYSES[name]):
        data = rows()
        own = dict(asked)
        if name == "mistakes":  # its scorer is a network
            known = data.assign(attribute=probgen.attributes("morphology", data))
            own["scorer"] = probgen.fit("attributes", known, channels=(4, 4), hidden=8, epochs=1)
        found = probgen.analyze(name, probgen.fit(model, data, **options), data, **own)
        drawn |= {
            f"{key} {i}": each for key, each in probgen.figures_of(found).items() if isinstance(each, Figure)
        }
    return drawn


@pytest.mark.parametrize("name", ANALYSES)
def test_the_pictures_of_an_analysis_can_be_read(name: str) -> None:
    drawn = analyzed(name)
    assert drawn
    assert {key: wrong for key, figure in drawn.items() if (wrong := faults(figure))} == {}


@pytest.mark.parametrize(
    ("model", "rows", "options"),
    [
        ("independent", stripes, {}),
        ("mixture", plane, {"components": 2, "steps": 5}),
        ("independent", mixed, {}),
        ("made", lambda: spaces.example("binary"), {"epochs": 1, "hidden": (8,)}),
    ],
)
def test_samples_stand_beside_rows_of_the_data(
    model: str, rows: Callable[[], xr.Dataset], options: Any
) -> None:
    data = rows()
    found = probgen.fit(model, data, **options)
    real = real_rows(found, data)
    figure = picture_of(found, probgen.sample(found, 20), TITLE, real=real)
    assert faults(figure) == []
    said = [text.get_text() for text in figure.findobj(Text)]
    assert "data" in said


# what pictures show


def test_a_title_has_what_is_shown_in_bold_and_then_where_it_comes_from() -> None:
    figure = ARRAYS["images"]()
    FigureCanvasAgg(figure).draw()
    bold = figure._suptitle
    assert bold is not None
    plain = next(text for text in figure.findobj(Text) if text.get_text() == "model, 10 rows, seed 0")
    assert bold.get_text().splitlines()[0] == "What it shows"
    assert (bold.get_fontweight(), plain.get_fontweight()) == ("bold", "normal")
    above, below = (text.get_window_extent() for text in (bold, plain))
    assert below.y0 >= above.y0 - 1  # within the room that the bold text keeps
    assert below.y1 < above.y1


def test_one_point_of_validation_rows_is_visible() -> None:
    line = next(line for line in ARRAYS["curves"]().axes[0].lines if len(line.get_xdata()) == 1)
    assert line.get_marker() == "o"


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    found = style.apart([0.5, 0.5, 0.52, 0.1], 0.07)
    assert (np.diff(np.sort(found)) > 0.07 - 1e-9).all()
    assert list(np.argsort(found, kind="stable")) == [3, 0, 1, 2]
    np.testing.assert_allclose(found[:3].mean(), np.mean([0.5, 0.5, 0.52]))
    np.testing.assert_allclose(style.apart([0.1, 0.5]), [0.1, 0.5])


def test_classes_differ_by_more_than_color() -> None:
    looks = [style.mark(i) for i in range(49)]
    assert len({tuple(look.values()) for look in looks}) == 49
    for a, b in pairwise(looks):
        assert a["color"] != b["color"]
        assert a["marker"] != b["marker"]


def test_the_border_of_what_is_known_is_that_of_the_mask() -> None:
    mask = np.zeros((2, 3), bool)
    mask[0] = True
    assert border(mask) == [[(j - 0.5, 0.5), (j + 0.5, 0.5)] for j in range(3)]
    assert len(border(np.eye(2, dtype=bool))) == 4


def test_a_measure_has_its_own_ideal() -> None:
    """A classifier that cannot tell samples from rows is right half of the time."""
    (figure,) = analyzed("diagnose").values()
    ideal = next(line for line in figure.axes[1].lines if line.get_label() == "ideal")
    names = [text.get_text().rsplit("  ", 1)[0] for text in figure.axes[1].get_yticklabels()]
    assert dict(zip(names, ideal.get_xdata(), strict=True))["accuracy"] == 0.5
    assert all(value == 1 for name, value in zip(names, ideal.get_xdata(), strict=True) if name != "accuracy")


def test_a_spectrogram_is_as_long_as_its_sound() -> None:
    for n in (20, 400, 4000):
        figure = figures.sounds(levels(1, n, top=256), 8000, title=TITLE)
        image = next(axes.images[0] for axes in figure.axes if axes.images)
        np.testing.assert_allclose(image.get_extent()[:2], (0, n / 8000))
