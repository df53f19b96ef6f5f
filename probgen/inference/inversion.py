"""Codes of what is seen: the latents of a generator whose x, degraded as it was, is nearest to it.

    c* = argmin_c |D(g(c)) - seen|^2 + weight |c - E(g(c))|^2                     (Zhu et al. 2020, eq. 3)

D is what happened to x before it was seen: nothing, a mask, fewer pixels. E is an encoder, and its term keeps a code where the
encoder is at home. `multi_code` mixes several codes at a place of the generator (Gu et al. 2020, eq. 2). Everything is over
`decode(start, until)`, and of each row alone. A code that is found is the best of a search, and not a draw from p(z given x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from probgen.errors import InputError
from probgen.inference.degradations import Degradation, checked, whole
from probgen.inference.least_squares import Search, least_squares

Decode = Callable[[Mapping[str, Tensor], str], Tensor]


@dataclass(frozen=True)
class Domain:
    """Where codes of draws lie, and in which units they are searched: each coordinate in its deviations over draws.

    latent     a latent or place of the generator
    mean       (*dims)
    deviation  (*dims); coordinates that draws do not vary in stay as they are
    """

    latent: str
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, latent: str, codes: Tensor) -> Domain:
        """Of codes of draws: (row, *dims)."""
        return cls(latent, codes.mean(0), codes.std(0, correction=0))

    def standard(self, codes: Tensor) -> Tensor:
        """In deviations from the mean: (row, *dims)."""
        moves = self.deviation > 0
        return torch.where(moves, (codes - self.mean) / self.deviation.where(moves, 1.0), 0.0)

    def codes(self, u: Tensor) -> Tensor:
        """The inverse of `standard`."""
        return self.mean + self.deviation * u

    def distance(self, codes: Tensor) -> Tensor:
        """From the mean, in deviations, the root of the mean square over coordinates: (row,). Of draws it is about 1."""
        return self.standard(codes).flatten(1).square().mean(1).sqrt()


@dataclass(frozen=True)
class Comparison:
    """What is compared with what is seen.

    degradation  of x
    unit         of x, in which its errors are squared
    features     a network of x, whose errors are added: (row, *event) -> (row, feature), in units in which they vary by about 1
    weight       of these
    """

    degradation: Degradation = whole
    unit: float = 1.0
    features: Callable[[Tensor], Tensor] | None = None
    weight: float = 0.02

    def residuals(self, x: Tensor, seen: Tensor, features: Tensor | None) -> list[Tensor]:
        """Whose squares add up to the error: the mean square of pixels, and `weight` times that of features."""
        found = [_mean_square((self.degradation(x) - seen) / self.unit)]
        if self.features is not None and features is not None:
            found.append(_mean_square(self.features(x) - features) * self.weight**0.5)
        return found


@dataclass(frozen=True)
class Held:
    """What keeps a code where an encoder is at home. encoder: x (row, *event) -> codes (row, *dims)."""

    encoder: Callable[[Tensor], Tensor]
    weight: float = 0.02


class Inverted(NamedTuple):
    """codes (row, *dims); x (row, *event) of them, without noise; error (row,) of what is seen, the mean square in units of x."""

    codes: Tensor
    x: Tensor
    error: Tensor


def invert(
    decode: Decode,
    seen: Tensor,
    domain: Domain,
    *,
    start: Tensor | None = None,
    rest: Mapping[str, Tensor] | None = None,
    comparison: Comparison = Comparison(),
    held: Held | None = None,
    prior: float = 0.0,
    search: Search = Search(),  # noqa: B008 (frozen)
) -> Inverted:
    """The code whose x, degraded, is nearest to what is seen, of each row.

    decode      of the generator, differentiable
    seen        (row, ...), what the degradation makes of x
    domain      of codes of draws
    start       codes that the search begins with, (row, *dims); None: the mean of draws
    rest        conditions, and other latents: (row, ...) each
    comparison  by which degradation, and in which units
    held        an encoder that codes are kept near to
    prior       weight of the mean square of codes in deviations (Bora, Jalal, Price & Dimakis 2017, section 5)
    search      how

    Errors: `InputError` for a degradation without a gradient or of another size.
    """
    rest = dict(rest or {})
    begin = domain.mean.expand(len(seen), *domain.mean.shape) if start is None else start
    shape = begin.shape

    def made(u: Tensor) -> tuple[Tensor, Tensor]:
        codes = domain.codes(u.reshape(shape))
        return codes, decode({**rest, domain.latent: codes}, "x")

    with torch.no_grad():
        x = made(domain.standard(begin).flatten(1))[1]
    _check(comparison.degradation, x, seen)
    features = _features(comparison, seen)

    def residuals(u: Tensor) -> Tensor:
        codes, x = made(u)
        found = comparison.residuals(x, seen, features)
        if held is not None:
            off = domain.standard(codes) - domain.standard(held.encoder(x))
            found.append(_mean_square(off) * held.weight**0.5)
        if prior:
            found.append(_mean_square(u) * prior**0.5)
        return torch.cat([r.to(u.dtype) for r in found], 1)

    u, _ = least_squares(residuals, domain.standard(begin).flatten(1), search)
    with torch.no_grad():
        codes, x = made(u)
    return Inverted(codes, x, _error(comparison, x, seen))


class Mixed(NamedTuple):
    """Several codes of a row.

    codes       (row, code, *dims)
    importance  of each channel of the place: (row, code, channel)
    top         the code that layers after the place are told: (row, *dims)
    x, error    as of `Inverted`
    """

    codes: Tensor
    importance: Tensor
    top: Tensor
    x: Tensor
    error: Tensor


def multi_code(
    decode: Decode,
    seen: Tensor,
    domain: Domain,
    place: str,
    starts: Tensor,
    *,
    top: Tensor | None = None,
    rest: Mapping[str, Tensor] | None = None,
    comparison: Comparison = Comparison(),
    search: Search = Search(),  # noqa: B008 (frozen)
) -> Mixed:
    """Several codes, mixed at a place with an importance of each channel and code (Gu et al. 2020, eq. 2):

        x = g2(sum_n g1(c_n) * a_n)

    Layers after the place that are told a code are told one more, `top`. The importance begins with 1 over the number of codes; it is
    searched for as 1 + v times that.

    place   after the latent: (channel, ...), as `maps8`
    starts  codes that the search begins with: (row, code, *dims)
    top     the same of the layers after the place; None: the mean of draws

    Other arguments and errors are those of `invert`.
    """
    rest = dict(rest or {})
    rows, n = starts.shape[:2]
    begin = domain.mean.expand(rows, *domain.mean.shape) if top is None else top
    many = {name: value.repeat_interleave(n, 0) for name, value in rest.items()}
    with torch.no_grad():
        maps = decode({**{k: v[:1] for k, v in rest.items()}, domain.latent: begin[:1]}, place)
    if maps.ndim < 2:
        raise InputError(f"place {place!r} has no channels to mix")
    channels, fine = maps.shape[1], (1,) * (maps.ndim - 2)
    dims = begin.shape[1:]
    sizes = [n * dims.numel(), n * channels, dims.numel()]

    def parts(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c, v, t = u.split(sizes, 1)
        codes = domain.codes(c.reshape(rows * n, *dims))
        return codes, (1 + v.reshape(rows, n, channels)) / n, domain.codes(t.reshape(rows, *dims))

    def made(u: Tensor) -> Tensor:
        codes, importance, last = parts(u)
        maps = decode({**many, domain.latent: codes}, place).unflatten(0, (rows, n))
        mixed = (maps * importance.reshape(*importance.shape, *fine).to(maps.dtype)).sum(1)
        return decode({**rest, domain.latent: last, place: mixed}, "x")

    start = torch.cat(
        [
            domain.standard(starts.flatten(0, 1)).reshape(rows, -1),
            starts.new_zeros(rows, sizes[1]),
            domain.standard(begin).flatten(1),
        ],
        1,
    )
    with torch.no_grad():
        x = made(start)
    _check(comparison.degradation, x, seen)
    features = _features(comparison, seen)
    u, _ = least_squares(
        lambda u: torch.cat([r.to(u.dtype) for r in comparison.residuals(made(u), seen, features)], 1),
        start,
        search,
    )
    with torch.no_grad():
        codes, importance, last = parts(u)
        x = made(u)
    return Mixed(codes.unflatten(0, (rows, n)), importance, last, x, _error(comparison, x, seen))


def _check(degradation: Degradation, x: Tensor, seen: Tensor) -> None:
    made = checked(degradation, x)
    if made.shape != seen.shape:
        raise InputError(
            f"what is seen is {' x '.join(map(str, seen.shape[1:]))} a row, and the degradation gives "
            f"{' x '.join(map(str, made.shape[1:]))} of the generator's x"
        )


@torch.no_grad()
def _features(comparison: Comparison, seen: Tensor) -> Tensor | None:
    """Of what is seen, where that is x."""
    if comparison.features is None:
        return None
    if comparison.degradation is not whole:
        raise InputError("features are of whole images: leave them out where x is degraded")
    return comparison.features(seen)


def _mean_square(r: Tensor) -> Tensor:
    """Residuals whose squares add up to their mean square: (row, n)."""
    r = r.flatten(1)
    return r / r.shape[1] ** 0.5


@torch.no_grad()
def _error(comparison: Comparison, x: Tensor, seen: Tensor) -> Tensor:
    return ((comparison.degradation(x) - seen) / comparison.unit).flatten(1).square().mean(1)
