"""The base of the super-resolution families: p(x given low) for images of any size.

They are fitted to patches, and sampled and scored by tiles. x has levels 0 .. L - 1. The given image, `low`,
has any size, and x is `scale` times as large. A pixel of low becomes a cell of scale x scale pixels of x.
Values of x are laid out by phases, the positions in a cell: each phase is a channel, so that networks work at
the size of low.
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

LEAST = 1e-3  # least scale, in halves of the range of x: a mixture must not spike
SCALES = (-5.0, -2.5)  # initial scales of the components, before the softplus: 1 to 10 of 256 levels


class PatchOptions(SVIOptions):
    """Options of the super-resolution families, which are fitted to patches."""

    given: tuple[str, ...] = Field(("low",), description="name of the image that x is conditioned on")
    patch: int = Field(96, ge=1, description="side of a training patch, in pixels of x")
    turned: bool = Field(True, description="rotate and mirror patches at random (eight ways)")
    width: int = Field(32, ge=1, description="features of each layer of the network")
    blocks: int = Field(8, ge=0, le=1000, description="residual blocks of the network")
    batch_size: int = Field(16, ge=1, description="patches per step")
    schedule: Schedule = Field(
        "cosine", description="schedule of the learning rate; cosine and linear end at 0"
    )

    @field_validator("given")
    @classmethod
    def _one(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) != 1:
            raise ValueError("the model has one condition. Give the name of one image.")
        return given


class TemperatureOptions(Options):
    """Options of sampling x."""

    temperature: float = Field(
        1.0,
        ge=0,
        description="sampling noise: scales are multiplied by it, log weights divided by it; 0: location of "
        "the heaviest component",
    )


class MeanOrDrawOptions(ConditionalMeanOptions):
    """Options of sampling x, or returning its mean."""

    temperature: float = Field(
        1.0,
        ge=0,
        description="sampling noise: scales are multiplied by it, log weights divided by it; 0: location of "
        "the heaviest component",
        json_schema_extra=only(mean=False),
    )


@dataclass(frozen=True)
class Logistics:
    """Mixtures of discretized logistics, one mixture for each number of x.

    Attributes:
        logits: Log weights of the components, (row, component, phase, h, w).
        mu: Locations in levels, (row, component, phase, h, w).
        s: Scales in levels, (row, component, phase, h, w).
        levels: Number of levels of x.
    """

    logits: Tensor
    mu: Tensor
    s: Tensor
    levels: int

    @staticmethod
    def of(numbers: Tensor, around: Tensor, components: int, levels: int) -> Logistics:
        """Return the mixtures from the outputs of a network.

        Args:
            numbers: Outputs of the network, (row, 3 * component * phase, h, w).
            around: Centers of the locations, in levels, (row, phase, h, w).
            components: Number of components.
            levels: Number of levels of x.

        Returns:
            The mixtures.
        """
        logits, mu, s = numbers.unflatten(1, (3, components, -1)).unbind(1)
        half = (levels - 1) / 2
        start = torch.linspace(*SCALES, components, device=s.device, dtype=s.dtype)[:, None, None, None]
        return Logistics(logits, around[:, None] + half * mu, half * (softplus(s + start) + LEAST), levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probability of levels x (row, phase, h, w): the same shape, in nats."""
        each = DiscretizedLogistic(self.mu, self.s, self.levels, validate_args=False).log_prob(x[:, None])
        return (each + self.logits.log_softmax(1)).logsumexp(1)

    def mean(self) -> Tensor:
        """Return the mean of the mixtures, kept within the levels and not rounded: (row, phase, h, w)."""
        # the integral of P(x > t) over t from 0 to the highest level
        top, s = self.levels - 1, self.s
        kept = s * (softplus(self.mu / s) - softplus((self.mu - top) / s))
        return (self.logits.softmax(1) * kept).sum(1)

    def deviation(self) -> Tensor:
        """Return the standard deviation of the mixtures without bounds at the levels: (row, phase, h, w)."""
        w = self.logits.softmax(1)
        square = (w * (self.mu.square() + self.s.square() * (math.pi**2 / 3))).sum(1)
        return (square - (w * self.mu).sum(1).square()).clamp(min=0).sqrt()

    def draw(self, u: Tensor, temperature: float) -> Tensor:
        """Sample levels from uniform random numbers.

        Args:
            u: Two uniform numbers for each number of x, (2, row, phase, h, w).
            temperature: Factor of the scales; log weights are divided by it.

        Returns:
            Levels, (row, phase, h, w).
        """
        k = _chosen(self.logits, u[0], temperature)
        mu, s = self.mu.gather(1, k)[:, 0], self.s.gather(1, k)[:, 0]
        drawn = mu if temperature == 0 else mu + temperature * s * torch.logit(u[1], eps=1e-7)
        return drawn.round().clamp(0, self.levels - 1)


def _chosen(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Sample components by their weights: (row, 1, phase, h, w)."""
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    below = (logits / temperature).softmax(1).cumsum(1)[:, :-1]
    return (u[:, None] > below).sum(1, keepdim=True)


class Superresolution(Pair):
    """The base of the super-resolution pairs: p(x given low), exact, for images of any size.

    A subclass implements `score_of` and `drawn`.

    Args:
        options: The options of the family.
        event: The event that x is: images in levels, conditioned on one image.
    """

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
                raise InputError(
                    f"{what} is {part}, not images in levels. Give whole numbers, such as 0 .. 255."
                )
        check_channels(self.name, low, event)
        assert event.levels is not None  # of integers
        assert low.levels is not None
        self.levels, self.low_levels, self.channels = event.levels, low.levels, event.channels
        self.scale = low.scale or 1
        self.phases = self.channels * self.scale**2

    # a subclass implements these

    @abstractmethod
    def score_of(self, x: Tensor, low: Tensor) -> Tensor:
        """Return log p(x given low), summed over pixels.

        Args:
            x: Levels by phases, (row, phase, h, w).
            low: The given images in levels of x, (row, channel, h, w).

        Returns:
            Log-probabilities, (row,), in nats.
        """

    @abstractmethod
    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """Sample x given low.

        Args:
            low: The given images in levels of x, (row, channel, h, w).
            options: Options of sampling.

        Returns:
            Images, (row, channel, height, width).
        """

    # images and phases

    def low_of(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the given image of each row, in levels of x.

        Args:
            given: The conditions by name.

        Returns:
            Images, (row, channel, h, w).
        """
        low = given[self.name]
        low = low if low.dim() == 4 else low[:, None]
        return low * ((self.levels - 1) / (self.low_levels - 1))

    def up(self, low: Tensor) -> Tensor:
        """Enlarge low (row, channel, h, w) by bicubic interpolation: (row, phase, h, w)."""
        up = enlarged(low, self.scale)
        return up if up.shape[1] == self.phases else up.repeat(1, self.channels, 1, 1)

    def centered(self, x: Tensor) -> Tensor:
        """Return levels rescaled to the range from -1/2 to 1/2."""
        return x / (self.levels - 1) - 0.5

    def by_phases(self, x: Tensor) -> Tensor:
        """Return images (row, [channel,] height, width) by phases: (row, phase, h, w)."""
        return nn.functional.pixel_unshuffle(x if x.dim() == 4 else x[:, None], self.scale)

    def image(self, x: Tensor) -> Tensor:
        """Return images (row, channel, height, width) in the shape of x, without channels if x has none."""
        return x if len(self.event.dims) == 3 else x[:, 0]

    # the hooks

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """Sample x ~ p(x given low)."""
        with self.rows(n):
            return pyro.sample("x", GivenImage(self, given), obs=x)

    def learn(self, data: Rows, run: Run) -> None:
        """Fit to random patches of the images."""
        svi(self, Patches(data, self.options.patch, turned=self.options.turned), run, self.training_plan())

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean of -log p(x given low) over the numbers of x, in nats."""
        return {"loss": -self.log_prob(x, **given).sum() / x.numel()}

    def log_prob(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return the exact log p(x given low): (row,), in nats."""
        return self.score_of(self.by_phases(x), self.low_of(given))

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample x; its size is `scale` times that of low."""
        return {"x": self.image(self.drawn(self.low_of(given), options))}

    def uniform(self, low: Tensor) -> Tensor:
        """Return two uniform random numbers for each number of x.

        They are sampled for the whole image, so that samples do not depend on tiles.

        Args:
            low: The given images, (row, channel, h, w).

        Returns:
            Uniform numbers, (2, row, phase, h, w).
        """
        return torch.rand(2, len(low), self.phases, *low.shape[-2:], device=low.device, dtype=low.dtype)


class GivenImage(TorchDistribution):
    """The distribution p(x given low) of a pair: event shape (channel, height, width), or (height, width).

    Args:
        pair: The pair.
        given: The conditions by name.
    """

    arg_constraints = {}

    def __init__(self, pair: Superresolution, given: Mapping[str, Tensor]):
        self.pair, self.given = pair, dict(given)
        low = self.given[pair.name]
        height, width = (pair.scale * side for side in low.shape[-2:])
        channels = (pair.channels,) if len(pair.event.dims) == 3 else ()
        super().__init__(low.shape[:1], torch.Size((*channels, height, width)), validate_args=False)

    @constraints.dependent_property(is_discrete=True, event_dim=3)
    def support(self) -> Any:
        """The support: whole numbers from 0 to the highest level."""
        return constraints.independent(
            constraints.integer_interval(0, self.pair.levels - 1), len(self.event_shape)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each row: (row,), in nats."""
        return self.pair.log_prob(value, **self.given)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples of each row: (*sample_shape, row, *event)."""
        shape = torch.Size(sample_shape)
        given = {name: t.repeat(shape.numel(), *[1] * (t.dim() - 1)) for name, t in self.given.items()}
        rows = self.batch_shape[0]
        with torch.no_grad():
            x = self.pair.draw(shape.numel() * rows, given, self.pair.SampleOptions())["x"]
        return x.reshape(*shape, rows, *x.shape[1:])
