"""What one site (a pixel, a feature) may be: from the numbers of a network to a distribution.

A site is a plain value. `size` is how many numbers it takes from the network, `features` how many it gives to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.distributions.counts import NegativeBinomialMixture
from probgen.distributions.discretized_logistic import DiscretizedLogistic


class Site(Protocol):
    """One site; any class with these members will do.

    size      numbers that the network gives for it
    features  numbers in which the network is told its value
    levels    how many values it may take, 0 .. levels - 1; None for reals
    support   of its values
    dtype     of its values; None is that of the network
    softmax   whether p is the softmax of the numbers, which are then scored in one pass
    one_hot   whether the network is told the value as one-hot, which is then looked up
    """

    @property
    def size(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def levels(self) -> int | None: ...
    @property
    def support(self) -> Any: ...
    @property
    def dtype(self) -> torch.dtype | None: ...
    @property
    def softmax(self) -> bool: ...
    @property
    def one_hot(self) -> bool: ...

    def p(self, numbers: Tensor) -> Any:
        """The distribution of the site: (..., size) -> batch shape (...)."""

    def mean(self, p: Any) -> Tensor:
        """The mean of such a distribution: its batch shape."""

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Values as a network is told them: (...) -> (..., features)."""


class _Number:
    """What sites share whose value is told to the network as the number that it is."""

    features = 1
    dtype = None
    softmax = one_hot = False

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The number itself."""
        return x[..., None].to(dtype)


@dataclass(frozen=True)
class Bernoulli(_Number):
    """x in {0, 1}, of a logit."""

    size = 1
    levels = 2
    support = constraints.boolean

    def p(self, numbers: Tensor) -> Any:
        """Bernoulli(sigmoid(logit))."""
        return dist.Bernoulli(logits=numbers.squeeze(-1))


@dataclass(frozen=True)
class Categorical:
    """x in {0, .., levels - 1}, of a logit for each level."""

    levels: int
    dtype = torch.int64
    softmax = one_hot = True

    @property
    def size(self) -> int:
        """One logit a level."""
        return self.levels

    @property
    def features(self) -> int:
        """One-hot."""
        return self.levels

    @property
    def support(self) -> Any:
        """0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def p(self, numbers: Tensor) -> Any:
        """Categorical(softmax(logits))."""
        return dist.Categorical(logits=numbers)

    def mean(self, p: Any) -> Tensor:
        """The mean level."""
        return p.probs @ torch.arange(self.levels, dtype=p.probs.dtype, device=p.probs.device)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """One-hot."""
        return nn.functional.one_hot(x.long(), self.levels).to(dtype)


@dataclass(frozen=True)
class Ordinal(Categorical):
    """x in {0, .., levels - 1}, of a logit for each level, told to the network as one number."""

    one_hot = False

    @property
    def features(self) -> int:
        """One number."""
        return 1

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """From -1 for the lowest level to 1 for the highest."""
        return _between(x, self.levels, dtype)


@dataclass(frozen=True)
class Logistic:
    """x in {0, .., levels - 1}, a discretized logistic of a location and a scale; told and foretold on [-1, 1]."""

    levels: int
    size = 2
    features = 1
    dtype = None
    softmax = one_hot = False

    @property
    def support(self) -> Any:
        """0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def p(self, numbers: Tensor) -> Any:
        """DiscretizedLogistic(mu, s)."""
        mu, s = numbers.unbind(-1)
        return _logistic(mu, s, self.levels)

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """From -1 for the lowest level to 1 for the highest."""
        return _between(x, self.levels, dtype)


@dataclass(frozen=True)
class LogisticMixture(Logistic):
    """x in {0, .., levels - 1}, of the weights, locations and scales of discretized logistics (Salimans et al. 2017, eq. 2)."""

    components: int

    @property
    def size(self) -> int:  # type: ignore[override]  # a constant in Logistic
        """Three numbers a component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """sum_k softmax(logits)_k DiscretizedLogistic(mu_k, s_k)."""
        logits, mu, s = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), _logistic(mu, s, self.levels))


@dataclass(frozen=True)
class Normal(_Number):
    """x real, of a mean and a standard deviation, the latter through a softplus and above 1e-3."""

    size = 2
    levels = None
    support = constraints.real

    def p(self, numbers: Tensor) -> Any:
        """Normal(mu, sigma)."""
        mu, s = numbers.unbind(-1)
        return dist.Normal(mu, _scale(s))


@dataclass(frozen=True)
class NormalMixture(_Number):
    """x real, of the weights, means and standard deviations of K normals (RNADE: Uria et al. 2013, eq. 6)."""

    components: int
    levels = None
    support = constraints.real

    @property
    def size(self) -> int:
        """Three numbers a component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """sum_k softmax(logits)_k Normal(mu_k, sigma_k)."""
        logits, mu, s = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(mu, _scale(s)))


@dataclass(frozen=True)
class Counts:
    """x in {0, 1, 2, ...}, of the weights, means and sizes of K negative binomials; told to the network as log(1 + x)."""

    components: int = 1
    features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.nonnegative_integer

    @property
    def size(self) -> int:
        """Three numbers a component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """sum_k softmax(logits)_k NegativeBinomial(exp(a_k), exp(s_k))."""
        logits, log_m, log_r = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return NegativeBinomialMixture(logits, log_m, log_r, validate_args=False)

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """log(1 + x)."""
        return torch.log1p(x[..., None]).to(dtype)


def _scale(s: Tensor) -> Tensor:
    """softplus(s) + 1e-3: a density must not spike on repeated values, in data of about unit scale."""
    return nn.functional.softplus(s) + 1e-3


def _logistic(mu: Tensor, s: Tensor, levels: int) -> DiscretizedLogistic:
    """Of a location and a scale on [-1, 1], the latter before its softplus."""
    half = (levels - 1) / 2
    return DiscretizedLogistic(half * (1 + mu), half * _scale(s), levels)


def _between(x: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Levels as numbers between -1 and 1: (...) -> (..., 1)."""
    return (x[..., None] * (2 / max(1, levels - 1)) - 1).to(dtype)


def log_prob_of(site: Site, numbers: Tensor, x: Tensor) -> Tensor:
    """log p of values: (..., size), (...) -> (...). Of a softmax in one pass, where its distribution would first normalize all logits."""
    if not site.softmax:
        found: Tensor = site.p(numbers).log_prob(x)
        return found
    x = x.long()
    if numbers.dim() > 2 and numbers.stride(-1) != 1:  # logits of convolutions: (row, size, ..) as they lie
        return -nn.functional.cross_entropy(numbers.movedim(-1, 1), x, reduction="none")
    return -nn.functional.cross_entropy(numbers.flatten(0, -2), x.flatten(), reduction="none").reshape(
        x.shape
    )
