"""Inversion of a generator: the codes with the x that, after degradation, is nearest to an observed image.

    c* = argmin_c |D(g(c)) - seen|^2 + f |F(g(c)) - F(seen)|^2 + w |c - E(g(c))|^2                (Zhu et al. 2020, eq. 3)

D is the degradation of x before it was observed: the identity, a mask, a lower resolution. F are features of a network for
complete images. E is an encoder; its term keeps codes close to the codes that the encoder returns. `multi_code` mixes
several codes at a place of the generator (Gu et al. 2020, eq. 2). All functions use `decode(start, until)` and treat each
row on its own. A code is the best result of a search, and not a sample from p(z given x).
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
TOGETHER = 256 << 20  # bytes of memory for the rows that are searched together
SECOND = 3  # second derivatives need about this many times the memory


@dataclass(frozen=True)
class Domain:
    """The distribution of codes: mean and standard deviation of each coordinate over samples of the generator.

    Codes are searched in units of these standard deviations.

    Args:
        latent: Name of a latent or a place of the generator.
        mean: Mean over samples, (*dims).
        deviation: Standard deviation over samples, (*dims). A coordinate with the deviation 0 is not changed.
    """

    latent: str
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, latent: str, codes: Tensor) -> Domain:
        """Return the domain of the codes of samples.

        Args:
            latent: Name of a latent or a place of the generator.
            codes: Codes of samples, (row, *dims).

        Returns:
            The domain.
        """
        return cls(latent, codes.mean(0), codes.std(0, correction=0))

    def standard(self, codes: Tensor) -> Tensor:
        """Return codes in standard deviations from the mean.

        Args:
            codes: Codes, (row, *dims).

        Returns:
            Standardized codes, (row, *dims).
        """
        moves = self.deviation > 0
        return torch.where(moves, (codes - self.mean) / self.deviation.where(moves, 1.0), 0.0)

    def codes(self, u: Tensor) -> Tensor:
        """Return the codes for standardized codes; the inverse of `standard`.

        Args:
            u: Standardized codes, (row, *dims).

        Returns:
            Codes, (row, *dims).
        """
        return self.mean + self.deviation * u

    def distance(self, codes: Tensor) -> Tensor:
        """Return the distance of codes from the mean; it is about 1 for samples.

        Args:
            codes: Codes, (row, *dims).

        Returns:
            Root mean square of the standardized coordinates, (row,).
        """
        return self.standard(codes).flatten(1).square().mean(1).sqrt()


@dataclass(frozen=True)
class Comparison:
    """The comparison of the generator's x with the observed image.

    Args:
        degradation: Degradation of x before the comparison.
        unit: Unit of x; errors are divided by it before they are squared.
        features: A network from x, (row, *event), to features, (row, feature), with standard deviations of about 1. The
            errors of the features are added. None for no features.
        feature_weight: Weight of the mean squared error of the features.
    """

    degradation: Degradation = whole
    unit: float = 1.0
    features: Callable[[Tensor], Tensor] | None = None
    feature_weight: float = 0.02

    def residuals(self, x: Tensor, seen: Tensor, features: Tensor | None) -> list[Tensor]:
        """Return the residuals, with squares that sum to the error.

        The error is the mean squared error of the known pixels, plus `feature_weight` times the mean squared error of the
        features.

        Args:
            x: Output of the generator, (row, *event).
            seen: Observed image, (row, ...), with NaN for unknown pixels.
            features: Features of the observed image, (row, feature), or None.

        Returns:
            A list of residuals, (row, residual) each.
        """
        known = ~seen.isnan()
        off = torch.where(known, (self.degradation(x) - seen) / self.unit, 0.0).flatten(1)
        found = [off / known.flatten(1).sum(1, keepdim=True).clamp(min=1).double().sqrt()]
        if self.features is not None and features is not None:
            found.append(_mean_square(self.features(x) - features) * self.feature_weight**0.5)
        return found

    def error(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the mean squared error of the known pixels.

        Args:
            x: Output of the generator, (row, *event).
            seen: Observed image, (row, ...), with NaN for unknown pixels.

        Returns:
            Errors, (row,), in squares of `unit`.
        """
        return self.residuals(x, seen, None)[0].double().square().sum(1)


@dataclass(frozen=True)
class Held:
    """A penalty on the distance between a code and the code that an encoder returns for its x.

    Args:
        encoder: A function from x, (row, *event), and the other inputs of these rows to codes, (row, *dims).
        weight: Weight of the mean squared distance, in standard deviations.
    """

    encoder: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    weight: float = 0.02


class Inverted(NamedTuple):
    """The results of `invert`.

    Attributes:
        codes: Codes, (row, *dims).
        x: Output of the generator for these codes, without noise, (row, *event).
        error: Mean squared error of the known pixels, (row,), in squares of the comparison's `unit`.
        objective: Minimized objective, (row,): the error plus the weighted terms.
    """

    codes: Tensor
    x: Tensor
    error: Tensor
    objective: Tensor


class Mixed(NamedTuple):
    """The results of `multi_code`.

    Attributes:
        codes: Codes, (row, code, *dims).
        importance: Importance of each code for each channel of the place, (row, code, channel).
        top: Code of the layers after the place, (row, *dims).
        x: Output of the generator, without noise, (row, *event).
        error: Mean squared error of the known pixels, (row,), in squares of the comparison's `unit`.
        objective: Minimized objective, (row,): the error plus the weighted terms.
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
    """Return, for each row, the code with the x that, after degradation, is nearest to the observed image.

    Args:
        decode: Decoder of the generator, `decode(latents, until)`, differentiable.
        seen: Observed images, (row, ...), of the size that the degradation returns; NaN for unknown pixels.
        domain: Distribution of the codes.
        start: Codes at the start of the search, (row, *dims); None for the mean of the domain.
        rest: Conditions and other latents by name, (row, ...) each.
        comparison: Degradation, unit and features.
        held: An encoder to which the codes are kept close; None for no such term.
        prior: Weight of the mean square of the standardized codes (Bora, Jalal, Price & Dimakis 2017, section 5).
        search: Method and length of the search.
        at_once: Rows in memory at a time; None for about 256 MiB.

    Returns:
        Codes, outputs, errors and objectives.

    Raises:
        InputError: When there are no rows, a weight is negative, `at_once` is below 1, or features are used with a
            degradation or unknown pixels. Also when the degradation has no gradient, returns another size than `seen`, or
            returns NaN for a known pixel.
    """
    if prior < 0 or (held is not None and held.weight < 0):
        raise InputError(
            "the weights of the prior and of the encoder must be at least 0. Use 0 to leave a term out."
        )
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
    """Return several codes per row, mixed at a place with an importance per channel and code (Gu et al. 2020, eq. 2).

        x = g2(sum_n g1(c_n) * a_n)

    Layers after the place that receive a code receive another one, `top`. The importance starts at 1 over the number of
    codes and is searched in this unit.

    Args:
        decode: Decoder of the generator, `decode(latents, until)`, differentiable.
        seen: Observed images, (row, ...), of the size that the degradation returns; NaN for unknown pixels.
        domain: Distribution of the codes.
        place: A place after the latent with values (channel, ...), such as `maps8`.
        starts: Codes at the start of the search, (row, code, *dims).
        top: Code of the layers after the place at the start, (row, *dims); None for the mean of the domain.
        rest: Conditions and other latents by name, (row, ...) each.
        comparison: Degradation, unit and features.
        search: Method and length of the search.
        at_once: Rows in memory at a time; None for about 256 MiB.

    Returns:
        Codes, importances, outputs, errors and objectives.

    Raises:
        InputError: When the place has no channels, there are no rows, `at_once` is below 1, or features are used with a
            degradation or unknown pixels. Also when the degradation has no gradient, returns another size than `seen`, or
            returns NaN for a known pixel.
    """
    n, dims = starts.shape[1], domain.mean.shape
    begin = domain.mean.expand(len(seen), *dims) if top is None else top
    one = {name: value[:1] for name, value in (rest or {}).items()}
    with torch.no_grad():
        maps = decode({**one, domain.latent: begin[:1]}, place)
    if maps.ndim < 2:
        raise InputError(
            f"place = {place!r}: the place has no channels to mix. Choose a place with maps of shape (channel, ...)."
        )
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
    """The search problem of some rows.

    Attributes:
        start: Unknowns at the start, (row, unknown).
        made: A function from the unknowns to the results, with x as the last one.
        residuals: A function from the unknowns to the residuals, (row, residual).
    """

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
    """Return the results of the best unknowns, the errors and the objectives, for parts of the rows that fit in memory."""
    if not len(seen):
        raise InputError("seen has no rows. Pass at least one row.")
    one = problem(slice(0, 1))
    with torch.no_grad():
        x = one.made(one.start)[-1]
    given = checked(comparison.degradation, x)
    if given.shape[1:] != seen.shape[1:]:
        raise InputError(
            f"seen is {' x '.join(map(str, seen.shape[1:]))} per row, but the degradation returns "
            f"{' x '.join(map(str, given.shape[1:]))} for x of the generator. Use the degradation that made seen."
        )
    if (given.isnan() & ~seen[:1].isnan()).any():
        raise InputError(
            "the degradation returns NaN for pixels that are known in seen. Set these pixels of seen to NaN."
        )
    if at_once is not None and at_once < 1:
        raise InputError(f"at_once = {at_once}: at least 1 row is needed. Use None for the default.")
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
    """Return the features of the observed images, or raise an `InputError` if the images are degraded."""
    if comparison.features is None:
        return None
    if comparison.degradation is not whole or seen.isnan().any():
        raise InputError("features are of whole images, but x is degraded. Leave the features out.")
    with torch.no_grad():
        return comparison.features(seen)


def _memory_of_row(problem: Callable[[Rows], Problem], search: Search) -> int:
    """Return about how many bytes the gradient of one row needs, without weights: those of two rows minus those of one."""

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
    """Return codes at which a search may start: the mean code of the k samples that are nearest to the observed image.

    Args:
        seen: Observed images, (row, ...), with NaN for unknown pixels.
        codes: Codes of samples, (sample, *dims).
        x: Outputs of the generator for these codes, (sample, *event).
        degradation: Degradation of x before the comparison.
        k: Number of nearest samples.

    Returns:
        Codes, (row, *dims).
    """
    with torch.no_grad():
        known = ~seen.isnan().flatten(1)
        a, b = seen.flatten(1).double().nan_to_num(), degradation(x).flatten(1).double().nan_to_num()
        distance = known.to(b) @ b.square().T - 2 * a @ b.T  # up to a term that is equal for all samples
        found = distance.topk(min(k, len(codes)), largest=False).indices
        return codes[found].mean(1)


def memory_of_codes(decode: Decode, domain: Domain, rest: Mapping[str, Tensor], codes: int) -> int:
    """Return about how many bytes the gradient of several codes of one row needs.

    Args:
        decode: Decoder of the generator, `decode(latents, until)`.
        domain: Distribution of the codes.
        rest: Conditions and other latents by name, (row, ...) each.
        codes: Number of codes per row.

    Returns:
        Memory, in bytes.
    """
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
    """Return residuals, (row, n), divided by sqrt(n), so that their squares sum to the mean square."""
    r = r.flatten(1)
    return r / r.shape[1] ** 0.5
