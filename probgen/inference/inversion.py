"""Codes of what is seen: the latents of a generator whose x, degraded as it was, is nearest to it.

    c* = argmin_c |D(g(c)) - seen|^2 + f |F(g(c)) - F(seen)|^2 + w |c - E(g(c))|^2                (Zhu et al. 2020, eq. 3)

D is what happened to x before it was seen: nothing, a mask, fewer pixels. F are features of a network, of whole images. E is an encoder, and its term keeps a code where the
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
TOGETHER = 256 << 20  # bytes, of rows that are searched for together
SECOND = 3  # times as much is kept for second derivatives, about


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
    feature_weight  of the mean square of these
    """

    degradation: Degradation = whole
    unit: float = 1.0
    features: Callable[[Tensor], Tensor] | None = None
    feature_weight: float = 0.02

    def residuals(self, x: Tensor, seen: Tensor, features: Tensor | None) -> list[Tensor]:
        """Whose squares add up to the error: the mean square of pixels that are known, and `feature_weight` times that of features."""
        known = ~seen.isnan()
        off = torch.where(known, (self.degradation(x) - seen) / self.unit, 0.0).flatten(1)
        found = [off / known.flatten(1).sum(1, keepdim=True).clamp(min=1).double().sqrt()]
        if self.features is not None and features is not None:
            found.append(_mean_square(self.features(x) - features) * self.feature_weight**0.5)
        return found

    def error(self, x: Tensor, seen: Tensor) -> Tensor:
        """The mean square of what is known, in units of x squared: (row,)."""
        return self.residuals(x, seen, None)[0].double().square().sum(1)


@dataclass(frozen=True)
class Held:
    """What keeps a code where an encoder is at home.

    encoder  x (row, *event), and what else is known of these rows -> codes (row, *dims)
    """

    encoder: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    weight: float = 0.02


class Inverted(NamedTuple):
    """What was found of each row.

    codes  (row, *dims)
    x      of them, without noise: (row, *event)
    error  the mean square of what is known, in units of x squared: (row,)
    objective  what was minimized: the error, and what is added to it by weights: (row,)
    """

    codes: Tensor
    x: Tensor
    error: Tensor
    objective: Tensor


class Mixed(NamedTuple):
    """Several codes of each row.

    codes       (row, code, *dims)
    importance  of each channel of the place: (row, code, channel)
    top         the code that layers after the place are told: (row, *dims)
    x, error, objective  as of `Inverted`
    """

    codes: Tensor
    importance: Tensor
    top: Tensor
    x: Tensor
    error: Tensor
    objective: Tensor


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
    at_once: int | None = None,
) -> Inverted:
    """The code whose x, degraded, is nearest to what is seen, of each row.

    decode      of the generator, differentiable
    seen        (row, ...), what the degradation makes of x; NaN where nothing is known
    domain      of codes of draws
    start       codes that the search begins with, (row, *dims); None: the mean of draws
    rest        conditions, and other latents: (row, ...) each
    comparison  by which degradation, and in which units
    held        an encoder that codes are kept near to
    prior       weight of the mean square of codes in deviations (Bora, Jalal, Price & Dimakis 2017, section 5)
    search      how
    at_once     rows in memory together; None: as many as need about 256 MiB

    Errors: `InputError` for a degradation without a gradient, or whose result is not of the size of what is seen.
    """
    if prior < 0 or (held is not None and held.weight < 0):
        raise InputError("weights of a prior and of an encoder must be at least 0")
    rest = rest or {}
    begin = domain.mean.expand(len(seen), *domain.mean.shape) if start is None else start

    def problem(rows: Rows) -> Problem:
        known, target = {name: value[rows] for name, value in rest.items()}, seen[rows]
        shape = begin[rows].shape
        features = _features(comparison, target)

        def made(u: Tensor) -> tuple[Tensor, ...]:
            codes = domain.codes(u.reshape(shape))
            return codes, decode({**known, domain.latent: codes}, "x")

        def residuals(u: Tensor) -> Tensor:
            codes, x = made(u)
            found = comparison.residuals(x, target, features)
            if held is not None:
                off = domain.standard(codes) - domain.standard(held.encoder(x, known))
                found.append(_mean_square(off) * held.weight**0.5)
            if prior:
                found.append(_mean_square(domain.standard(codes)) * prior**0.5)
            return torch.cat([r.to(u.dtype) for r in found], 1)

        return Problem(domain.standard(begin[rows]).flatten(1), made, residuals)

    return Inverted(*_solved(problem, seen, comparison, search, at_once))


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
    at_once: int | None = None,
) -> Mixed:
    """Several codes, mixed at a place with an importance of each channel and code (Gu et al. 2020, eq. 2):

        x = g2(sum_n g1(c_n) * a_n)

    Layers after the place that are told a code are told one more, `top`. The importance begins with 1 over the number of codes, and is
    searched for in units of that.

    place   after the latent: (channel, ...), as `maps8`
    starts  codes that the search begins with: (row, code, *dims)
    top     the same of the layers after the place; None: the mean of draws

    Other arguments and errors are those of `invert`.
    """
    n, dims = starts.shape[1], domain.mean.shape
    begin = domain.mean.expand(len(seen), *dims) if top is None else top
    one = {name: value[:1] for name, value in (rest or {}).items()}
    with torch.no_grad():
        maps = decode({**one, domain.latent: begin[:1]}, place)
    if maps.ndim < 2:
        raise InputError(f"place {place!r} has no channels to mix")
    channels, fine = maps.shape[1], (1,) * (maps.ndim - 2)
    sizes = [n * dims.numel(), n * channels, dims.numel()]

    def parts(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c, v, t = u.split(sizes, 1)
        importance = (1 + v.unflatten(1, (n, channels))) / n
        return domain.codes(c.unflatten(1, (n, *dims))), importance, domain.codes(t.unflatten(1, dims))

    def problem(rows: Rows) -> Problem:
        known, target = {name: value[rows] for name, value in (rest or {}).items()}, seen[rows]
        many = {name: value.repeat_interleave(n, 0) for name, value in known.items()}
        features = _features(comparison, target)

        def made(u: Tensor) -> tuple[Tensor, ...]:
            codes, importance, last = parts(u)
            maps = decode({**many, domain.latent: codes.flatten(0, 1)}, place).unflatten(0, (len(u), n))
            mixed = (maps * importance.reshape(*importance.shape, *fine).to(maps.dtype)).sum(1)
            return codes, importance, last, decode({**known, domain.latent: last, place: mixed}, "x")

        def residuals(u: Tensor) -> Tensor:
            found = comparison.residuals(made(u)[-1], target, features)
            return torch.cat([r.to(u.dtype) for r in found], 1)

        codes = domain.standard(starts[rows].flatten(0, 1)).reshape(len(target), -1)
        start = [codes, codes.new_zeros(len(target), sizes[1]), domain.standard(begin[rows]).flatten(1)]
        return Problem(torch.cat(start, 1), made, residuals)

    return Mixed(*_solved(problem, seen, comparison, search, at_once))


Rows = slice | Tensor


class Problem(NamedTuple):
    """What is searched for, of some rows: where from, (row, unknown); what is made of it, x last; and residuals."""

    start: Tensor
    made: Callable[[Tensor], tuple[Tensor, ...]]
    residuals: Callable[[Tensor], Tensor]


def _solved(
    problem: Callable[[Rows], Problem],
    seen: Tensor,
    comparison: Comparison,
    search: Search,
    at_once: int | None,
) -> list[Tensor]:
    """What is made of the best unknowns of each row, its error and its objective; of as many rows at a time as memory is for."""
    if not len(seen):
        raise InputError("there are no rows")
    one = problem(slice(0, 1))
    with torch.no_grad():
        x = one.made(one.start)[-1]
    given = checked(comparison.degradation, x)
    if given.shape[1:] != seen.shape[1:]:
        raise InputError(
            f"what is seen is {' x '.join(map(str, seen.shape[1:]))} a row, and the degradation gives "
            f"{' x '.join(map(str, given.shape[1:]))} of the generator's x"
        )
    if (given.isnan() & ~seen[:1].isnan()).any():
        raise InputError(
            "the degradation gives NaN, nothing is known, where something is seen: mask what is seen as well"
        )
    if at_once is not None and at_once < 1:
        raise InputError(f"at_once = {at_once}: at least 1 row is needed")
    size = at_once or max(1, TOGETHER // _memory_of_row(problem, search))
    found = []
    for first in range(0, len(seen), size):
        rows = slice(first, first + size)
        some = problem(rows)
        u, objective = least_squares(some.residuals, some.start, search, first)
        with torch.no_grad():
            made = some.made(u)
            found.append((*made, comparison.error(made[-1], seen[rows]), objective))
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _features(comparison: Comparison, seen: Tensor) -> Tensor | None:
    """Of what is seen, where that is x. Errors: `InputError`."""
    if comparison.features is None:
        return None
    if comparison.degradation is not whole or seen.isnan().any():
        raise InputError("features are of whole images: leave them out where x is degraded")
    with torch.no_grad():
        return comparison.features(seen)


def _memory_of_row(problem: Callable[[Rows], Problem], search: Search) -> int:
    """Bytes that are kept for the gradient of one row, about: weights, which are in those of two rows as well, left out."""

    def kept(rows: int) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        some = problem(torch.zeros(rows, dtype=torch.long))
        u = some.start.detach().clone().requires_grad_(True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            alive = some.residuals(u)
        del alive
        return sum(storages.values())

    return max(1, kept(2) - kept(1)) * (SECOND if search.method == "gauss-newton" else 1)


def nearest(seen: Tensor, codes: Tensor, x: Tensor, degradation: Degradation, k: int = 3) -> Tensor:
    """Where a search may begin: the mean of the codes of the k draws whose x, degraded, is nearest to what is seen: (row, *dims).

    seen   (row, ...), NaN where nothing is known
    codes  of draws, (draw, *dims); x of them, (draw, *event)
    """
    with torch.no_grad():
        known = ~seen.isnan().flatten(1)
        a, b = seen.flatten(1).double().nan_to_num(), degradation(x).flatten(1).double().nan_to_num()
        distance = known.to(b) @ b.square().T - 2 * a @ b.T  # and a part that is the same for all draws
        found = distance.topk(min(k, len(codes)), largest=False).indices
        return codes[found].mean(1)


def memory_of_codes(decode: Decode, domain: Domain, rest: Mapping[str, Tensor], codes: int) -> int:
    """Bytes that are kept for the gradient to so many codes of one row, about."""
    like = {name: value[:1] for name, value in rest.items()}

    def problem(rows: Rows) -> Problem:
        start = domain.mean[None][rows]
        known = {name: value[rows] for name, value in like.items()}
        return Problem(
            start.flatten(1),
            lambda u: (u,),
            lambda u: decode({**known, domain.latent: u.reshape(start.shape)}, "x"),
        )

    return codes * _memory_of_row(problem, Search())


def _mean_square(r: Tensor) -> Tensor:
    """Residuals whose squares add up to their mean square: (row, n)."""
    r = r.flatten(1)
    return r / r.shape[1] ** 0.5
