"""Pictures that suit the event: a grid for images, a scatter in two dimensions, panels for a few more."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from probgen.errors import InputError
from probgen.event import Event
from probgen.sounds import from_mu_law
from probgen.store.files import write_whole

PANELS = 6  # features of a scatter matrix
WIDEST = 2.0  # of the axis of a diagnosis: what is beyond stands at its end


def draw(
    x: np.ndarray,
    event: Event,
    *,
    title: str = "",
    names: list[str] | None = None,
    gaussians: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """A figure of rows of x: (row, *event).

    gaussians  weights (component,), means (component, feature) and covariances (component, feature, feature) to
               draw over a scatter, as ellipses of one and two standard deviations

    Errors: `InputError` for an event that no picture suits.
    """
    if event.dims[-2:] == ("height", "width"):
        figure = images(x, event)
    elif event.rate:
        figure = sounds(x, event.rate, names)
    elif len(event.dims) == 1 and event.dims != ("time",) and x.shape[1] <= PANELS:
        figure = scatter(x, names or [f"feature {i}" for i in range(x.shape[1])], gaussians)
    elif len(event.dims) == 1:
        figure = raster(x, event) if event.discrete else lines(x)
    else:
        raise InputError(f"no picture suits an event of {event}")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all. Errors: `RunError`."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120, bbox_inches="tight")
    write_whole(path, image.getbuffer())


def images(x: np.ndarray, event: Event, across: int | None = None) -> Figure:
    """A grid of so many images in a line, or as square as can be."""
    rows = len(x)
    across = across or math.ceil(math.sqrt(rows))
    down = math.ceil(rows / across)
    low, high = (0, (event.levels or 2) - 1) if event.discrete else (float(x.min()), float(x.max()))
    x = np.clip((x.astype(float) - low) / max(high - low, 1e-12), 0, 1)
    x = x[:, None] if x.ndim == 3 else x
    *_, channels, height, width = x.shape
    grid = np.full((channels, down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for i, image in enumerate(x):
        top, left = i // across * (height + 1), i % across * (width + 1)
        grid[:, top : top + height, left : left + width] = image
    figure = Figure(figsize=(6, 6 * down / across), layout="constrained")
    axes = figure.add_subplot()
    if channels == 3:
        axes.imshow(np.moveaxis(np.nan_to_num(grid, nan=1.0), 0, 2), interpolation="nearest")
    else:
        greys = matplotlib.colormaps[greys_of(event)].with_extremes(bad="white")
        axes.imshow(grid[0], cmap=greys, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure


def greys_of(event: Event) -> str:
    """The highest level is light, as on a screen, where there are 256 as in a photograph; ink on paper where there are fewer."""
    return "gray" if (event.levels or 0) >= 256 else "gray_r"


def columns(
    parts: Sequence[np.ndarray],
    names: Sequence[str],
    event: Event,
    title: str = "",
    *,
    shared: int | None = None,
) -> Figure:
    """Images side by side, a row of the figure for each row of x.

    parts   each (row, *event), or (row, height, width) of what is one number a pixel; NaN is drawn in blue: what is not
            known
    shared  how many of them have the scale of the first; by default all. The others are scaled by themselves

    Errors: `InputError` for an event that is no image of one or three channels.
    """
    colours = event.shape[0] if len(event.dims) == 3 else 1
    if event.dims[-2:] != ("height", "width") or colours not in (1, 3):
        raise InputError(f"no picture suits an event of {event}")
    rows = len(parts[0])
    figure = Figure(figsize=(1.1 * len(parts), 1.1 * rows + 0.5), layout="constrained")
    grid: Any = figure.subplots(rows, len(parts), squeeze=False)
    unknown = "#a6bddb"
    for j, part in enumerate(parts):
        shown = np.asarray(part, dtype=float)
        grey = colours == 1 or shown.ndim == 3
        shown = shown.reshape(rows, *event.shape[-2:]) if grey else np.moveaxis(shown, 1, 3)
        ink = matplotlib.colormaps[greys_of(event) if colours == 1 else "magma"].with_extremes(bad=unknown)
        scale = np.asarray(parts[0] if shared is None or j < shared else part)
        low, high = min(0.0, float(scale.min())), float(scale.max())
        if event.discrete and scale is parts[0]:
            high = (event.levels or 2) - 1
        high = max(high, low + 1e-12)
        if not grey:
            rgb = ((shown - low) / (high - low)).clip(0, 1)
            shown = np.where(np.isnan(rgb), matplotlib.colors.to_rgb(unknown), rgb)
        for i in range(rows):
            grid[i, j].imshow(shown[i], cmap=ink, vmin=low, vmax=high)
            grid[i, j].set_axis_off()
        grid[0, j].set_title(names[j], fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def strips(x: np.ndarray, event: Event, title: str = "") -> Figure:
    """Ways through images, one a line: (row, step, *event). Errors: `InputError` for an event that is no image."""
    if event.dims[-2:] != ("height", "width"):
        raise InputError(f"no picture suits an event of {event}")
    figure = images(x.reshape(-1, *x.shape[2:]), event, across=x.shape[1])
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def codes(
    z: np.ndarray, label: np.ndarray | None = None, names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Codes in the plane, coloured by label: (row, 2), (row,)."""
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.add_subplot()
    if label is None:
        axes.scatter(z[:, 0], z[:, 1], s=5, color="0.35", linewidths=0)
    else:
        values = np.unique(label)
        colours = matplotlib.colormaps["tab10" if len(values) <= 10 else "tab20"]
        for i, value in enumerate(values):
            at = label == value
            name = names[int(value)] if len(names) > value else str(value)
            axes.scatter(z[at, 0], z[at, 1], s=8, color=colours(i % colours.N), linewidths=0, label=name)
        axes.legend(markerscale=2.5, fontsize=8, loc="best", framealpha=0.8)
    axes.set(xlabel="first axis", ylabel="second axis")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def curves(history: Mapping[str, np.ndarray], x: np.ndarray, xlabel: str, title: str = "") -> Figure:
    """Metrics of a fit in nats a row, on average over up to 200 stretches: each (step,), NaN where it was not measured.

    `loss` and `valid_loss` are drawn upside down, as what is maximised (a log-likelihood or a bound, say), with
    `reconstruction` beside them, and `kl` in a panel of its own. Errors: `InputError` where there is neither.
    """
    shown = [(name, -history[name]) for name in ("loss", "valid_loss") if name in history]
    shown += [(name, history[name]) for name in ("reconstruction", "kl") if name in history]
    if not shown or len(x) < 2:
        raise InputError("a curve needs a loss at several steps")
    labels = {"loss": "-loss", "valid_loss": "-loss, validation rows"}
    panels = 2 if "kl" in history else 1
    figure = Figure(figsize=(7, 3.2 * panels), layout="constrained")
    grid: Any = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    lows, highs = [], []
    for name, values in shown:
        at, mean = stretches(x, values)
        axes = grid[1] if name == "kl" else grid[0]
        axes.plot(at, mean, lw=1.3, label=labels.get(name, name))
        if name != "kl" and len(mean):
            lows.append(np.quantile(mean, 0.05))
            highs.append(mean.max())
    room = 0.08 * (max(highs) - min(lows)) + 1e-9
    grid[0].set_ylim(
        min(lows) - room, max(highs) + room
    )  # the first steps would leave no room for the others
    for axes in grid:
        axes.set_ylabel("nats a row")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[-1].set_xlabel(xlabel)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def surprise(symbols: Sequence[str], nats: np.ndarray, title: str = "", across: int = 80) -> Figure:
    """A text of which each symbol has a ground as dark as it was unexpected: -log p(x_t | x_<t) of each (symbol,)."""
    text, each = "".join(symbols), nats
    nats = np.repeat(each, [len(symbol) for symbol in symbols])
    places, row, column = [], 0, 0
    for character in text:
        places.append((row, column))
        column += 1
        if character == "\n" or column == across:
            row, column = row + 1, 0
    down = places[-1][0] + 1
    grid = np.full((down, across), np.nan)
    grid[tuple(np.transpose(places))] = nats
    figure = Figure(figsize=(10, 0.5 + 0.2 * down), layout="constrained")
    axes = figure.add_subplot()
    top = max(float(np.quantile(nats, 0.99)), 1e-9)
    shown = axes.imshow(grid, cmap="OrRd", vmin=0, vmax=top, aspect="auto")
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "family": "monospace"}
    for character, (i, j), at in zip(text, places, nats / top, strict=True):
        if character.isprintable():
            axes.text(j, i, character.replace("$", r"\$"), color="white" if at > 0.7 else "black", **look)
    axes.set_axis_off()
    figure.colorbar(shown, ax=axes, label="nats", fraction=0.02)
    if title:
        figure.suptitle(f"{title}: surprise, {each.mean():.2f} nats a symbol here", fontsize=10)
    return figure


def attention(maps: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]]) -> Figure:
    """What each symbol of x (down) sees of a source (across): weights (step, source step), and the names of either."""
    across = min(2, len(maps))
    figure = Figure(figsize=(6 * across, 5 * -(-len(maps) // across)), layout="constrained")
    grid = figure.subplots(-(-len(maps) // across), across, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    for axes, (weights, targets, sources) in zip(grid.flat, maps, strict=False):
        axes.imshow(weights, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(
            range(len(sources)), [name.replace("$", r"\$") for name in sources], rotation=60, ha="right"
        )
        axes.set_yticks(range(len(weights)), [name.replace("$", r"\$") for name in targets[: len(weights)]])
        axes.tick_params(labelsize=7, length=0)
    return figure


def diagnosis(found: Any) -> Figure:
    """Shares of the modes in data and draws, and what is a share of one with its interval; found: of `diagnose`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    mode = found["mode"].values
    left.bar(mode - 0.2, found["data"].values, 0.4, label="data", color="0.7")
    left.bar(mode + 0.2, found["draws"].values, 0.4, label="draws", color="C0")
    left.set_xlabel("mode")
    left.set_ylabel("share")
    left.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    wanted = ("high_quality", "spread", "precision", "recall", "density", "coverage", "accuracy")
    some = [name for name in wanted if name in found["measure"].values]
    value, low, high = (found[name].sel(measure=some).values for name in ("value", "low", "high"))
    value, low, high = (np.minimum(v, WIDEST) for v in (value, low, high))
    errors = np.maximum([value - low, high - value], 0)
    right.errorbar(value, np.arange(len(some)), xerr=errors, fmt="o", capsize=3, clip_on=False)
    told = [f"{name.replace('_', ' ')}  {float(found['value'].sel(measure=name)):.3g}" for name in some]
    right.set_yticks(np.arange(len(some)), told)
    right.invert_yaxis()
    right.axvline(1, color="0.8", zorder=0)
    right.set_xlim(0, WIDEST)
    figure.suptitle(textwrap.fill(found.attrs["verdict"], 110), fontsize=10)
    return figure


def stretches(x: np.ndarray, values: np.ndarray, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    there = np.isfinite(values)
    x, values = x[there], values[there]
    parts = [part for part in np.array_split(np.arange(len(x)), min(most, max(1, len(x)))) if len(part)]
    return np.array([x[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def scatter(
    x: np.ndarray, names: list[str], gaussians: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
) -> Figure:
    """A histogram of one feature, a scatter of two, a matrix of scatters of more."""
    features = x.shape[1]
    if features == 1:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.hist(x[:, 0], bins="auto", density=True, color="0.6")
        axes.set(xlabel=names[0], ylabel="density")
        return figure
    if features == 2:
        figure = Figure(figsize=(6, 6), layout="constrained")
        _panel(figure.add_subplot(), x, (0, 1), names, gaussians)
        return figure
    figure = Figure(figsize=(2.2 * features, 2.2 * features), layout="constrained")
    grid: Any = figure.subplots(features, features, sharex="col")
    for i in range(features):
        for j in range(features):
            if i == j:
                grid[i, i].hist(x[:, i], bins="auto", density=True, color="0.6")
            else:
                _panel(grid[i, j], x, (j, i), ["", ""], gaussians)
        grid[i, 0].set_ylabel(names[i])
        grid[-1, i].set_xlabel(names[i])
    return figure


def _panel(
    axes: Any,
    x: np.ndarray,
    pair: tuple[int, int],
    names: list[str],
    gaussians: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
) -> None:
    axes.scatter(x[:, pair[0]], x[:, pair[1]], s=4, alpha=0.5, color="0.35", linewidths=0)
    for k, (weight, mean, covariance) in enumerate(zip(*gaussians, strict=True) if gaussians else ()):
        part = covariance[np.ix_(pair, pair)]
        lengths, directions = np.linalg.eigh(part)
        angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
        for deviations in (1, 2):
            width, height = 2 * deviations * np.sqrt(lengths[::-1])
            axes.add_patch(
                Ellipse(
                    mean[list(pair)],
                    width,
                    height,
                    angle=angle,
                    fill=False,
                    color=f"C{k % 10}",
                    lw=1.5 / deviations,
                )
            )
        axes.plot(*mean[list(pair)], "+", color=f"C{k % 10}", label=f"{weight:.2f}")
    axes.autoscale_view()
    axes.set(xlabel=names[0], ylabel=names[1])


def sounds(levels: np.ndarray, rate: int, names: list[str] | None = None) -> Figure:
    """Waveforms over spectrograms, of up to 12 rows of levels of the mu-law: (row, time)."""
    levels = levels[:12]
    across = min(4, len(levels))
    down = -(-len(levels) // across)
    figure = Figure(figsize=(3 * across, 2.4 * down), layout="constrained")
    grid = figure.subplots(2 * down, across, squeeze=False, sharex=True, height_ratios=[1, 1.6] * down)
    for axes in grid.flat:
        axes.tick_params(labelsize=6)
        axes.set_visible(False)
    loudest = max(float(np.abs(from_mu_law(levels)).max()), 1e-3)
    for i, s in enumerate(from_mu_law(levels)):
        wave, bands = grid[2 * (i // across), i % across], grid[2 * (i // across) + 1, i % across]
        wave.plot(np.arange(len(s)) / rate, s, lw=0.4)
        wave.set(ylim=(-loudest, loudest), visible=True)
        size = min(256, max(2, len(s) // 4 * 2))
        quiet = 1e-9 * np.random.default_rng(0).standard_normal(len(s))  # so that silence has a logarithm
        bands.specgram(
            s + quiet, NFFT=size, noverlap=size * 3 // 4, Fs=rate, vmin=-130, vmax=-30, cmap="magma"
        )
        bands.set(visible=True)
        if names and i < len(names):
            wave.set_title(names[i], fontsize=8)
        if i % across == 0:
            bands.set_ylabel("Hz", fontsize=7)
        if i + across >= len(levels):
            bands.set_xlabel("seconds", fontsize=7)
    return figure


def raster(x: np.ndarray, event: Event) -> Figure:
    """Each row a line of dots, dark for the highest level; up to 100 rows."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    top = (event.levels or 2) - 1
    axes.imshow(x[:100], cmap="gray_r", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    axes.set(xlabel="position", ylabel="draw")
    return figure


def lines(x: np.ndarray) -> Figure:
    """Each row a line over its positions; up to 50 rows."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x[:50].T, lw=0.6, alpha=0.6)
    axes.set(xlabel="position", ylabel="x")
    return figure
