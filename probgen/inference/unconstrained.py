"""The latent sites of a Pyro program as one vector of real numbers, for samplers and Gaussian guides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

from probgen.inference.sites import sites


class Unconstrained:
    """A bijection between the values of latent sites and a vector u, (size,), of real numbers.

    Args:
        program: A Pyro program with continuous latent sites. It runs once, on `inputs`, to find these sites.
        inputs: Keyword arguments of the program.

    Attributes:
        size: Length of u.
    """

    def __init__(self, program: Callable[..., Any], inputs: Mapping[str, Any]):
        self.program = program
        self.transforms: dict[str, Any] = {}
        self.shapes: dict[str, torch.Size] = {}
        for name, site in sites(program, inputs=inputs).items():
            if not site.observed:
                self.transforms[name] = biject_to(site.fn.support)
                self.shapes[name] = self.transforms[name].inv(site.value).shape
        self.size = sum(shape.numel() for shape in self.shapes.values())

    def constrain(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the values of the sites for u.

        Args:
            u: Unconstrained vector, (size,).

        Returns:
            Values by name of the site, and the log of the Jacobian determinant of u -> values, ().
        """
        values: dict[str, Tensor] = {}
        log_det = u.new_zeros(())
        parts = u.split([shape.numel() for shape in self.shapes.values()])
        for (name, shape), part in zip(self.shapes.items(), parts, strict=True):
            free = part.reshape(shape)
            values[name] = self.transforms[name](free)
            log_det = log_det + self.transforms[name].log_abs_det_jacobian(free, values[name]).sum()
        return values, log_det

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return u for the values of the sites; the inverse of `constrain`.

        Args:
            values: Values by name of the site.

        Returns:
            Unconstrained vector, (size,).
        """
        return torch.cat([self.transforms[name].inv(values[name]).flatten() for name in self.shapes])

    def log_joint(self, u: Tensor, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the log-prior and the log-likelihood at u.

        Args:
            u: Unconstrained vector, (size,).
            inputs: Keyword arguments of the program, with the observed rows.

        Returns:
            log p(values) with the log of the Jacobian determinant, and log p(x | values) summed over rows; both (), in nats.
        """
        values, log_prior = self.constrain(u)
        log_likelihood = u.new_zeros(())
        for name, site in sites(self.program, values, inputs=inputs).items():
            term = site.fn.log_prob(site.value).sum()
            if name in values:
                log_prior = log_prior + term
            else:
                log_likelihood = log_likelihood + term
        return log_prior, log_likelihood
