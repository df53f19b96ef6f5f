"""Degradations of images, as differentiable functions of x, (row, *event).

A degradation may be any such function. It returns the degraded image, with NaN for pixels that are not known. The functions
here work on `(row, height, width)` and `(row, channel, height, width)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from probgen.errors import InputError

Degradation = Callable[[Tensor], Tensor]
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R 601-2)
REACH = 4.0  # standard deviations at which a Gaussian kernel ends


def whole(x: Tensor) -> Tensor:
    """Return x unchanged.

    Args:
        x: Images, (row, *event).

    Returns:
        The same images.
    """
    return x


def mask(known: Tensor) -> Degradation:
    """Return a degradation that replaces masked pixels by NaN.

    Args:
        known: Mask of the known pixels, (*event), bool.

    Returns:
        A function of x, (row, *event), that raises an `InputError` for images of another size.

    Raises:
        InputError: When no pixel is known.
    """
    known = torch.as_tensor(known, dtype=torch.bool)
    if not known.any():
        raise InputError("the mask hides everything. Use a mask with at least one known pixel.")

    def masked(x: Tensor) -> Tensor:
        _real(x)
        if known.shape != x.shape[1:]:
            raise InputError(
                f"the mask is {_size(known.shape)}, x is {_size(x.shape[1:])}. Use a mask of the size of x."
            )
        return torch.where(known, x, torch.nan)

    return masked


def gray(x: Tensor) -> Tensor:
    """Return the brightness of color images (ITU-R 601-2).

    Args:
        x: Color images, (row, 3, height, width).

    Returns:
        Gray images, (row, 1, height, width).

    Raises:
        InputError: When x does not have three color channels, or its numbers are integers.
    """
    _real(x)
    if x.ndim != 4 or x.shape[1] != len(LUMA):
        raise InputError(
            f"x is {_size(x.shape[1:])} per row: gray needs images of 3 colors. Pass x of shape (row, 3, height, width)."
        )
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def shrink(factor: int) -> Degradation:
    """Return a degradation that averages squares of factor x factor pixels.

    Args:
        factor: Factor by which height and width become smaller, at least 2.

    Returns:
        A function of x, (row, ..., height, width), that raises an `InputError` if `factor` does not divide both sides.

    Raises:
        InputError: When `factor` is not a whole number of at least 2.
    """
    _at_least(factor, 2, "factor")

    def shrunk(x: Tensor) -> Tensor:
        height, width = _sides(x)
        if height % factor or width % factor:
            raise InputError(
                f"images of {height} x {width} cannot be shrunk by {factor}. Use a factor that divides both sides."
            )
        return _as_channels(x, lambda y: avg_pool2d(y, factor))

    return shrunk


def blur(sigma: float) -> Degradation:
    """Return a degradation that blurs images with a Gaussian kernel; images are mirrored at the border.

    Args:
        sigma: Standard deviation of the kernel, in pixels.

    Returns:
        A function of x, (row, ..., height, width), that raises an `InputError` if the images are too small for `sigma`.

    Raises:
        InputError: When `sigma` is not finite or not above 0.
    """
    if not 0 < sigma < math.inf:
        raise InputError(
            f"sigma = {sigma}: blur needs a finite number above 0. Give the standard deviation in pixels."
        )
    reach = max(1, round(REACH * sigma))

    def blurred(x: Tensor) -> Tensor:
        if min(_sides(x)) <= reach:
            raise InputError(
                f"sigma = {sigma} is too much for images of {_size(_sides(x))}. Use a smaller sigma."
            )
        at = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (at / sigma) ** 2)
        k = (kernel / kernel.sum()).to(x)

        def both(y: Tensor) -> Tensor:
            shape = y.shape
            y = pad(y.flatten(0, 1)[:, None], (reach, reach, reach, reach), mode="reflect")
            y = conv2d(conv2d(y, k[None, None, None]), k[None, None, :, None])
            return y.reshape(shape)

        return _as_channels(x, both)

    return blurred


def quantize(levels: int, low: float = 0.0, high: float = 255.0) -> Degradation:
    """Return a degradation that rounds to evenly spaced values.

    The gradient is the one of the identity (straight-through estimator, Bengio et al. 2013).

    Args:
        levels: Number of values, at least 2.
        low: Lowest value, in the units of x.
        high: Highest value, in the units of x.

    Returns:
        A function of x, (row, *event).

    Raises:
        InputError: When `levels` is not a whole number of at least 2, or `high` is not above `low`.
    """
    _at_least(levels, 2, "levels")
    if not high > low:
        raise InputError(
            f"high = {high}: it must be above low = {low}. Give a larger high, or a smaller low."
        )
    step = (high - low) / (levels - 1)

    def quantized(x: Tensor) -> Tensor:
        _real(x)
        nearest = low + step * ((x - low) / step).round().clamp(0, levels - 1)
        return x + (nearest - x).detach()

    return quantized


def checked(degradation: Degradation, x: Tensor) -> Tensor:
    """Apply a degradation and check that it is differentiable.

    Args:
        degradation: The function to check.
        x: Images, (row, *event).

    Returns:
        The degraded images, (row, ...), without gradients.

    Raises:
        InputError: When the result is not a real tensor with one entry per row, or has no gradient with respect to x.
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        seen = degradation(x)
        if not isinstance(seen, Tensor) or seen.shape[:1] != x.shape[:1] or not seen.is_floating_point():
            raise InputError(
                "the degradation must return a tensor of real numbers with as many rows as x. Correct the function."
            )
        # a function of all known numbers, with a gradient that is 0 only by chance
        of = (torch.where(seen.isnan(), 0.0, seen).double() + 0.5).sin().sum()
        gradient = torch.autograd.grad(of, x, allow_unused=True)[0] if seen.requires_grad else None
    if gradient is None or not gradient.any():
        raise InputError(
            "the degradation has no gradient with respect to x (rounding, for example), so codes cannot be searched. "
            "Use a differentiable function; for rounding, use quantize."
        )
    return seen.detach()


def _as_channels(x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    return of(x[:, None])[:, 0] if x.ndim == 3 else of(x)


def _real(x: Tensor) -> None:
    if not x.is_floating_point():
        raise InputError(f"x has dtype {x.dtype}: a degradation needs real numbers. Pass x.double().")


def _sides(x: Tensor) -> tuple[int, int]:
    _real(x)
    if x.ndim not in (3, 4):
        raise InputError(
            f"x is {_size(x.shape[1:])} per row: this degradation is of images. "
            "Pass x of shape (row, height, width) or (row, channel, height, width)."
        )
    return x.shape[-2], x.shape[-1]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _at_least(value: int, least: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} = {value!r}: a whole number is needed. Use at least {least}.")
