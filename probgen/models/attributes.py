"""A classifier and regressor: a small network that predicts the attributes of a row, numbers and classes.

    f = features(x),   a_k ~ Normal(mu_k(f), 1) in deviations of a_k,   or   a_k ~ Categorical(softmax W_k f)

The attributes are independent given x. The fit minimizes the mean of -log p(a | x), without the unknown
attributes of a row. The family has no likelihood of x and no samples; its score is `attribute (row, factor)`.
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
from probgen.figures import of_model
from probgen.figures.attributes import told_against_known
from probgen.inference.programs import Objective
from probgen.inference.svi import svi
from probgen.inference.training import Schedule, SVIOptions, Training
from probgen.nn.networks import MLP, Halving

__all__ = ["Attributes", "Options", "ScoreOptions", "accepts", "build", "fit", "pictures", "score", "x_dtype"]

accepts = {"attribute"}
x_dtype = "float64"
ScoreOptions = NoOptions
PICTURED = 2000  # rows in a figure


class Options(SVIOptions):
    """Options of `attributes`."""

    epochs: int = Field(6, ge=1, description="passes over the data")
    batch_size: int = Field(96, ge=1, description="rows per step")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's learning rate")
    schedule: Schedule = Field(
        "cosine", description="schedule of the learning rate; cosine and linear end at 0"
    )
    channels: tuple[int, ...] = Field(
        (24, 48, 64),
        min_length=1,
        description="channels of each convolution (images only); a convolution halves the image",
    )
    hidden: Sizes = Field(
        128, description="number of features; for vectors also the units of the hidden layer"
    )

    @model_validator(mode="after")
    def _one_size(self) -> Options:
        one_size(self.hidden)
        return self


class Attributes(Objective):
    """A network from x to features, and from features to attributes.

    Args:
        options: The options of the family.
        event: The event that x is, with its attributes.

    Attributes:
        standard: Standardization of x: by the deviation of each number of a vector, or of all pixels of an
            image.
        units: Mean and deviation of each attribute that is a number; 0 and 1 for classes.
    """

    def __init__(self, options: Options, event: Event):
        super().__init__()
        if not event.attributes:
            raise InputError(
                "the data have no attributes. Give `attribute (row, factor)` with the names of the factors, "
                "or a label."
            )
        if event.support == "token":
            raise InputError(f"x is {event}. This family needs images, or vectors of numbers.")
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
            refuse_unused(options, f"it needs images, but x is {event}", "channels")
            self.body = MLP(event.size, (features,), features, "relu")
        self.head = nn.Linear(features, sum(n or 1 for n in self.levels.values()))
        self.units = Standardization((len(self.levels),))
        self.dims = {"units.loc": ("factor",), "units.scale": ("factor",)}

    def features(self, x: Tensor) -> Tensor:
        """Return the features of x, differentiable.

        Args:
            x: The rows, (row, *event).

        Returns:
            Features, (row, feature).
        """
        y = self.standard(x, self.head.weight.dtype)
        f: Tensor = self.body(y if self.image is None else y.reshape(len(y), *self.image))
        return f.relu()

    def outputs(self, features: Tensor) -> list[Tensor]:
        """Return the outputs for each attribute.

        Args:
            features: Features, (row, feature).

        Returns:
            For a number its standardized mean (row, 1), for classes their logits (row, class).
        """
        return list(self.head(features).split([n or 1 for n in self.levels.values()], 1))

    def loss(
        self, x: Tensor, *, n: int, attribute: Tensor | None = None, **given: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean of -log p(a | x) over rows, up to a constant, in nats.

        It is the sum of half squared errors and cross entropies over the known attributes.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            attribute: Attributes, (row, factor), NaN if unknown.
            **given: Nothing.

        Returns:
            `loss`.

        Raises:
            InputError: When the rows have no attributes.
        """
        if attribute is None:
            raise InputError("the rows have no attributes, which the loss needs. Give rows with attributes.")
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
        """Return the predicted attributes.

        Args:
            features: Features, (row, feature).

        Returns:
            Means of numbers in their units, and the most likely classes, (row, factor), float64.
        """
        parts = [
            out.argmax(1).to(out.dtype) if levels else out[:, 0]
            for out, levels in zip(self.outputs(features), self.levels.values(), strict=True)
        ]
        return self.units.inverse(torch.stack(parts, 1))

    def log_probs(self, features: Tensor) -> Tensor:
        """Return the log-probabilities of the classes of all attributes with classes, concatenated.

        Args:
            features: Features, (row, feature).

        Returns:
            Log-probabilities, (row, class), in nats.
        """
        parts = [
            out.log_softmax(1)
            for out, n in zip(self.outputs(features), self.levels.values(), strict=True)
            if n
        ]
        return torch.cat(parts, 1) if parts else features[:, :0]


def build(options: Options, event: Event) -> Attributes:
    """Return the module in its initial state.

    Args:
        options: The options of the family.
        event: The event that x is, with its attributes.

    Returns:
        The module.

    Raises:
        InputError: When the data have no attributes, or x is neither images nor vectors of numbers.
    """
    return Attributes(options, event)


@hookimpl
def fit(module: Attributes, data: Rows, options: Options, run: Run) -> dict[str, xr.Dataset] | None:
    """Learn the scales of x and of the attributes, then fit the network.

    Args:
        module: The module.
        data: The rows of the fit.
        options: The options of the family.
        run: The run of the fit.

    Returns:
        With validation rows, their accuracies and R^2 as the group `held_out`.

    Raises:
        InputError: When an attribute is unknown in every row, or has too large values.
    """
    moments = data.moments()
    module.standard.learn(moments.mean, moments.scale if module.image is None else moments.shared_scale)
    numbers = torch.tensor([not n for n in module.levels.values()])
    seen = Moments.of(_known(data))
    unknown = [name for name, n in zip(module.levels, seen.n, strict=True) if not n]
    if unknown:
        raise InputError(f"attribute {unknown[0]!r}: no row has a value. Leave the attribute out.")
    for name, mean, variance in zip(module.levels, seen.mean, seen.variance, strict=True):
        if not torch.isfinite(mean + variance):
            raise InputError(
                f"attribute {name!r}: its values are too large to compute a mean and a deviation. Use a "
                "larger unit."
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
    """Return the quality of the predictions on held-out rows.

    Args:
        module: The module.
        data: Held-out rows.

    Returns:
        `r2_NAME` of each number (1 - squared error / variance), and `accuracy_NAME` of each attribute with
        classes.
    """
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
    """Return the agreement of predictions with known values of one attribute.

    Args:
        known: The values, (row,), NaN if unknown.
        told: The predictions, (row,).
        levels: Number of classes, or 0 for a number.

    Returns:
        R^2 of a number, or accuracy of classes, over the known values; NaN if there are none.
    """
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
    """Return the predicted attributes.

    Args:
        fitted: The fitted family.
        data: Rows by name, with `x`.

    Returns:
        `attribute (row, factor)`: means of numbers, and most likely classes. If an attribute has classes,
        also `class_log_prob (row, class)`, in nats.
    """
    module = _module(fitted)
    features = module.features(data["x"])
    levels = list(module.levels.values())
    attrs = {"long_name": "predicted attributes of x", "levels": levels}
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
    """Return the figure `told`: predicted against known attributes.

    Args:
        fitted: The fitted family.
        data: Rows with attributes.
        **again: Further arguments of the interface; unused.

    Returns:
        Figures by name.
    """
    if "attribute" not in data:
        return {}
    module, rows = _module(fitted), evenly(data, PICTURED)
    with torch.no_grad():
        told = module.tell(module.features(as_tensor(rows["x"].values).to(module.head.weight.device)))
    known = rows["attribute"].sel(factor=list(module.levels)).values
    title = of_model(fitted, "Predicted against known attributes", f"{rows.sizes['row']} rows")
    return {"told": told_against_known(known, told.cpu().numpy(), module.levels, title)}


def _module(fitted: Fitted) -> Attributes:
    assert isinstance(fitted.module, Attributes)
    return fitted.module
