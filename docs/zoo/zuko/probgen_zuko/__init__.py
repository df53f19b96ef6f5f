"""A neural spline flow of zuko as a family, with an exact density (Durkan et al., NeurIPS 2019).

    log p(x) = log Normal(f(x); 0, 1) + log |det df / dx|

zuko defines the network f. `Pair` fits, samples and scores, because the transform of a flow is a transform of torch.
"""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
import zuko
from pydantic import Field
from torch import Tensor

from probgen import Event, Pair, Rows, Run
from probgen.contract.options import NoOptions, Sizes, layer_sizes
from probgen.distributions import Standardization
from probgen.inference.training import SVIOptions

torch.distributions.Distribution.set_default_validate_args(
    True
)  # importing zuko turns off the checks of all distributions


class ZukoOptions(SVIOptions):
    """The options of the flow and of its training."""

    transforms: int = Field(3, ge=1, description="number of autoregressive transforms")
    bins: int = Field(8, ge=2, description="bins of each spline")
    hidden: Sizes = Field((64, 64), description="units of each hidden layer")


class Zuko(Pair):
    """x = f^-1(y), y ~ Normal(0, 1), in standardized units."""

    Options = ZukoOptions
    SampleOptions = ScoreOptions = NoOptions
    supports = frozenset({"real"})
    x_dtype = "float64"

    def __init__(self, options: ZukoOptions, event: Event):
        super().__init__(options, event)
        sizes = {"transforms": options.transforms, "hidden_features": layer_sizes(options.hidden)}
        self.f = zuko.flows.NSF(event.size, bins=options.bins, **sizes).transform
        self.standard = Standardization(event.fixed_shape)

    def learn(self, data: Rows, run: Run) -> None:
        """Standardize, then train by maximum likelihood."""
        seen = data.moments()
        self.standard.learn(seen.mean, seen.scale)
        super().learn(data, run)

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample x, (row, *event), in one plate of n rows."""
        like = next(self.parameters())
        y = dist.Normal(like.new_zeros(self.event.size), like.new_ones(())).to_event(1)
        way = [self.f().inv, dist.transforms.ReshapeTransform((self.event.size,), self.event.fixed_shape)]
        with self.rows(n):
            found = dist.TransformedDistribution(y, [*way, self.standard.transform(like.dtype)])
            return pyro.sample("x", found, obs=x)
