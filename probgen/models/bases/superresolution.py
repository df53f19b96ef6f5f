"""What p(x given an image) at every pixel shares: patches to fit to, images of any size, draws and scores by tiles.

x is levels, 0 .. L - 1; the image that is given, `low`, is 1/scale as large, of any size. A pixel of low becomes a cell of scale x scale
pixels of x. What is said of x is laid out by phases, the places of a cell: each is a channel, and everything is worked out at the size of low.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyro
import torch
from pydantic import BaseModel, Field, field_validator
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import softplus

from probgen.contract.event import Event
from probgen.contract.options import ConditionalMeanOptions, NoOptions, Options, only
from probgen.contract.patches import Patches
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import DiscretizedLogistic
from probgen.errors import InputError
from probgen.inference.svi import svi
from probgen.inference.training import Schedule, SVIOptions
from probgen.models.bases.scaling import check_channels, enlarged
from probgen.pair import Pair

LEAST = 1e-3  # of a scale, in halves of the range of x: a mixture must not spike
SCALES = (-5.0, -2.5)  # of the components at first, before the softplus: 1 to 10 of 256 levels


class PatchOptions(SVIOptions):
    """Options of a fit to patches."""

    given: tuple[str, ...] = Field(("low",), description="the image that x is conditioned on")
    patch: int = Field(96, ge=1, description="pixels of x a side, that are fitted to together")
    turned: bool = Field(True, description="patches are turned and mirrored at random, in eight ways")
    width: int = Field(32, ge=1, description="features of the network")
    blocks: int = Field(8, ge=0, le=1000, description="residual blocks of the network")
    batch_size: int = Field(16, ge=1, description="patches a step")
    schedule: Schedule = Field("cosine", description="of the learning rate; cosine and linear go down to 0")

    @field_validator("given")
    @classmethod
    def _one(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) != 1:
            raise ValueError(f"given = {list(given)}: the name of one image is needed")
        return given


class TemperatureOptions(Options):
    """How x is drawn."""

    temperature: float = Field(
        1.0,
        ge=0,
        description="scales are times this, and weights of components to the power of its inverse; 0: the location of the heaviest",
    )


class MeanOrDrawOptions(ConditionalMeanOptions):
    """How x is drawn, or its mean."""

    temperature: float = Field(
        1.0,
        ge=0,
        description="of a draw: scales are times this, and weights of components to the power of its inverse; 0: the location of the "
        "heaviest component",
        json_schema_extra=only(mean=False),
    )


@dataclass(frozen=True)
class Logistics:
    """Mixtures of discretized logistics, one of each number of x: tensors (row, component, phase, h, w), locations and scales in levels."""

    logits: Tensor
    mu: Tensor
    s: Tensor
    levels: int

    @staticmethod
    def of(numbers: Tensor, around: Tensor, components: int, levels: int) -> Logistics:
        """Of what a network says: (row, 3 * component * phase, h, w), locations being relative to `around` (row, phase, h, w)."""
        logits, mu, s = numbers.unflatten(1, (3, components, -1)).unbind(1)
        half = (levels - 1) / 2
        start = torch.linspace(*SCALES, components, device=s.device, dtype=s.dtype)[:, None, None, None]
        return Logistics(logits, around[:, None] + half * mu, half * (softplus(s + start) + LEAST), levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of levels (row, phase, h, w): the same shape."""
        each = DiscretizedLogistic(self.mu, self.s, self.levels, validate_args=False).log_prob(x[:, None])
        return (each + self.logits.log_softmax(1)).logsumexp(1)

    def mean(self) -> Tensor:
        """The mean of what is drawn before it is rounded: (row, phase, h, w)."""
        # the integral of P(x > t) over t from 0 to the highest level
        top, s = self.levels - 1, self.s
        kept = s * (softplus(self.mu / s) - softplus((self.mu - top) / s))
        return (self.logits.softmax(1) * kept).sum(1)

    def deviation(self) -> Tensor:
        """The standard deviation of the mixture, not cut to the levels: (row, phase, h, w)."""
        w = self.logits.softmax(1)
        square = (w * (self.mu.square() + self.s.square() * (math.pi**2 / 3))).sum(1)
        return (square - (w * self.mu).sum(1).square()).clamp(min=0).sqrt()

    def draw(self, u: Tensor, temperature: float) -> Tensor:
        """By two uniform numbers each, u: (2, row, phase, h, w)."""
        k = _chosen(self.logits, u[0], temperature)
        mu, s = self.mu.gather(1, k)[:, 0], self.s.gather(1, k)[:, 0]
        drawn = mu if temperature == 0 else mu + temperature * s * torch.logit(u[1], eps=1e-7)
        return drawn.round().clamp(0, self.levels - 1)


def _chosen(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Components by their weights: (row, 1, phase, h, w)."""
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    below = (logits / temperature).softmax(1).cumsum(1)[:, :-1]
    return (u[:, None] > below).sum(1, keepdim=True)


class Superresolution(Pair):
    """p(x given low) of images of any size, exact. A subclass says what it is by `score_of` and `drawn`."""

    Options: ClassVar[type[BaseModel]] = PatchOptions
    SampleOptions: ClassVar[type[BaseModel]] = TemperatureOptions
    ScoreOptions: ClassVar[type[BaseModel]] = NoOptions
    accepts: ClassVar[frozenset[str]] = frozenset({"size"})

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        (self.name,) = options.given
        low = event.given[self.name]
        for what, part in (("x", event), (f"given {self.name!r}", low)):
            if not part.is_image or part.support != "integer":
                raise InputError(f"{what} must be images in levels, as 0 .. 255, not {part}")
        check_channels(self.name, low, event)
        assert event.levels is not None  # of integers
        assert low.levels is not None
        self.levels, self.low_levels, self.channels = event.levels, low.levels, event.channels
        self.scale = low.scale or 1
        self.phases = self.channels * self.scale**2

    # what a subclass says

    @abstractmethod
    def score_of(self, x: Tensor, low: Tensor) -> Tensor:
        """log p, summed over pixels: (row, phase, h, w), (row, channel, h, w) -> (row,)."""

    @abstractmethod
    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """x: (row, channel, h, w) -> (row, channel, height, width)."""

    # images and phases

    def low_of(self, given: Mapping[str, Tensor]) -> Tensor:
        """The image that is given, in levels of x: (row, channel, h, w)."""
        low = given[self.name]
        low = low if low.dim() == 4 else low[:, None]
        return low * ((self.levels - 1) / (self.low_levels - 1))

    def up(self, low: Tensor) -> Tensor:
        """low enlarged, by phases: (row, phase, h, w)."""
        up = enlarged(low, self.scale)
        return up if up.shape[1] == self.phases else up.repeat(1, self.channels, 1, 1)

    def centered(self, x: Tensor) -> Tensor:
        """Levels about 0, from -1/2 to 1/2."""
        return x / (self.levels - 1) - 0.5

    def by_phases(self, x: Tensor) -> Tensor:
        """(row, [channel,] height, width) -> (row, phase, h, w)."""
        return nn.functional.pixel_unshuffle(x if x.dim() == 4 else x[:, None], self.scale)

    def image(self, x: Tensor) -> Tensor:
        """(row, channel, height, width) as x has it: without a channel where x has none."""
        return x if len(self.event.dims) == 3 else x[:, 0]

    # the hooks

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """x ~ p(x given low)."""
        with self.rows(n):
            return pyro.sample("x", GivenImage(self, given), obs=x)

    def learn(self, data: Rows, run: Run) -> None:
        """By patches."""
        svi(self, Patches(data, self.options.patch, turned=self.options.turned), run, self.training_plan())

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """-log p(x given low) a number of x."""
        return {"loss": -self.log_prob(x, **given).sum() / x.numel()}

    def log_prob(self, x: Tensor, **given: Tensor) -> Tensor:
        """log p(x given low), exact: (row,)."""
        return self.score_of(self.by_phases(x), self.low_of(given))

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """x, of the size that follows from low."""
        return {"x": self.image(self.drawn(self.low_of(given), options))}

    def uniform(self, low: Tensor) -> Tensor:
        """Two numbers for each of x, drawn for the whole image, so that a draw does not depend on tiles: (2, row, phase, h, w)."""
        return torch.rand(2, len(low), self.phases, *low.shape[-2:], device=low.device, dtype=low.dtype)


class GivenImage(TorchDistribution):
    """p(x given an image) of a pair, as a distribution over images: event shape (channel, height, width), or (height, width)."""

    arg_constraints = {}

    def __init__(self, pair: Superresolution, given: Mapping[str, Tensor]):
        self.pair, self.given = pair, dict(given)
        low = self.given[pair.name]
        height, width = (pair.scale * side for side in low.shape[-2:])
        channels = (pair.channels,) if len(pair.event.dims) == 3 else ()
        super().__init__(low.shape[:1], torch.Size((*channels, height, width)), validate_args=False)

    @constraints.dependent_property(is_discrete=True, event_dim=3)
    def support(self) -> Any:
        """Levels."""
        return constraints.independent(
            constraints.integer_interval(0, self.pair.levels - 1), len(self.event_shape)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Of each row."""
        return self.pair.log_prob(value, **self.given)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws of each row: (*sample_shape, row, ...)."""
        shape = torch.Size(sample_shape)
        given = {name: t.repeat(shape.numel(), *[1] * (t.dim() - 1)) for name, t in self.given.items()}
        rows = self.batch_shape[0]
        with torch.no_grad():
            x = self.pair.draw(shape.numel() * rows, given, self.pair.SampleOptions())["x"]
        return x.reshape(*shape, rows, *x.shape[1:])
