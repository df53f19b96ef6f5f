"""What can be told of a row: a small network from x to its attributes, numbers and classes.

    f = features(x),   a_k ~ Normal(mu_k(f), 1) in deviations of a_k,   or   a_k ~ Categorical(softmax W_k f)

with independent attributes given x, fitted by the mean of -log p(a | x); where an attribute of a row is not known it is left out.
It gives no likelihood of x and no draws: its score is `attribute (row, factor)`. A classifier is one whose attributes are classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import hookimpl
from probgen.contract.options import NoOptions, Sizes, one_size, refuse_unused
from probgen.contract.rows import Moments, Rows, as_tensor, evenly
from probgen.contract.run import Run
from probgen.distributions import Standardization
from probgen.errors import InputError
from probgen.figures.attributes import told_against_known
from probgen.inference.programs import Objective
from probgen.inference.svi import svi
from probgen.inference.training import Schedule, SVIOptions, Training
from probgen.nn.networks import MLP, Halving

__all__ = ["Attributes", "Options", "ScoreOptions", "accepts", "build", "fit", "pictures", "score", "x_dtype"]

accepts = {"attribute"}
x_dtype = "float64"
ScoreOptions = NoOptions
PICTURED = 2000  # rows


class Options(SVIOptions):
    """Options of `attributes`."""

    epochs: int = Field(6, ge=1, description="passes over the data")
    batch_size: int = Field(96, ge=1, description="rows a step")
    learning_rate: float = Field(2e-3, gt=0, description="of Adam")
    schedule: Schedule = Field("cosine", description="of the learning rate; cosine and linear go down to 0")
    channels: tuple[int, ...] = Field(
        (24, 48, 64),
        min_length=1,
        description="of images: the convolutions, each of which halves them while it can",
    )
    hidden: Sizes = Field(128, description="features; of vectors also the units of the layer before them")

    @model_validator(mode="after")
    def _one_size(self) -> Options:
        one_size(self.hidden)
        return self


class Attributes(Objective):
    """Features, and what they tell.

    standard  of x: each number of a vector by itself, all pixels of an image by one deviation
    units     mean and deviation of each attribute that is a number; 0 and 1 of classes
    """

    def __init__(self, options: Options, event: Event):
        super().__init__()
        if not event.attributes:
            raise InputError(
                "the data have nothing to tell of x: give `attribute (row, factor)` with names of factors, or a label"
            )
        if event.support == "token":
            raise InputError(f"attributes are told of images and of vectors of numbers, not of {event}")
        self.event, self.levels = event, dict(event.attributes)
        self.shape = event.fixed_shape
        features = one_size(options.hidden)
        self.body: nn.Module
        self.image = (
            event.image() if event.dims[-2:] == ("height", "width") and min(self.shape[-2:]) > 1 else None
        )
        self.standard = Standardization(self.shape, each=self.image is None)
        if self.image is not None:
            times = int(math.log2(min(self.image[1:])))
            self.body = Halving(self.image, options.channels[:times], features, "relu")
        else:
            refuse_unused(options, f"it is of images, not of {event}", "channels")
            self.body = MLP(event.size, (features,), features, "relu")
        self.head = nn.Linear(features, sum(n or 1 for n in self.levels.values()))
        self.units = Standardization((len(self.levels),))
        self.dims = {"units.loc": ("factor",), "units.scale": ("factor",)}

    def features(self, x: Tensor) -> Tensor:
        """(row, *event) -> (row, feature)."""
        y = self.standard(x, self.head.weight.dtype)
        f: Tensor = self.body(y if self.image is None else y.reshape(len(y), *self.image))
        return f.relu()

    def outputs(self, features: Tensor) -> list[Tensor]:
        """Of each attribute: its mean in deviations (row, 1), or log odds of its classes (row, class)."""
        return list(self.head(features).split([n or 1 for n in self.levels.values()], 1))

    def loss(
        self, x: Tensor, *, n: int, attribute: Tensor | None = None, **given: Tensor
    ) -> dict[str, Tensor]:
        """-log p(a | x) of what is known, up to a constant: half squared errors, and cross entropies."""
        if attribute is None:
            raise InputError("these rows have no attributes, which the model is to be judged by")
        total = self.head.weight.new_zeros(())
        standard = self.units(attribute, total.dtype)
        for k, (out, levels) in enumerate(
            zip(self.outputs(self.features(x)), self.levels.values(), strict=True)
        ):
            a = attribute[:, k]
            known = ~torch.isnan(a)
            if not known.any():
                continue
            if levels:
                part = cross_entropy(out[known], a[known].long(), reduction="sum")
            else:
                part = 0.5 * (out[known, 0] - standard[known, k]).square().sum()
            total = total + part / n
        return {"loss": total}

    def tell(self, features: Tensor) -> Tensor:
        """Means of numbers in their units, and the most likely classes: (row, factor), float64."""
        parts = [
            out.argmax(1).to(out.dtype) if levels else out[:, 0]
            for out, levels in zip(self.outputs(features), self.levels.values(), strict=True)
        ]
        return self.units.inverse(torch.stack(parts, 1))

    def log_probs(self, features: Tensor) -> Tensor:
        """log p of each class of each attribute that is one, side by side: (row, class)."""
        parts = [
            out.log_softmax(1)
            for out, n in zip(self.outputs(features), self.levels.values(), strict=True)
            if n
        ]
        return torch.cat(parts, 1) if parts else features[:, :0]


def build(options: Options, event: Event) -> Attributes:
    """The module in its initial state."""
    return Attributes(options, event)


@hookimpl
def fit(module: Attributes, data: Rows, options: Options, run: Run) -> dict[str, xr.Dataset] | None:
    """Learn the scales of x and of attributes, then the network; how well it tells validation rows is kept as `held_out`."""
    moments = data.moments()
    module.standard.learn(moments.mean, moments.scale if module.image is None else moments.shared_scale)
    numbers = torch.tensor([not n for n in module.levels.values()])
    seen = Moments.of(_known(data))
    unknown = [name for name, n in zip(module.levels, seen.n, strict=True) if not n]
    if unknown:
        raise InputError(f"attribute {unknown[0]!r} is not known of any row: leave it out")
    for name, mean, variance in zip(module.levels, seen.mean, seen.variance, strict=True):
        if not torch.isfinite(mean + variance):
            raise InputError(
                f"attribute {name!r}: its values are too large for a mean and a deviation; take another unit"
            )
    module.units.learn(torch.where(numbers, seen.mean, 0.0), torch.where(numbers, seen.scale, 1.0))
    svi(module, data, run, Training.of(options))
    return None if data.valid is None else {"held_out": held_out(module, data.valid)}


def _known(data: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    for chunk in data.chunks():
        a = chunk["attribute"].cpu()
        weight = (~torch.isnan(a)).double()
        if "weight" in chunk:
            weight = weight * chunk["weight"].cpu()[:, None]
        yield torch.nan_to_num(a), weight


@torch.no_grad()
def held_out(module: Attributes, data: Rows) -> xr.Dataset:
    """`r2_NAME` of numbers, 1 less the squared error as a share of the variance; `accuracy_NAME` of classes."""
    module.eval()
    pairs = [
        (chunk["attribute"].cpu(), module.tell(module.features(chunk["x"])).cpu())
        for chunk in data.chunks(module.at_once)
    ]
    known, told = (torch.cat(part).double().numpy() for part in zip(*pairs, strict=True))
    return xr.Dataset(
        {
            f"accuracy_{name}" if levels else f"r2_{name}": ((), agreement(known[:, k], told[:, k], levels))
            for k, (name, levels) in enumerate(module.levels.items())
        }
    )


def agreement(known: np.ndarray, told: np.ndarray, levels: int) -> float:
    """Of an attribute (row,) each: R^2 of a number, the share of rows told right of a class; where it is known."""
    there = np.isfinite(known)
    known, told = known[there], told[there]
    if not len(known):
        return math.nan
    if levels:
        return float((known == told).mean())
    variance = known.var()
    return float(1 - ((known - told) ** 2).mean() / variance) if variance > 0 else math.nan


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor]) -> xr.Dataset:
    """`attribute (row, factor)`: means of numbers, most likely classes; `class_log_prob (row, class)` where there are classes."""
    module = _module(fitted)
    features = module.features(data["x"])
    levels = list(module.levels.values())
    attrs = {"long_name": "what is told of x", "levels": levels}
    found = xr.Dataset(
        {"attribute": (("row", "factor"), module.tell(features).cpu().numpy(), attrs)},
        {"factor": list(module.levels)},
    )
    if any(levels):
        names = [f"{name} {i}" for name, n in module.levels.items() for i in range(n)]
        said = (("row", "class"), module.log_probs(features).cpu().numpy(), {"units": "nat"})
        found = found.assign(class_log_prob=said).assign_coords({"class": names})
    return found


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> Mapping[str, Figure]:
    """`told`: of each attribute what is told against what is known, of rows of the fit."""
    if "attribute" not in data:
        return {}
    module, rows = _module(fitted), evenly(data, PICTURED)
    with torch.no_grad():
        told = module.tell(module.features(as_tensor(rows["x"].values).to(module.head.weight.device)))
    known = rows["attribute"].sel(factor=list(module.levels)).values
    return {"told": told_against_known(known, told.cpu().numpy(), module.levels)}


def _module(fitted: Fitted) -> Attributes:
    assert isinstance(fitted.module, Attributes)
    return fitted.module
