"""Animated images, as PNG files."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from probgen.contract.event import Event
from probgen.errors import InputError

SIDE = 128  # least pixels of the shorter side; smaller images are enlarged


@dataclass(frozen=True)
class Animation:
    """An animation of color images.

    Args:
        frames: Frames, (frame, height, width, 3), uint8.
        milliseconds: Duration of each frame, in milliseconds.
    """

    frames: np.ndarray
    milliseconds: int = 80

    def png(self) -> bytes:
        """Return the bytes of an animated PNG, which repeats without end.

        A viewer without support for animations shows the first frame.

        Returns:
            The content of the file.
        """
        first, *others = (Image.fromarray(frame) for frame in self.frames)
        whole = io.BytesIO()
        first.save(
            whole, format="PNG", save_all=True, append_images=others, duration=self.milliseconds, loop=0
        )
        return whole.getvalue()


def animation(x: np.ndarray, event: Event, milliseconds: int = 80) -> Animation:
    """Return an animation of images.

    Args:
        x: Images, (frame, *event).
        event: Description of the images.
        milliseconds: Duration of each frame, in milliseconds.

    Returns:
        The animation.

    Raises:
        InputError: When the event is not an image with 1 or 3 channels.
    """
    colors = event.shape[0] if event.dims == ("channel", "height", "width") else 1
    if event.dims not in (("height", "width"), ("channel", "height", "width")) or colors not in (1, 3):
        raise InputError(
            f"x of {event}: an animation needs images with 1 or 3 channels. Choose another figure."
        )
    low, high = (0, (event.levels or 2) - 1) if event.discrete else (float(x.min()), float(x.max()))
    gray = np.clip((np.asarray(x, dtype=float) - low) / max(high - low, 1e-12), 0, 1)
    images = gray.reshape(len(x), -1, *x.shape[-2:])
    if images.shape[1] == 1 and (event.levels or 0) < 256:
        images = 1 - images  # the highest level is black, as ink on paper
    pixels = np.rint(255 * np.moveaxis(np.repeat(images, 3 // images.shape[1], 1), 1, 3)).astype(np.uint8)
    times = max(1, math.ceil(SIDE / min(x.shape[-2:])))
    return Animation(pixels.repeat(times, 1).repeat(times, 2), milliseconds)
