"""Independent Laplace distributions (Laplace 1774), fitted by maximum likelihood.

    x_i ~ Laplace(mu_i, b_i)
    log p(x) = sum_i -log 2 b_i - |x_i - mu_i| / b_i

The maximum is in closed form: mu_i is the median of x_i, and b_i the mean of |x_i - mu_i|.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Laplace

from probgen import Event, Fitted, Options, Rows, Run, hookimpl, log_prob


class LaplaceOptions(Options):
    """What can be chosen; every field has a type, a default, its limits and a sentence."""

    floor: float = Field(1e-3, gt=0, description="the smallest b")


Options = LaplaceOptions


class Module(nn.Module):
    """Its `state_dict` is all that is kept of a fit."""

    def __init__(self, event: Event):
        super().__init__()
        self.dims = {"mu": ("feature",), "b": ("feature",)}  # names of dimensions in the files
        self.mu = nn.Parameter(torch.zeros(event.size))
        self.b = nn.Parameter(torch.ones(event.size))


def build(options: LaplaceOptions, event: Event) -> nn.Module:
    """The module in its initial state."""
    return Module(event)


@hookimpl
def fit(module: Module, data: Rows, options: LaplaceOptions, run: Run) -> None:
    """Train in place. `run.train` owns the loop, even where one step is enough."""
    x = torch.cat([chunk["x"].flatten(1) for chunk in data.chunks()])

    def step(t: int) -> dict[str, Tensor]:
        mu = x.median(0).values
        b = (x - mu).abs().mean(0).clamp(min=options.floor)
        module.load_state_dict({"mu": mu, "b": b})
        return {"log_likelihood": Laplace(mu, b).log_prob(x).sum(1).mean()}

    run.train(step, 1, keep={"module": module})


@hookimpl
def sample(fitted: Fitted, n: int) -> dict[str, Tensor]:
    """n draws of x."""
    x = Laplace(fitted.module.mu, fitted.module.b).sample((n,))
    return {"x": x.reshape(n, *fitted.event.shape)}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor]):
    """log p(x) of each row, and what kind of number it is."""
    values = Laplace(fitted.module.mu, fitted.module.b).log_prob(data["x"].flatten(1)).sum(1)
    return log_prob(values, kind="exact", estimator="exact", measure="lebesgue")
