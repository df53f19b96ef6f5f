"""What can happen to an image before it is seen, as differentiable functions: x (row, *event) -> what is seen.

A degradation may be any callable of this kind; NaN is what nothing is known of. These work on `(row, height, width)` and `(row, channel, height, width)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from probgen.errors import InputError

Degradation = Callable[[Tensor], Tensor]
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, by ITU-R 601-2
REACH = 4.0  # deviations at which a Gaussian ends


def whole(x: Tensor) -> Tensor:
    """x as it is."""
    return x


def mask(known: Tensor) -> Degradation:
    """What is known of x, NaN elsewhere. known: bool, (*event)."""
    known = torch.as_tensor(known, dtype=torch.bool)
    if not known.any():
        raise InputError("the mask hides everything")

    def masked(x: Tensor) -> Tensor:
        _real(x)
        if known.shape != x.shape[1:]:
            raise InputError(
                f"the mask is {_size(known.shape)}, x is {_size(x.shape[1:])}: the same size is needed"
            )
        return torch.where(known, x, torch.nan)

    return masked


def gray(x: Tensor) -> Tensor:
    """Brightness by ITU-R 601-2: (row, 3, height, width) -> (row, 1, height, width)."""
    _real(x)
    if x.ndim != 4 or x.shape[1] != len(LUMA):
        raise InputError(f"gray is of images of 3 colors, not of {_size(x.shape[1:])}")
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def shrink(factor: int) -> Degradation:
    """Means of squares of factor x factor pixels: sides become so many times smaller."""
    _at_least(factor, 2, "factor")

    def shrunk(x: Tensor) -> Tensor:
        height, width = _sides(x)
        if height % factor or width % factor:
            raise InputError(
                f"images of {height} x {width} cannot be shrunk by {factor}: it must divide both sides"
            )
        return _as_channels(x, lambda y: avg_pool2d(y, factor))

    return shrunk


def blur(sigma: float) -> Degradation:
    """A Gaussian of deviation sigma, in pixels; the border is mirrored."""
    if not 0 < sigma < math.inf:
        raise InputError(f"blur: sigma = {sigma}: a number above 0 is needed")
    reach = max(1, round(REACH * sigma))

    def blurred(x: Tensor) -> Tensor:
        if min(_sides(x)) <= reach:
            raise InputError(f"blur: sigma = {sigma} is too much for images of {_size(_sides(x))}")
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
    """The nearest of so many values, evenly spaced from low to high; the gradient is that of x (straight-through, Bengio et al. 2013)."""
    _at_least(levels, 2, "levels")
    if not high > low:
        raise InputError(f"quantize: high = {high} must be above low = {low}")
    step = (high - low) / (levels - 1)

    def quantized(x: Tensor) -> Tensor:
        _real(x)
        nearest = low + step * ((x - low) / step).round().clamp(0, levels - 1)
        return x + (nearest - x).detach()

    return quantized


def checked(degradation: Degradation, x: Tensor) -> Tensor:
    """What is seen of x. Errors: `InputError` for a degradation that is not differentiable, or not of each row."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        seen = degradation(x)
        if not isinstance(seen, Tensor) or seen.shape[:1] != x.shape[:1] or not seen.is_floating_point():
            raise InputError("a degradation gives a tensor of real numbers, as many rows as it gets")
        # a function of all numbers that are known, without zeros in its gradient but by chance
        of = (torch.where(seen.isnan(), 0.0, seen).double() + 0.5).sin().sum()
        gradient = torch.autograd.grad(of, x, allow_unused=True)[0] if seen.requires_grad else None
    if gradient is None or not gradient.any():
        raise InputError(
            "the degradation has no gradient, as rounding has none: what it does cannot be searched through; "
            "quantize passes the gradient of x"
        )
    return seen.detach()


def _as_channels(x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    return of(x[:, None])[:, 0] if x.ndim == 3 else of(x)


def _real(x: Tensor) -> None:
    if not x.is_floating_point():
        raise InputError(f"x is {x.dtype}: a degradation needs real numbers, as x.double()")


def _sides(x: Tensor) -> tuple[int, int]:
    _real(x)
    if x.ndim not in (3, 4):
        raise InputError(f"this degradation is of images, not of {_size(x.shape[1:])}")
    return x.shape[-2], x.shape[-1]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _at_least(value: int, least: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} = {value!r}: a whole number of at least {least} is needed")
