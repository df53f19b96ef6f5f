"""Pictures that suit the event: a grid for images, a scatter in two dimensions, panels for a few more."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from probgen.contract.event import Event
from probgen.errors import InputError
from probgen.figures.animation import Animation
from probgen.figures.images import images
from probgen.figures.sounds import sounds
from probgen.figures.tables import marginals
from probgen.figures.vectors import PANELS, lines, raster, scatter
from probgen.store.files import write_whole


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
    elif event.support in ("mixed", "count") and event.columns:
        figure = marginals(x, None, event.columns)
    elif len(event.dims) == 1 and event.dims != ("time",) and x.shape[1] <= PANELS:
        figure = scatter(x, names or [f"feature {i}" for i in range(x.shape[1])], gaussians)
    elif len(event.dims) == 1:
        figure = raster(x, event) if event.discrete else lines(x)
    else:
        raise InputError(f"no picture suits an event of {event}")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def save(figure: Figure | Animation, path: Path) -> None:
    """Write a PNG, whole or not at all. Errors: `RunError`."""
    if isinstance(figure, Animation):
        write_whole(path, figure.png())
        return
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120, bbox_inches="tight")
    write_whole(path, image.getbuffer())
