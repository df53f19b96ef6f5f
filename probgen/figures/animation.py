"""Images that move: an animated PNG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from probgen.contract.event import Event
from probgen.errors import InputError

SIDE = 128  # pixels of an image's shorter side, at least


@dataclass(frozen=True)
class Animation:
    """frames (frame, height, width, 3), bytes; how long each is shown."""

    frames: np.ndarray
    milliseconds: int = 80

    def png(self) -> bytes:
        """An animated PNG, which begins anew when it is over; whatever shows no animation shows its first frame."""
        first, *others = (Image.fromarray(frame) for frame in self.frames)
        whole = io.BytesIO()
        first.save(
            whole, format="PNG", save_all=True, append_images=others, duration=self.milliseconds, loop=0
        )
        return whole.getvalue()


def animation(x: np.ndarray, event: Event, milliseconds: int = 80) -> Animation:
    """Images one after the other: (frame, *event). Errors: `InputError` for an event that is no image of one or three channels."""
    colors = event.shape[0] if event.dims == ("channel", "height", "width") else 1
    if event.dims not in (("height", "width"), ("channel", "height", "width")) or colors not in (1, 3):
        raise InputError(f"no picture suits an event of {event}")
    low, high = (0, (event.levels or 2) - 1) if event.discrete else (float(x.min()), float(x.max()))
    gray = np.clip((np.asarray(x, dtype=float) - low) / max(high - low, 1e-12), 0, 1)
    images = gray.reshape(len(x), -1, *x.shape[-2:])
    if images.shape[1] == 1 and (event.levels or 0) < 256:
        images = 1 - images  # ink on paper
    pixels = np.rint(255 * np.moveaxis(np.repeat(images, 3 // images.shape[1], 1), 1, 3)).astype(np.uint8)
    times = max(1, math.ceil(SIDE / min(x.shape[-2:])))
    return Animation(pixels.repeat(times, 1).repeat(times, 2), milliseconds)
