"""Independent Laplace distributions (Laplace 1774), fitted by maximum likelihood.

    x_i ~ Laplace(mu_i, b_i)
    log p(x) = sum_i -log 2 b_i - |x_i - mu_i| / b_i

The maximum has a closed form: mu_i is the median of x_i, and b_i is the mean of |x_i - mu_i|.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Laplace

from probgen import Event, Fitted, Options, Rows, Run, hookimpl, log_prob


class LaplaceOptions(Options):
    """The options of the family. Each field has a type, a default, its limits and a description."""

    floor: float = Field(1e-3, gt=0, description="smallest allowed scale b")


Options = LaplaceOptions


class Module(nn.Module):
    """The parameters of the model. The files of a fit contain this module's `state_dict`.

    Args:
        event: The event of the data.

    Attributes:
        dims: Names of the dimensions of each parameter in the files.
    """

    def __init__(self, event: Event):
        super().__init__()
        self.dims = {"mu": ("feature",), "b": ("feature",)}
        self.mu = nn.Parameter(torch.zeros(event.size))
        self.b = nn.Parameter(torch.ones(event.size))


def build(options: LaplaceOptions, event: Event) -> nn.Module:
    """Build the module in its initial state.

    Args:
        options: The options of the fit.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains.
    """
    return Module(event)


@hookimpl
def fit(module: Module, data: Rows, options: LaplaceOptions, run: Run) -> None:
    """Fit the module in place. `run.train` owns the loop, even if one step is enough.

    Args:
        module: The module to fit.
        data: The rows.
        options: The options of the fit.
        run: The run of the fit.
    """
    x = torch.cat([chunk["x"].flatten(1) for chunk in data.chunks()])

    def step(t: int) -> dict[str, Tensor]:
        mu = x.median(0).values
        b = (x - mu).abs().mean(0).clamp(min=options.floor)
        module.load_state_dict({"mu": mu, "b": b})
        return {"log_likelihood": Laplace(mu, b).log_prob(x).sum(1).mean()}

    run.train(step, 1, keep={"module": module})


@hookimpl
def sample(fitted: Fitted, n: int) -> dict[str, Tensor]:
    """Sample x.

    Args:
        fitted: The fitted model.
        n: Number of samples.

    Returns:
        x, (row, *event).
    """
    x = Laplace(fitted.module.mu, fitted.module.b).sample((n,))
    return {"x": x.reshape(n, *fitted.event.shape)}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor]):
    """Compute log p(x) of each row, and state that it is exact.

    Args:
        fitted: The fitted model.
        data: Rows x, (row, *event), by name.

    Returns:
        `log_prob`, (row,), in nats.
    """
    values = Laplace(fitted.module.mu, fitted.module.b).log_prob(data["x"].flatten(1)).sum(1)
    return log_prob(values, kind="exact", estimator="exact", measure="lebesgue")
