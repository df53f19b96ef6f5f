"""Small pictures for the site: `python docs/shrink.py PICTURE NAME` writes docs/gallery/NAME.png.

NAME is a recipe and the content of the picture, for example `digits-vae.samples`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

COLORS, WIDTH = 32, 320  # of a picture of the gallery; in pixels


def shrink(picture: Image.Image, path: Path, width: int = WIDTH) -> None:
    """Write a picture as a PNG of few colors, at most so wide.

    Args:
        picture: The picture; it is put on white.
        path: Path of the PNG.
        width: Largest width in pixels.
    """
    whole = Image.new("RGBA", picture.size, "white")
    whole.alpha_composite(picture.convert("RGBA"))
    if whole.width > width:
        whole = whole.resize((width, whole.height * width // whole.width), Image.Resampling.LANCZOS)
    colors = whole.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    colors.save(path, optimize=True)


if __name__ == "__main__":
    picture, name = sys.argv[1:]
    shrink(Image.open(picture), Path(__file__).parent / "gallery" / f"{name}.png")
