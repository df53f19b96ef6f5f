"""The base of the families with latent codes: one site per dimension of x, an encoder and a decoder."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, cast

import pyro.distributions as dist
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.contract.event import Event
from probgen.contract.options import SET, MeanOptions, Sizes, layer_sizes, only, refuse_unused
from probgen.contract.places import At, Step, maps_of
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

SHARPEST = math.log(
    1e-3
)  # least log sigma of standardized data: a density must not spike on a constant feature
MOST_LEVELS = 256  # largest softmax for every dimension of x


class CodeOptions(SVIOptions):
    """Options of the families with latent codes."""

    latent: int = Field(16, ge=1, description="number of dimensions of z")
    network: Literal["mlp", "conv"] = Field(
        "mlp", description="mlp: fully connected layers; conv: convolutions, each halving an image"
    )
    hidden: Sizes = Field(
        (200, 200), description="units or channels of each encoder layer; the decoder mirrors them"
    )
    activation: Literal["tanh", "relu", "softplus", "silu"] = Field(
        "tanh", description="activation function of the hidden layers"
    )
    likelihood: Literal["auto", "bernoulli", "categorical", "logistic", "normal"] = Field(
        "auto",
        description="distribution of each dimension of x given z; auto: by the support of x; logistic: "
        "discretized",
    )
    sigma: Literal["shared", "feature"] = Field(
        "shared",
        description="learned standard deviation of a normal likelihood: shared, or one per feature",
    )
    given: tuple[str, ...] = Field((), description="names of the conditions of x, such as ['label']")
    conditioning: Literal["input", "decoders"] = Field(
        "input",
        description="input: encoder and decoder receive the conditions; decoders: one decoder for each class "
        "of the condition, and an encoder that does not receive it",
        json_schema_extra=only(given=SET),
    )

    @model_validator(mode="after")
    def _sizes(self) -> CodeOptions:
        if self.network == "conv" and not self.sizes:
            raise ValueError(
                "network = 'conv': hidden is empty. Set hidden to the channels of each convolution."
            )
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units or channels of each encoder layer."""
        return layer_sizes(self.hidden)


class LearnedNormal(nn.Module):
    """A site with a learned standard deviation: x ~ Normal(loc + scale mu, scale sigma).

    `loc` and `scale` standardize the data, and sigma is a parameter.

    Args:
        shape: Shape of x.
        each: Whether every dimension has its own sigma; otherwise all share one.
        units: Whether every dimension has its own scale, as the columns of a table need; otherwise all share one.
    """

    size = features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, shape: tuple[int, ...], each: bool, units: bool):
        super().__init__()
        self.units = units
        self.log_sigma = nn.Parameter(torch.zeros(shape if each else ()))
        self.standard = Standardization(shape, units)

    def p(self, numbers: Tensor) -> Any:
        """Return the distribution of x.

        Args:
            numbers: The means mu of standardized x, (..., *shape, 1).

        Returns:
            A distribution with batch shape (..., *shape).
        """
        sigma = self.log_sigma.clamp(min=SHARPEST).exp()
        return dist.Normal(self.standard.inverse(numbers.squeeze(-1)), self.standard.scale * sigma)

    def mean(self, p: Any) -> Tensor:
        """Return the mean of `p`."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return standardized x as network inputs: (..., *shape, 1)."""
        y: Tensor = self.standard(x, dtype)
        return y[..., None]

    def standardize(self, data: Rows) -> None:
        """Learn the mean of each dimension, and the standard deviation of each dimension or of all together.

        A dimension without variance keeps a scale of 1.

        Args:
            data: The rows of the fit.
        """
        seen = data.moments()
        self.standard.learn(seen.mean, seen.scale if self.units else seen.shared_scale)


def site_of(options: CodeOptions, event: Event) -> Site:
    """Return the site of each dimension of x.

    Args:
        options: The options of the family.
        event: The event that x is.

    Returns:
        The site; for a table, the sites of its columns.

    Raises:
        InputError: When the likelihood does not suit the data.
    """
    if is_table(event):
        if options.likelihood != "auto":
            raise InputError(
                f"likelihood = {options.likelihood!r}: each column of a table has its own likelihood, by its "
                "kind. "
                "Leave likelihood out, and set kinds with --kind."
            )
        refuse_unused(options, "each column of a table has its own likelihood", "sigma")
        return TableSite(event)
    each = options.sigma == "feature"
    made: dict[str, Callable[[int], Site]] = {
        "bernoulli": lambda levels: Bernoulli(),
        "categorical": Categorical,
        "logistic": Logistic,
        "normal": lambda levels: LearnedNormal(event.fixed_shape, each, each or bool(event.columns)),
    }
    site = site_for(event, made, options.likelihood, most=MOST_LEVELS)
    if not isinstance(site, LearnedNormal):
        refuse_unused(options, "it needs likelihood = 'normal'", "sigma")
    return site


def joint(site: Site, numbers: Tensor, event_dim: int, observed: Tensor | None = None) -> Any:
    """Return p(x | z) of the observed dimensions, which are independent given z.

    Args:
        site: The site of each dimension.
        numbers: Parameters of the sites, (row, *event, size).
        event_dim: Number of dimensions of the event.
        observed: The observed values, (row, *event), or None for complete rows.

    Returns:
        A distribution with batch shape (row,).
    """
    if observed is not None:
        return site.p(numbers).mask(observed).to_event(event_dim)
    if isinstance(site, Bernoulli):
        return BernoulliVector(numbers.squeeze(-1), event_dim)
    return site.p(numbers).to_event(event_dim)


class DecodeOptions(PairSampleOptions, MeanOptions):
    """Options of sampling from a family with latent codes."""


class CodePair(Pair):
    """The base of the pairs with latent codes: one site per dimension of x, and a decoder.

    A subclass sets `decoder` and replaces `told`.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    x_dtype = "float64"
    SampleOptions: ClassVar[type[BaseModel]] = DecodeOptions

    def __init__(self, options: CodeOptions, event: Event):
        super().__init__(options, event)
        self.shape, self.latent = event.fixed_shape, options.latent
        self.site = site_of(options, event)

    decoder: Decoder | Decoders

    @abstractmethod
    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the inputs of the decoder.

        Args:
            at: Latents and conditions by name, each (row, ...).

        Returns:
            z (row, latent), and the context (row, context) or None.

        Raises:
            NotOffered: When the mean of x given z is unknown.
        """

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:  # type: ignore[override]  # depends on the decoder
        """The feature maps of a convolutional decoder, with their dimensions."""
        return self.decoder.places

    @property
    def seen_size(self) -> int:
        """The number of context numbers per row that the encoder receives."""
        return 0 if self.options.conditioning == "decoders" else self.context_size

    def seen(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """Return the context that the encoder receives.

        Args:
            given: The conditions by name.

        Returns:
            The context, (row, context), or None.
        """
        return self.context(given) if self.seen_size else None

    def decoder_of(self) -> Decoder | Decoders:
        """Return the decoder in its initial state, or one for each class."""
        if self.options.conditioning == "decoders":
            return Decoders(self.options, self.event, self.site.size)
        return Decoder(self.options, self.event, self.site.size, self.context_size)

    def way(self) -> dict[str, Step]:
        """Return the steps from the latents to each feature map of the decoder, and to E[x | latents]."""
        return self.decoder.way(self._checked, lambda numbers: self.site.mean(self.site.p(numbers)))

    def _checked(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        z, context = self.told(at)
        if z.shape[1:] != (self.latent,):
            raise InputError(
                f"given z: it has {z.shape[1:].numel()} numbers per row. Give {self.latent}, the dimensions "
                "of z."
            )
        return z.to(next(self.parameters()).dtype), context

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample the latents, unless they are given, and x given them; with `mean`, x is E[x | latents]."""
        drawn = super().draw(n, given, options)
        if options.mean:
            conditions = {name: given[name] for name in self.event.given}
            drawn["x"] = self.decode({**{name: drawn[name] for name in self.latents}, **conditions})
        return drawn

    @property
    def measure(self) -> str:
        """The base measure of a score: Lebesgue for a normal site, else counting; by columns in a table."""
        if isinstance(self.site, TableSite):
            return self.event.measure
        return "lebesgue" if self.site.levels is None else "counting"

    def standardize(self, data: Rows) -> None:
        """Learn the location and scale of the data, if the site has them.

        Args:
            data: The rows of the fit.
        """
        if isinstance(self.site, LearnedNormal):
            self.site.standardize(data)
        if isinstance(self.site, TableSite):
            seen = data.moments()
            self.site.learn(self.event, seen)
            self.decoder.begin(beginnings(self.event, self.site.sites, seen))


class Encoder(nn.Module):
    """A network from x and a context to a vector.

    Args:
        options: The options of the family.
        event: The event that x is.
        site: The site of each dimension of x.
        outputs: Number of outputs.
        context: Number of context numbers per row.
    """

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
        """Return the outputs of the network.

        Args:
            x: The rows, (row, *event).
            context: The context, (row, context), or None.
            observed: The observed values, (row, *event), or None for complete rows; missing values enter as
                0.

        Returns:
            Outputs, (row, outputs).
        """
        e = self.site.encode(x, self.net.dtype)
        if observed is not None:
            e = e * observed[..., None]
        return self.from_features(e, context)

    def from_features(self, e: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs of the network for encoded x.

        Args:
            e: Features of x, as the site encodes them, (row, *event, features).
            context: The context, (row, context), or None.

        Returns:
            Outputs, (row, outputs).
        """
        if self.conv:
            e = e.reshape(len(e), self.channels, *self.shape[-2:], e.shape[-1]).movedim(-1, 2).flatten(1, 2)
        return self.net(e, context)


class Decoder(nn.Module):
    """A network from z and a context to the parameters of each site.

    Args:
        options: The options of the family.
        event: The event that x is.
        size: Number of parameters of each site.
        context: Number of context numbers per row.
    """

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
        """Return the parameters of each site.

        Args:
            z: Latents, (row, latent).
            context: The context, (row, context), or None.

        Returns:
            Parameters, (row, *event, size).
        """
        return self._of_sites(self.net(z, context))

    @torch.no_grad()
    def begin(self, numbers: Tensor) -> None:
        """Add initial values to the biases of the last layer; for a network without convolutions.

        Args:
            numbers: Initial parameters of each site, (*event, size).
        """
        assert isinstance(self.net, MLP)
        last = self.net.layers[-1]
        assert isinstance(last, nn.Linear)
        last.bias.add_(numbers.flatten().to(last.bias))

    def way(
        self,
        told: Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor | None]],
        mean: Callable[[Tensor], Tensor],
    ) -> dict[str, Step]:
        """Return the steps from the inputs of the decoder to each feature map, and to the mean of x.

        Args:
            told: A function from latents and conditions by name to z and a context.
            mean: A function from the parameters of the sites to the mean of x.

        Returns:
            Steps by the name of their place.
        """
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


class Decoders(nn.Module):
    """One decoder for each class of a condition, called as one `Decoder`.

    Args:
        options: The options of the family.
        event: The event that x is, with the condition.
        size: Number of parameters of each site.

    Raises:
        InputError: When the event does not have one condition with classes.
    """

    def __init__(self, options: CodeOptions, event: Event, size: int):
        super().__init__()
        if len(event.given) != 1 or any(part.dims or part.levels is None for part in event.given.values()):
            raise InputError(
                f"given = {list(event.given)}: a decoder for each class needs one condition with classes. Set "
                "given to one label."
            )
        ((self.condition, part),) = event.given.items()
        self.each = nn.ModuleList(Decoder(options, event, size) for _ in range(part.levels or 1))

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:
        """The feature maps of a convolutional decoder, with their dimensions."""
        return self._decoders()[0].places

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of each site, by the decoder of the class of each row.

        Args:
            z: Latents, (row, latent).
            context: The classes as one-hot vectors, (row, class).

        Returns:
            Parameters, (row, *event, size).
        """
        assert context is not None
        decoders = self._decoders()
        return self._by_class(context.argmax(1), z, lambda c, some: decoders[c](some))

    def begin(self, numbers: Tensor) -> None:
        """Add initial values to the biases of the last layer of each decoder.

        Args:
            numbers: Initial parameters of each site, (*event, size).
        """
        for decoder in self._decoders():
            decoder.begin(numbers)

    def way(
        self,
        told: Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor | None]],
        mean: Callable[[Tensor], Tensor],
    ) -> dict[str, Step]:
        """Return the steps of `Decoder.way`, by the decoder of the class of each row.

        Args:
            told: A function from latents and conditions by name to z and a context.
            mean: A function from the parameters of the sites to the mean of x.

        Returns:
            Steps by the name of their place.
        """
        names = [*self.places, "x"]
        # the mean is taken of all rows, because a class may have none
        ways = [
            decoder.way(lambda at: (at["z"], None), lambda numbers: numbers) for decoder in self._decoders()
        ]

        def step(before: str, name: str) -> Step:
            def of(at: At) -> Tensor:
                values = told(at)[0] if before == "z" else at[before]
                found = self._by_class(
                    at[self.condition], values, lambda c, some: ways[c][name](At({}, {before: some}, name))
                )
                return mean(found) if name == "x" else found

            return of

        return {name: step(before, name) for before, name in zip(["z", *names[:-1]], names, strict=True)}

    def _decoders(self) -> list[Decoder]:
        return cast(list[Decoder], list(self.each))

    def _by_class(self, classes: Tensor, values: Tensor, step: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return the results of `step(class, values)` for the rows of each class, in the order of the rows."""
        rows = [(classes == c).nonzero()[:, 0] for c in range(len(self.each))]
        parts = [step(c, values[some]) for c, some in enumerate(rows)]
        return torch.cat(parts)[torch.cat(rows).argsort()]
