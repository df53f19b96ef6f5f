"""Figures of sounds: waveforms and spectrograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probgen.codecs.sounds import from_mu_law
from probgen.figures.style import PALETTE, SEQUENTIAL, color_bar, labeled, sheet, titled

SHOWN = 12  # most sounds of a figure
WINDOW = 256  # longest window of a spectrogram, in samples
QUIETEST, LOUDEST = -130, -30  # ends of the scale of colors, in dB


def sounds(levels: np.ndarray, rate: int, names: list[str] | None = None, title: str = "") -> Figure:
    """Return a figure of the waveforms and spectrograms of the first 12 sounds.

    Args:
        levels: Levels of the mu-law, (row, time).
        rate: Sampling rate, in Hz.
        names: Titles of the sounds; None for no titles.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    waves = from_mu_law(levels[:SHOWN])
    across = min(4, len(waves))
    down = -(-len(waves) // across)
    figure, grid = sheet(
        2 * down, across, width=2.2 * across + 1, height=2.2 * down + 0.6, heights=[1, 1.6] * down,
        sharex=True, sharey="row",
    )  # fmt: skip
    seconds = waves.shape[1] / rate
    loudest = max(float(np.abs(waves).max()), 1e-3)
    for i in range(down * across):
        wave, bands = grid[2 * (i // across), i % across], grid[2 * (i // across) + 1, i % across]
        if i >= len(waves):
            wave.set_axis_off()
            bands.set_axis_off()
            continue
        first = i % across == 0
        wave.plot(np.arange(len(waves[i])) / rate, waves[i], lw=0.5, color=PALETTE[0])
        wave.set(xlim=(0, seconds), ylim=(-loudest, loudest))
        drawn = _spectrogram(bands, waves[i], rate)
        labeled(wave, y="amplitude" if first else "", title=names[i] if names and i < len(names) else "")
        labeled(bands, "seconds" if i + across >= len(waves) else "", "Hz" if first else "")
        bands.tick_params(labelbottom=i + across >= len(waves))
    color_bar(figure, drawn, list(grid.flat), "dB per Hz, of the full scale", shrink=0.6)
    return titled(figure, title)


def _spectrogram(axes: Any, wave: np.ndarray, rate: int) -> Any:
    """Draw a spectrogram from the first to the last sample: an eighth of the sound, or less, is a window."""
    window = max(16, min(WINDOW, 2 ** int(np.log2(max(len(wave) / 8, 1)))))
    quiet = 1e-9 * np.random.default_rng(0).standard_normal(len(wave))  # the logarithm of silence is finite
    whole = np.pad(wave + quiet, window // 2, mode="reflect" if len(wave) > window // 2 else "edge")
    *_, drawn = axes.specgram(
        whole, NFFT=window, noverlap=window * 3 // 4, Fs=rate, vmin=QUIETEST, vmax=LOUDEST, cmap=SEQUENTIAL,
        xextent=(0, len(wave) / rate),
    )  # fmt: skip
    return drawn
