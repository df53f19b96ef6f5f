"""Sites: the distribution of one coordinate (a pixel, a feature) from the outputs of a network.

A site is a plain value. It needs `size` outputs of the network, and gives `features` input features to the network.
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
    """The protocol of a site; any class with these members is a site."""

    @property
    def size(self) -> int:
        """Number of network outputs per site."""
        ...

    @property
    def features(self) -> int:
        """Number of input features that encode one value for the network."""
        ...

    @property
    def levels(self) -> int | None:
        """Number of possible values, 0 .. levels - 1; None for real numbers and unbounded counts."""
        ...

    @property
    def support(self) -> Any:
        """Constraint on the values (`torch.distributions.constraints`)."""
        ...

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the values; None for the dtype of the network."""
        ...

    @property
    def softmax(self) -> bool:
        """Whether p is the softmax of the outputs; `log_prob_of` then uses the cross-entropy."""
        ...

    @property
    def one_hot(self) -> bool:
        """Whether `encode` is one-hot; a network may then use an embedding instead."""
        ...

    def p(self, numbers: Tensor) -> Any:
        """Return the distribution of the site.

        Args:
            numbers: Outputs of the network, (..., size).

        Returns:
            A distribution of batch shape (...) and event shape ().
        """

    def mean(self, p: Any) -> Tensor:
        """Return the mean of a distribution of this site.

        Args:
            p: A distribution that the method `p` returned.

        Returns:
            Means, in the batch shape of the distribution.
        """

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return values as input features of the network.

        Args:
            x: Values, (...).
            dtype: The dtype of the features.

        Returns:
            Features, (..., features).
        """


class _Number:
    """The common base of sites that give their value to the network as one number."""

    features = 1
    dtype = None
    softmax = one_hot = False

    def mean(self, p: Any) -> Tensor:
        """Return the mean of a distribution that `p` returned, in its batch shape."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return values, (...), as one feature each, (..., 1)."""
        return x[..., None].to(dtype)


@dataclass(frozen=True)
class Bernoulli(_Number):
    """A site x in {0, 1}; the network returns one logit."""

    size = 1
    levels = 2
    support = constraints.boolean

    def p(self, numbers: Tensor) -> Any:
        """Return Bernoulli(sigmoid(logit)) of batch shape (...), for outputs of shape (..., 1)."""
        return dist.Bernoulli(logits=numbers.squeeze(-1))


@dataclass(frozen=True)
class Categorical:
    """A site x in {0, .., levels - 1}; the network returns one logit per level and receives x as one-hot.

    Args:
        levels: Number of levels.
    """

    levels: int
    dtype = torch.int64
    softmax = one_hot = True

    @property
    def size(self) -> int:
        """Network outputs: one logit per level."""
        return self.levels

    @property
    def features(self) -> int:
        """Input features: one per level (one-hot)."""
        return self.levels

    @property
    def support(self) -> Any:
        """The integers 0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def p(self, numbers: Tensor) -> Any:
        """Return Categorical(softmax(logits)) of batch shape (...), for logits of shape (..., levels)."""
        return dist.Categorical(logits=numbers)

    def mean(self, p: Any) -> Tensor:
        """Return the mean level of a distribution that `p` returned, in its batch shape."""
        return p.probs @ torch.arange(self.levels, dtype=p.probs.dtype, device=p.probs.device)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return levels, (...), as one-hot vectors, (..., levels)."""
        return nn.functional.one_hot(x.long(), self.levels).to(dtype)


@dataclass(frozen=True)
class Ordinal(Categorical):
    """A site x in {0, .., levels - 1}; the network returns one logit per level and receives x as one number.

    Args:
        levels: Number of levels.
    """

    one_hot = False

    @property
    def features(self) -> int:
        """Input features: one number."""
        return 1

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return levels, (...), as numbers from -1 (lowest) to 1 (highest), (..., 1)."""
        return _between(x, self.levels, dtype)


@dataclass(frozen=True)
class Logistic:
    """A site x in {0, .., levels - 1} with a discretized logistic distribution.

    The network returns a location and a scale (before a softplus) on [-1, 1], and receives x on [-1, 1].

    Args:
        levels: Number of levels.
    """

    levels: int
    size = 2
    features = 1
    dtype = None
    softmax = one_hot = False

    @property
    def support(self) -> Any:
        """The integers 0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def p(self, numbers: Tensor) -> Any:
        """Return DiscretizedLogistic(mu, s), in levels, of batch shape (...), for outputs of shape (..., 2)."""
        mu, s = numbers.unbind(-1)
        return _logistic(mu, s, self.levels)

    def mean(self, p: Any) -> Tensor:
        """Return the mean of a distribution that `p` returned, in its batch shape."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return levels, (...), as numbers from -1 (lowest) to 1 (highest), (..., 1)."""
        return _between(x, self.levels, dtype)


@dataclass(frozen=True)
class LogisticMixture(Logistic):
    """A site x in {0, .., levels - 1} with a mixture of discretized logistics (Salimans et al. 2017, eq. 2).

    The network returns logits of the weights, locations and scales (before a softplus), and receives x on [-1, 1].

    Args:
        levels: Number of levels.
        components: Number of components.
    """

    components: int

    @property
    def size(self) -> int:  # type: ignore[override]  # a constant in Logistic
        """Network outputs: three per component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """Return sum_k softmax(logits)_k DiscretizedLogistic(mu_k, s_k), for outputs of shape (..., size)."""
        logits, mu, s = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), _logistic(mu, s, self.levels))


@dataclass(frozen=True)
class Normal(_Number):
    """A real site; the network returns the mean and s, with the standard deviation softplus(s) + 1e-3."""

    size = 2
    levels = None
    support = constraints.real

    def p(self, numbers: Tensor) -> Any:
        """Return Normal(mu, sigma) of batch shape (...), for outputs of shape (..., 2)."""
        mu, s = numbers.unbind(-1)
        return dist.Normal(mu, _scale(s))


@dataclass(frozen=True)
class NormalMixture(_Number):
    """A real site with a mixture of K normals (RNADE: Uria et al. 2013, eq. 6).

    The network returns logits of the weights, means, and s_k with the standard deviations softplus(s_k) + 1e-3.

    Args:
        components: Number of components K.
    """

    components: int
    levels = None
    support = constraints.real

    @property
    def size(self) -> int:
        """Network outputs: three per component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """Return sum_k softmax(logits)_k Normal(mu_k, sigma_k), for outputs of shape (..., size)."""
        logits, mu, s = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(mu, _scale(s)))


@dataclass(frozen=True)
class Counts:
    """A site x in {0, 1, 2, ...} with a mixture of K negative binomials.

    The network returns logits of the weights, logarithms of the means and logarithms of the sizes. It receives log(1 + x).

    Args:
        components: Number of components K.
    """

    components: int = 1
    features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.nonnegative_integer

    @property
    def size(self) -> int:
        """Network outputs: three per component."""
        return 3 * self.components

    def p(self, numbers: Tensor) -> Any:
        """Return sum_k softmax(logits)_k NegativeBinomial(exp(a_k), exp(s_k)), of means exp(a_k), sizes exp(s_k)."""
        logits, log_m, log_r = numbers.unflatten(-1, (3, self.components)).unbind(-2)
        return NegativeBinomialMixture(logits, log_m, log_r, validate_args=False)

    def mean(self, p: Any) -> Tensor:
        """Return the mean of a distribution that `p` returned, in its batch shape."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return log(1 + x), (..., 1), of counts x, (...)."""
        return torch.log1p(x[..., None]).to(dtype)


def _scale(s: Tensor) -> Tensor:
    """Return softplus(s) + 1e-3.

    The minimum keeps a density from a spike at repeated values, for data of about unit scale.
    """
    return nn.functional.softplus(s) + 1e-3


def _logistic(mu: Tensor, s: Tensor, levels: int) -> DiscretizedLogistic:
    """Return a discretized logistic for a location and a scale (before its softplus) on [-1, 1]."""
    half = (levels - 1) / 2
    return DiscretizedLogistic(half * (1 + mu), half * _scale(s), levels)


def _between(x: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Return levels, (...), as numbers between -1 and 1, (..., 1)."""
    return (x[..., None] * (2 / max(1, levels - 1)) - 1).to(dtype)


def log_prob_of(site: Site, numbers: Tensor, x: Tensor) -> Tensor:
    """Return log p of values.

    For a softmax site, the cross-entropy avoids a separate normalization of all logits.

    Args:
        site: The site.
        numbers: Outputs of the network, (..., size).
        x: Values, (...).

    Returns:
        Log-probabilities, (...), in nats.
    """
    if not site.softmax:
        found: Tensor = site.p(numbers).log_prob(x)
        return found
    x = x.long()
    if numbers.dim() > 2 and numbers.stride(-1) != 1:  # logits of convolutions: (row, size, ..) in memory
        return -nn.functional.cross_entropy(numbers.movedim(-1, 1), x, reduction="none")
    return -nn.functional.cross_entropy(numbers.flatten(0, -2), x.flatten(), reduction="none").reshape(
        x.shape
    )
