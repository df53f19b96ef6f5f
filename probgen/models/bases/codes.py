"""What p(x | z) is made of in the families with latent codes: a site for each dimension of x, and networks to and from it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pyro.distributions as dist
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.contract.event import Event
from probgen.contract.options import MeanOptions, Sizes, layer_sizes, refuse_unused
from probgen.contract.places import Step, maps_of
from probgen.contract.rows import Rows
from probgen.distributions import Standardization
from probgen.distributions.sites import Bernoulli, Categorical, Logistic, Site
from probgen.distributions.vectors import BernoulliVector
from probgen.errors import InputError
from probgen.inference.training import SVIOptions
from probgen.models.bases.choose import site_for
from probgen.models.bases.tables import TableSite, beginnings, is_table
from probgen.nn.networks import MLP, Doubling, Halving
from probgen.pair import Pair, PairSampleOptions

SHARPEST = math.log(1e-3)  # log sigma of standardized data: a density must not spike on a constant feature
MOST_LEVELS = 256  # of a softmax for every dimension of x


class CodeOptions(SVIOptions):
    """Options that the families with latent codes share."""

    latent: int = Field(16, ge=1, description="dimensions of z")
    network: Literal["mlp", "conv"] = Field(
        "mlp", description="hidden layers, or convolutions each of which halves an image"
    )
    hidden: Sizes = Field(
        (200, 200), description="units of each layer of the encoder, or channels; the decoder mirrors them"
    )
    activation: Literal["tanh", "relu", "softplus", "silu"] = Field(
        "tanh", description="of the hidden layers"
    )
    likelihood: Literal["auto", "bernoulli", "categorical", "logistic", "normal"] = Field(
        "auto",
        description="of one dimension of x; auto: bernoulli, categorical or normal by the data. logistic is the "
        "discretized one, normal has a standard deviation that is learned",
    )
    sigma: Literal["shared", "feature"] = Field(
        "shared",
        description="normal: one standard deviation of x given z for all dimensions, or one for each",
    )
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")

    @model_validator(mode="after")
    def _sizes(self) -> CodeOptions:
        if self.network == "conv" and not self.sizes:
            raise ValueError("network = 'conv' needs hidden: the channels of each convolution")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units of each layer of the encoder."""
        return layer_sizes(self.hidden)


class LearnedNormal(nn.Module):
    """A site: x ~ Normal(loc + scale mu, scale sigma), sigma a parameter; `loc` and `scale` make the data standard.

    shape   of x
    each    whether every dimension has a sigma and a scale of its own
    """

    size = features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, shape: tuple[int, ...], each: bool):
        super().__init__()
        self.each = each
        self.log_sigma = nn.Parameter(torch.zeros(shape if each else ()))
        self.standard = Standardization(shape, each)

    def p(self, numbers: Tensor) -> Any:
        """(..., *shape, 1) -> batch shape (..., *shape)."""
        sigma = self.log_sigma.clamp(min=SHARPEST).exp()
        return dist.Normal(self.standard.inverse(numbers.squeeze(-1)), self.standard.scale * sigma)

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Standardized."""
        y: Tensor = self.standard(x, dtype)
        return y[..., None]

    def standardize(self, data: Rows) -> None:
        """Mean of each dimension, and standard deviation of each or of all; what never varies keeps a scale of 1."""
        seen = data.moments()
        self.standard.learn(seen.mean, seen.scale if self.each else seen.shared_scale)


def site_of(options: CodeOptions, event: Event) -> Site:
    """The site of each dimension of x. Errors: `InputError` where the likelihood does not suit the data."""
    if is_table(event):
        if options.likelihood != "auto":
            raise InputError(
                f"likelihood = {options.likelihood!r}: columns have one each, by their kinds; say them by --kind"
            )
        refuse_unused(options, "columns have one each, by their kinds", "sigma")
        return TableSite(event)
    made: dict[str, Callable[[int], Site]] = {
        "bernoulli": lambda levels: Bernoulli(),
        "categorical": Categorical,
        "logistic": Logistic,
        "normal": lambda levels: LearnedNormal(event.fixed_shape, options.sigma == "feature"),
    }
    site = site_for(event, made, options.likelihood, most=MOST_LEVELS)
    if not isinstance(site, LearnedNormal):
        refuse_unused(options, "it is of likelihood = 'normal'", "sigma")
    return site


def joint(site: Site, numbers: Tensor, event_dim: int, observed: Tensor | None = None) -> Any:
    """p(x | z) of the dimensions that are observed, each by its site: (row, *event, size) -> batch shape (row,)."""
    if observed is not None:
        return site.p(numbers).mask(observed).to_event(event_dim)
    if isinstance(site, Bernoulli):
        return BernoulliVector(numbers.squeeze(-1), event_dim)
    return site.p(numbers).to_event(event_dim)


class DecodeOptions(PairSampleOptions, MeanOptions):
    """How codes are decoded."""


class CodePair(Pair):
    """What the families with latent codes share: x is made of one site a dimension."""

    x_dtype = "float64"
    SampleOptions: ClassVar[type[BaseModel]] = DecodeOptions

    def __init__(self, options: CodeOptions, event: Event):
        super().__init__(options, event)
        self.shape, self.latent = event.fixed_shape, options.latent
        self.site = site_of(options, event)

    decoder: Decoder

    @abstractmethod
    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """What the decoder is told: z and a context. Errors: `NotOffered` where x is not made of sites."""

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:  # type: ignore[override]  # of a decoder, not of a class
        """The maps of a convolutional decoder."""
        return self.decoder.places

    def way(self) -> dict[str, Step]:
        """Maps, where the decoder has some, and E[x | latents]."""
        return self.decoder.way(self._checked, lambda numbers: self.site.mean(self.site.p(numbers)))

    def _checked(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        z, context = self.told(at)
        if z.shape[1:] != (self.latent,):
            raise InputError(f"z: {self.latent} numbers a row are needed, not {z.shape[1:].numel()}")
        return z.to(next(self.parameters()).dtype), context

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """x and its latents, or x given these; x is a draw, or a mean if that is asked for."""
        drawn = super().draw(n, given, options)
        if options.mean:
            conditions = {name: given[name] for name in self.event.given}
            drawn["x"] = self.decode({**{name: drawn[name] for name in self.latents}, **conditions})
        return drawn

    @property
    def measure(self) -> str:
        """Lebesgue for a normal, whatever it is fitted to; of a table the product over columns."""
        if isinstance(self.site, TableSite):
            return self.event.measure
        return "lebesgue" if self.site.levels is None else "counting"

    def standardize(self, data: Rows) -> None:
        """Learn location and scale of the data, where the site has them."""
        if isinstance(self.site, LearnedNormal):
            self.site.standardize(data)
        if isinstance(self.site, TableSite):
            seen = data.moments()
            self.site.learn(self.event, seen)
            self.decoder.begin(beginnings(self.event, self.site.sites, seen))


class Encoder(nn.Module):
    """x and a context to numbers: (row, *event), (row, context) -> (row, outputs)."""

    def __init__(self, options: CodeOptions, event: Event, site: Site, outputs: int, context: int = 0):
        super().__init__()
        self.site, self.shape = site, event.fixed_shape
        self.net: MLP | Halving
        self.conv = options.network == "conv"
        if self.conv:
            self.channels, height, width = event.image(
                len(options.sizes), "channels in hidden", "use network = 'mlp'"
            )
            image = (self.channels * site.features, height, width)
            self.net = Halving(image, options.sizes, outputs, options.activation, context)
        else:
            self.net = MLP(event.size * site.features, options.sizes, outputs, options.activation, context)

    def forward(self, x: Tensor, context: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """What is not observed is told as 0."""
        e = self.site.encode(x, self.net.dtype)
        if observed is not None:
            e = e * observed[..., None]
        return self.from_features(e, context)

    def from_features(self, e: Tensor, context: Tensor | None = None) -> Tensor:
        """Of x as the network is told it: (row, *event, features) -> (row, outputs)."""
        if self.conv:
            e = e.reshape(len(e), self.channels, *self.shape[-2:], e.shape[-1]).movedim(-1, 2).flatten(1, 2)
        return self.net(e, context)


class Decoder(nn.Module):
    """z and a context to the numbers of each site: (row, latent), (row, context) -> (row, *event, size)."""

    def __init__(self, options: CodeOptions, event: Event, size: int, context: int = 0):
        super().__init__()
        self.shape, self.size = event.fixed_shape, size
        hidden = options.sizes[::-1]
        self.net: MLP | Doubling
        self.conv = options.network == "conv"
        if self.conv:
            channels, height, width = event.image(len(hidden), "channels in hidden", "use network = 'mlp'")
            image = (channels * size, height, width)
            self.net = Doubling(options.latent, hidden, image, options.activation, context)
        else:
            self.net = MLP(options.latent, hidden, event.size * size, options.activation, context)
        self.places = maps_of(self.net.sides) if isinstance(self.net, Doubling) else {}

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """For images by convolutions, sizes are channels."""
        return self._of_sites(self.net(z, context))

    @torch.no_grad()
    def begin(self, numbers: Tensor) -> None:
        """Numbers of each site that are added to what the net gives at first: (*event, size). Of a net without convolutions."""
        assert isinstance(self.net, MLP)
        last = self.net.layers[-1]
        assert isinstance(last, nn.Linear)
        last.bias.add_(numbers.flatten().to(last.bias))

    def way(
        self,
        told: Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor | None]],
        mean: Callable[[Tensor], Tensor],
    ) -> dict[str, Step]:
        """From what is told to the maps of convolutions, and to the mean of x by its numbers."""
        net, names = self.net, [*self.places]
        if not isinstance(net, Doubling):
            return {"x": lambda at: mean(self.forward(*told(at)))}

        def maps(i: int) -> Step:
            return lambda at: net.grow(i - 1, at[names[i - 1]]) if i else net.start(*told(at))

        steps = {name: maps(i) for i, name in enumerate(names)}
        return {**steps, "x": lambda at: mean(self._of_sites(net.grow(len(names) - 1, at[names[-1]])))}

    def _of_sites(self, y: Tensor) -> Tensor:
        if self.conv:
            y = y.unflatten(1, (-1, self.size)).movedim(2, -1)
        return y.reshape(len(y), *self.shape, self.size)
