"""Values of x as numbers y of a diffusion, and p(x | z_0): the two ends of x <-> y -> z_0 -> x.

The reconstruction term E_q[log p(x | z_0)] needs no samples: it is a table for levels, and a constant for reals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probgen import Event
from probgen.distributions import Standardization
from probgen.errors import InputError
from probgen_diffusion.schedule import alpha_sigma

AT_ONCE = 1 << 24  # numbers of the largest tensor without gradients: 64 MiB
MOST_LEVELS = 1 << 12  # of a softmax
SIGMAS = 3  # standard deviations of z_0 from a level to the middle between two levels (-13.3 for 256 levels)
FINEST = -12.0  # gamma_0 of reals, whose standard deviation is 1
NODES = 200  # of the quadrature of a table


class Levels(nn.Module):
    """Whole numbers 0 .. L - 1 as y from -1 to 1, and p(x | z_0) as a softmax over the levels (VDM, section 3.3).

    p(x_i = l | z_0) is proportional to q(z_0 | y_i = y_l).

    Args:
        levels: Number L of levels.
    """

    features = 5  # z and four Fourier features

    def __init__(self, levels: int):
        super().__init__()
        if levels > MOST_LEVELS:
            raise InputError(
                f"x has {levels} levels, but a softmax allows at most {MOST_LEVELS}. Use fewer levels, or give x as floats."
            )
        self.levels, self.spacing = levels, 2 / max(1, levels - 1)

    @property
    def gamma_0(self) -> float:
        """The gamma at which z_0 still tells the levels apart."""
        return 2 * math.log(self.spacing / 2 / SIGMAS)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return y of levels x, in the shape of x."""
        return x.to(dtype) * self.spacing - 1

    def look(self, z: Tensor) -> Tensor:
        """Return z and waves of the spacing of the levels (VDM, section 3.4): (..., event) -> (..., event, 5)."""
        phase = math.pi * (z + 1) / self.spacing
        return torch.stack([z, phase.sin(), phase.cos(), (2 * phase).sin(), (2 * phase).cos()], -1)

    def p(self, z_0: Tensor, gamma_0: float) -> Any:
        """Return the softmax over levels given z_0, one distribution for each number."""
        alpha, sigma = alpha_sigma(torch.tensor(gamma_0, dtype=torch.float64))
        y = torch.arange(self.levels, dtype=z_0.dtype, device=z_0.device) * self.spacing - 1
        off = (z_0[..., None] - float(alpha) * y) / float(sigma)
        return dist.Categorical(logits=-0.5 * off.square())

    def mean(self, z_0: Tensor, gamma_0: float) -> Tensor:
        """Return E[x | z_0], in the shape of z_0."""
        levels = torch.arange(self.levels, dtype=z_0.dtype, device=z_0.device)
        return torch.cat([self.p(some, gamma_0).probs @ levels for some in self._parts(z_0)])

    def sample(self, z_0: Tensor, gamma_0: float) -> Tensor:
        """Sample x given z_0, in the shape of z_0."""
        return torch.cat([self.p(some, gamma_0).sample() for some in self._parts(z_0)])

    def _parts(self, z_0: Tensor) -> tuple[Tensor, ...]:
        """Return as many rows at a time as have probabilities of 64 MiB."""
        return z_0.split(max(1, AT_ONCE // (self.levels * z_0.shape[1:].numel())))

    def reconstruction(self, x: Tensor, gamma_0: float, dtype: torch.dtype) -> Tensor:
        """Return E_q[log p(x | z_0)], summed over the event: (row,), in nats."""
        table = torch.as_tensor(self._table(gamma_0), dtype=dtype, device=x.device)
        return table[x.long()].flatten(1).sum(1)

    def _table(self, gamma_0: float) -> np.ndarray:
        """Return E[log p(x = l | z_0)] for each level l, by Gauss-Hermite quadrature over the noise."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        step = self.spacing * math.exp(-gamma_0 / 2)  # between levels, in standard deviations of z_0
        found = np.empty(self.levels)
        for level in range(self.levels):  # one at a time: levels^2 numbers for each node are too many
            off = -0.5 * (nodes[:, None] + step * (level - np.arange(self.levels))) ** 2
            top = off.max(1)
            log_p = -0.5 * nodes**2 - top - np.log(np.exp(off - top[:, None]).sum(1))
            found[level] = (weights * log_p).sum() / weights.sum()
        return found

    def nats(self, event_size: int) -> float:
        """Return log |dy/dx| of the scale of y: 0, because levels have probabilities."""
        return 0.0


class Reals(nn.Module):
    """Real numbers with y = (x - loc) / scale, and p(x | z_0) = Normal(z_0 / alpha_0, sigma_0 / alpha_0) in units of y.

    Args:
        shape: Shape of the event.
        each: Whether each number has its own scale; otherwise one scale for all.
    """

    features = 1
    gamma_0 = FINEST

    def __init__(self, shape: tuple[int, ...], each: bool):
        super().__init__()
        self.standard = Standardization(shape if each else ())
        self.size, self.each = math.prod(shape), each

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return y of x, in the shape of x."""
        y: Tensor = self.standard(x, dtype)
        return y

    def look(self, z: Tensor) -> Tensor:
        """Return z as features: (..., event, 1)."""
        return z[..., None]

    def mean(self, z_0: Tensor, gamma_0: float) -> Tensor:
        """Return E[x | z_0], in the shape of z_0."""
        alpha, _ = alpha_sigma(torch.tensor(gamma_0, dtype=torch.float64))
        return self.standard.inverse(z_0 / float(alpha))

    def sample(self, z_0: Tensor, gamma_0: float) -> Tensor:
        """Sample x given z_0, in the shape of z_0."""
        noise = math.exp(gamma_0 / 2) * torch.randn_like(z_0)
        return self.mean(z_0, gamma_0) + self.standard.scale * noise.double()

    def reconstruction(self, x: Tensor, gamma_0: float, dtype: torch.dtype) -> Tensor:
        """Return E_q[log p(x | z_0)], the entropy of a normal less the scale of x: (row,), in nats."""
        entropy = 0.5 * self.size * (1 + math.log(2 * math.pi) + gamma_0)
        return (
            (self._nats(self.size) - entropy).to(dtype).expand(len(x))
        )  # no Python number: a graph records this

    def nats(self, event_size: int) -> float:
        """Return log |dy/dx| of an event of this size."""
        return float(self._nats(event_size))

    def _nats(self, event_size: int) -> Tensor:
        log_scale = self.standard.scale.log().sum()
        return -log_scale if self.each else -event_size * log_scale


def values_of(event: Event) -> Levels | Reals:
    """Return the values of an event.

    Real images have one scale for all pixels, because the scale of a pixel that is almost constant would be too small.

    Args:
        event: The event of the data.

    Returns:
        The values.
    """
    if event.discrete:
        return Levels(event.levels or 2)
    return Reals(event.fixed_shape, each=not event.is_image)
