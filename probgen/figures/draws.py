"""Figures of samples or data by event: a grid of images, a scatter plot of two features, panels for a few more."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from probgen.contract.event import Event
from probgen.errors import InputError
from probgen.figures.animation import Animation
from probgen.figures.images import images
from probgen.figures.sounds import sounds
from probgen.figures.tables import marginals
from probgen.figures.vectors import PANELS, Gaussians, lines, raster, scatter
from probgen.store.files import write_whole


def draw(
    x: np.ndarray,
    event: Event,
    *,
    title: str = "",
    names: Sequence[str] | None = None,
    gaussians: Gaussians | None = None,
    real: np.ndarray | None = None,
) -> Figure:
    """Return a figure of rows, in a form that suits the event.

    Args:
        x: Rows, (row, *event).
        event: Description of the rows.
        title: Title of the figure; empty for none.
        names: Names of the features of a scatter plot, titles of the sounds, or names of the columns of a grid of images,
            of which each has that condition; None for default names.
        gaussians: Weights, (component,), means, (component, feature), and covariances, (component, feature, feature), which
            a scatter plot shows as ellipses of one and two standard deviations. None for no ellipses.
        real: Rows of the data, (row, *event), beside the samples, except for sounds; None for none.

    Returns:
        The figure.

    Raises:
        InputError: When no figure suits the event.
    """
    if event.dims[-2:] == ("height", "width"):
        return images(x, event, len(names) if names else None, above=names or (), real=real, title=title)
    if event.rate:
        return sounds(x, event.rate, list(names or ()), title)
    if event.support in ("mixed", "count") and event.columns:
        return marginals(x, real, event.columns, title)
    if len(event.dims) == 1 and event.dims != ("time",) and x.shape[1] <= PANELS:
        called = list(names or (f"feature {i}" for i in range(x.shape[1])))
        return scatter(x, called, gaussians, real=real, title=title)
    if len(event.dims) == 1:
        return (
            raster(x, event, real=real, title=title) if event.discrete else lines(x, real=real, title=title)
        )
    raise InputError(f"x of {event}: no figure suits this event. Use images, sounds, tables or vectors.")


def save(figure: Figure | Animation, path: Path) -> None:
    """Write a figure as a PNG file, completely or not at all.

    Args:
        figure: The figure or the animation.
        path: The file, which is replaced if it exists.

    Raises:
        RunError: When the file cannot be written.
    """
    if isinstance(figure, Animation):
        write_whole(path, figure.png())
        return
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120, bbox_inches="tight")
    write_whole(path, image.getbuffer())
