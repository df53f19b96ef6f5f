"""Images with reduced copies, `low`: the data of super-resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from probgen.codecs.images import resized, rounded
from probgen.contract.event import is_image
from probgen.contract.sizes import sizes_of
from probgen.errors import InputError
from probgen.readers.base import Reading


def stacked(images: Sequence[np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return images of any sizes as one array, padded with 0, and `size (row, side)` if sizes differ."""
    sizes = np.array([image.shape[-2:] for image in images])
    if (sizes == sizes[0]).all():
        return np.stack(images), {}
    height, width = sizes.max(0)
    x = np.zeros((len(images), *images[0].shape[:-2], height, width), images[0].dtype)
    for row, image in enumerate(images):
        x[row, ..., : image.shape[-2], : image.shape[-1]] = image
    return x, {"size": (("row", "side"), sizes)}


def scaled(dataset: xr.Dataset, scale: int) -> xr.Dataset:
    """Return images with `low`, the same images at 1/scale of the size.

    Images are cut at the right and at the bottom so that `scale` divides their sides. `low` is made with the bicubic kernel of `codecs.images`.
    For images of whole numbers, `low` is rounded to their levels.

    Args:
        dataset: Images (row, ..., height, width), of one or several sizes.
        scale: Factor by which `low` is smaller, a whole number from 2 to 16.

    Returns:
        The data with cut images, `low`, and `size (row, side)` if sizes differ.

    Raises:
        InputError: When the data are not images with shades, an image is smaller than `scale`, or pixels are missing.
    """
    Reading(scale=scale)  # checks scale
    x = dataset["x"]
    if not is_image(x.dims[1:]):
        raise InputError(
            f"scale = {scale}: only for images, but x has the dimensions {', '.join(map(str, x.dims[1:]))}. Leave scale out."
        )
    if x.attrs.get("support") in ("binary", "token") or x.dtype.kind == "b":
        raise InputError(
            f"scale = {scale}: only for images with shades, but x is {x.attrs.get('support', 'binary')}. Leave scale out."
        )
    sizes = sizes_of(dataset) // scale * scale
    if not sizes.all():
        row = int((sizes == 0).any(1).argmax())
        height, width = sizes_of(dataset)[row]
        raise InputError(
            f"row {row} is {height} x {width}: scale = {scale} requires at least {scale} pixels per side. Leave the row out."
        )
    high = [x[row, ..., :height, :width].values for row, (height, width) in enumerate(sizes)]
    for row, image in enumerate(high):
        if not np.isfinite(image).all():
            raise InputError(
                f"row {row} has missing pixels, so the image cannot be reduced. Leave the row out."
            )
    real = x.attrs.get("support", "real" if x.dtype.kind == "f" else "integer") == "real"
    described: dict[str, Any] = {"support": "real"}
    if not real:
        most = 255 if x.dtype == np.uint8 else max(int(image.max()) for image in high)
        described = {"support": "integer", "levels": int(x.attrs.get("levels", most + 1))}
    low = []
    for image in high:
        small = resized(image, *(side // scale for side in image.shape[-2:]))
        low.append(small.astype(x.dtype) if real else rounded(small, described["levels"]))
    values, size = stacked(high)
    small, _ = stacked(low)
    # other variables over the image are cut in the same way
    sides = {dim: slice(0, length) for dim, length in zip(x.dims[-2:], values.shape[-2:], strict=True)}
    kept = dataset.drop_vars([n for n in ("x", "size", "low") if n in dataset]).isel(
        sides, missing_dims="ignore"
    )
    dims = ("row", *(f"low_{dim}" for dim in x.dims[1:]))
    return kept.assign(
        {"x": (x.dims, values, {**x.attrs, **described}), "low": (dims, small, described), **size}
    )
