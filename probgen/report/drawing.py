"""What is drawn on a report: curves and intervals as SVG, images as PNG with one pixel for each number."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from probgen.contract.event import Event
from probgen.errors import FileError
from probgen.readers.base import reason

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe & Ito 2008
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")
POINTS = 300  # of a curve
WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 66, 150, 10, 36
COLORS = 64  # of an embedded picture


def curve(lines: Sequence[tuple[str, np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> str:
    """Draw lines as SVG, each with its name at its end.

    Args:
        lines: Name, x and y of each line; y may contain NaN.
        xlabel: The label of the horizontal axis.
        ylabel: The label of the vertical axis.

    Returns:
        An SVG element, or "" if no line has three points: a closed form has no course.
    """
    shown = [
        (name, *_means(x[np.isfinite(y)], y[np.isfinite(y)]))
        for name, x, y in lines
        if np.isfinite(y).sum() > 2
    ]
    if not shown:
        return ""
    every = np.concatenate([y for _, _, y in shown])
    x0, x1 = min(x[0] for _, x, _ in shown), max(x[-1] for _, x, _ in shown)
    low, high = np.quantile(every, 0.02), every.max()
    low, high = low - 0.06 * (high - low or 1), high + 0.06 * (high - low or 1)

    def px(x: np.ndarray) -> np.ndarray:
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - x0) / (x1 - x0 or 1)

    def py(y: np.ndarray) -> np.ndarray:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (np.clip(y, low, high) - low) / (high - low))

    foot = HEIGHT - BOTTOM
    out = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_told(shown, xlabel, ylabel))}">'
    ]
    for tick in _ticks(low, high):
        at = py(np.array(tick))
        out.append(
            f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/><text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in _ticks(x0, x1, whole=True):
        at = px(np.array(tick))
        out.append(
            f'<path class="grid" d="M{at:.1f} {foot}v4"/><text x="{at:.1f}" y="{foot + 17}" text-anchor="middle">{tick:g}</text>'
        )
    ends = []
    for k, (name, x, y) in enumerate(shown):
        color, dash = PALETTE[k % len(PALETTE)], DASHES[k % len(DASHES)]
        path = "".join(
            f"{'L' if i else 'M'}{a:.1f} {b:.1f}" for i, (a, b) in enumerate(zip(px(x), py(y), strict=True))
        )
        out.append(
            f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
        )
        ends.append((float(py(y)[-1]), name, color))
    below = -math.inf
    for end, name, color in sorted(ends):
        below = max(end, below + 14)
        out.append(
            f'<path d="M{WIDTH - RIGHT + 2} {below:.1f}h6" stroke="{color}" stroke-width="3"/><text x="{WIDTH - RIGHT + 12}" y="{below + 4:.1f}">{escape(name)}</text>'
        )
    out.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}" text-anchor="middle">{escape(xlabel)}</text>'
    )
    out.append(
        f'<text transform="translate(13 {(TOP + foot) / 2}) rotate(-90)" text-anchor="middle">{escape(ylabel)}</text></svg>'
    )
    return "".join(out)


def _means(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over stretches: noise of single steps would hide the course."""
    parts = np.array_split(np.arange(len(x)), min(POINTS, len(x)))
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    size = (high - low) / 5 or 1.0
    unit = 10.0 ** math.floor(math.log10(size))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= size)
    step = max(1.0, round(step)) if whole else step
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _told(lines: Sequence[tuple[str, np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> str:
    ends = "; ".join(f"{name} from {y[0]:.4g} to {y[-1]:.4g}" for name, _, y in lines)
    return f"{ylabel} by {xlabel}: {ends}"


def intervals(means: Sequence[tuple[float, float]]) -> list[str]:
    """Draw each value with two standard errors to each side as SVG, all on one scale; "" for a value that is not finite."""
    finite = [(v, 2 * e if math.isfinite(e) else 0.0) for v, e in means if math.isfinite(v)]
    low = min((v - e for v, e in finite), default=0.0)
    high = max((v + e for v, e in finite), default=0.0)
    width = 140

    def px(value: float) -> float:
        return 6 + (width - 12) * (value - low) / (high - low or 1)

    drawn = iter(
        f'<svg class="interval" viewBox="0 0 {width} 18" aria-hidden="true"><path d="M{px(v - e):.1f} 9H{px(v + e):.1f}" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{px(v):.1f}" cy="9" r="4.5" fill="{PALETTE[0]}"/></svg>'
        for v, e in finite
    )
    return [next(drawn) if math.isfinite(v) else "" for v, _ in means]


def grid(x: np.ndarray, event: Event, like: np.ndarray | None = None, across: int = 10) -> str:
    """Draw images in rows of ten as one PNG, one pixel for each number.

    Args:
        x: Images (n, *event).
        event: The event of the images.
        like: Real images whose range is that of the gray levels, if x is real.
        across: Images in a row.

    Returns:
        A data URL.
    """
    *_, height, width = x.shape
    x = x.reshape(len(x), -1, height, width).astype(float)
    if event.discrete:
        low, high = 0.0, float(max(1, (event.levels or 2) - 1))
    else:
        low, high = (float(f(x if like is None else like)) for f in (np.nanmin, np.nanmax))
    x = np.nan_to_num(np.clip((x - low) / (high - low or 1), 0, 1))
    if x.shape[1] != 3:
        x = x[:, :1]
        x = (
            x if (event.levels or 0) >= 256 or not event.discrete else 1 - x
        )  # ink on paper where levels are few, as in `figures`
    down = -(-len(x) // across)
    sheet = np.full((down * (height + 1) - 1, across * (width + 1) - 1, x.shape[1]), 255, np.uint8)
    for i, image in enumerate(x):
        top, left = i // across * (height + 1), i % across * (width + 1)
        sheet[top : top + height, left : left + width] = np.round(255 * np.moveaxis(image, 0, 2))
    return _url(Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet))


def picture(path: Path) -> tuple[str, int, int]:
    """Return a PNG of the run as a data URL with few colors, its width and its height. An animation keeps its frames.

    Args:
        path: The PNG file.

    Returns:
        The URL, the width and the height.

    Raises:
        FileError: When the file is damaged, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if isinstance(image, PngImageFile) and image.n_frames > 1:
                    for frame in range(image.n_frames):
                        image.seek(frame)
                        image.load()
                    content = base64.b64encode(path.read_bytes()).decode()
                    return f"data:image/png;base64,{content}", *image.size
                small = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    except Exception as error:  # a damaged file can cause any error in a decoder
        raise FileError(
            f"{path} cannot be read as a PNG: {reason(error).rstrip('.')}. Remove the file, or make it again."
        ) from None
    return _url(small), *small.size


def _url(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
