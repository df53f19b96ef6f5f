"""Figures of sounds: waveforms and spectrograms."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from probgen.codecs.sounds import from_mu_law


def sounds(levels: np.ndarray, rate: int, names: list[str] | None = None) -> Figure:
    """Return a figure of the waveforms and spectrograms of the first 12 sounds.

    Args:
        levels: Levels of the mu-law, (row, time).
        rate: Sampling rate, in Hz.
        names: Titles of the sounds; None for no titles.

    Returns:
        The figure.
    """
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
        quiet = 1e-9 * np.random.default_rng(0).standard_normal(
            len(s)
        )  # so that the logarithm of silence is finite
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
