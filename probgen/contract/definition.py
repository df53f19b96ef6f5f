"""Protocols for optional properties of a family.

A definition or its module declares a property by having it: probgen checks the protocol with `isinstance`.

Protocols of a definition:

    Definition     a loaded family, as `Fitted` and the data room use it
    Samples        SampleOptions: options of the hook `sample`
    Scores         ScoreOptions: options of the hook `score`
    Accepting      accepts: the inputs in addition to x that the family can use
    Supporting     supports: the supports that x may have
    Typed          dtype: the dtype of the parameters
    Precise        x_dtype: the dtype of real x
    Preparing      prepare: a change of the data before the event is derived
    Illustrating   pictures: figures of the family
    Dependent      needed, of_rows: latents without a prior

Protocols of its options and of its module:

    Conditional    options with `given`: the variables that x is conditioned on
    Latent         a module with latents
    Placed         a module with further places between the latents and x
    Dimensioned    a module that names the dimensions of its state
    Explained      a module with descriptions of its arrays
    Decoder        a module that decodes latents
    Encoder        a module that encodes x
    Discriminating a module that estimates how realistic x is
    Gaussian       a module that consists of Gaussians
    Telling        a module that predicts attributes of x
    Selecting      a module that holds several models
    Determined     a module whose samples may be determined by the conditions
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from pydantic import BaseModel
    from torch import Tensor, nn

    from probgen.contract.event import Event

Dims = Mapping[str, tuple[str, ...]]
USUAL = frozenset({"real", "binary", "integer", "token"})  # the supports of a family that declares none


class Definition(Protocol):
    """A loaded family."""

    @property
    def name(self) -> str:
        """The registered name."""

    @property
    def origin(self) -> str:
        """The distribution and its version, or the module of a script's own definition."""

    @property
    def accepts(self) -> frozenset[str]:
        """The inputs in addition to `x` that the family can use.

        A subset of {"observed", "weight", "length", "label", "attribute", "size", "pair"}.
        """

    @property
    def supports(self) -> frozenset[str]:
        """The supports that x may have."""

    def dtype_of_x(self, dtype: torch.dtype) -> torch.dtype:
        """Return the dtype in which hooks receive real x.

        Args:
            dtype: The dtype of the parameters.

        Returns:
            float64 for a family with `x_dtype = "float64"`; otherwise `dtype`.
        """

    def offers(self, hook: str) -> bool:
        """Return whether the family implements a hook.

        Args:
            hook: "fit", "sample" or "score".

        Returns:
            True if the family implements the hook.
        """

    def takes(self, hook: str, argument: str) -> bool:
        """Return whether the implementation of a hook has an argument.

        Args:
            hook: "fit", "sample" or "score".
            argument: The name of the argument.

        Returns:
            True if the implementation has the argument.
        """

    def require(self, hook: str) -> None:
        """Check that the family implements a hook.

        Args:
            hook: "fit", "sample" or "score".

        Raises:
            NotOffered: When the family does not implement the hook.
        """

    def options(self, hook: str) -> type[BaseModel]:
        """Return the class of the options of a hook.

        Args:
            hook: "fit", "sample" or "score".

        Returns:
            A pydantic class; `NoOptions` for a hook without options.
        """

    def build(self, options: BaseModel, event: Event, **models: Any) -> nn.Module:
        """Return the module in its initial state.

        Args:
            options: The options of the fit.
            event: The event of the data.
            **models: The fitted models that the family builds on, by the option that names their run.

        Returns:
            The torch module with initial parameters.
        """

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call one hook.

        Args:
            hook: "fit", "sample" or "score".
            **arguments: The arguments of the hook specification, by name.

        Returns:
            The result of the hook.
        """

    def prepared(self, data: xr.Dataset, options: BaseModel) -> xr.Dataset:
        """Return the data after the family's own `prepare`, if it has one.

        Args:
            data: The rows of a fit.
            options: The options of the fit.

        Returns:
            The same rows, changed by the family.
        """

    def pictures(self, fitted: Any, data: xr.Dataset, **call: Any) -> Mapping[str, Any]:
        """Return the figures of the family, by name.

        Args:
            fitted: The fitted model.
            data: The rows of the fit, in the symbols of the fit.
            **call: `seed` and `device`.

        Returns:
            Matplotlib figures by name; empty for a family without figures.
        """

    @property
    def needed(self) -> Mapping[str, str]:
        """The latents that `sample` requires in `given`, each with a description in words."""

    def of_rows(self, options: BaseModel, rows: xr.Dataset) -> dict[str, Any]:
        """Return the conditions that samples of given rows require.

        Args:
            options: The options of the fit.
            rows: The rows to make samples of.

        Returns:
            Conditions of `sample` by name, one row each; empty for a family whose latents have priors.
        """


@runtime_checkable
class Samples(Protocol):
    """A definition with `SampleOptions`, the options of its hook `sample`."""

    @property
    def SampleOptions(self) -> type[BaseModel]:
        """The pydantic class of the options of the hook `sample`."""
        ...


@runtime_checkable
class Scores(Protocol):
    """A definition with `ScoreOptions`, the options of its hook `score`."""

    @property
    def ScoreOptions(self) -> type[BaseModel]:
        """The pydantic class of the options of the hook `score`."""
        ...


@runtime_checkable
class Accepting(Protocol):
    """A definition with `accepts`, the inputs in addition to `x` that the family can use."""

    @property
    def accepts(self) -> Collection[str]:
        """A subset of {"observed", "weight", "length", "label", "attribute", "size", "pair"}.

        The names permit:

            observed   missing values
            weight     row weights
            length     rows of several lengths
            label      a label that is missing in some rows (-1 or NaN)
            attribute  attributes of rows
            size       images of several sizes
            pair       an image of another kind for each row, which scores compare with x
        """
        ...


@runtime_checkable
class Supporting(Protocol):
    """A definition with `supports`, the supports that x may have.

    A family without `supports` has {"real", "binary", "integer", "token"}. "mixed" permits a table whose
    columns have different supports.
    """

    @property
    def supports(self) -> Collection[str]:
        """A subset of {"real", "binary", "count", "integer", "token", "mixed"}."""
        ...


@runtime_checkable
class Typed(Protocol):
    """A definition with `dtype`, the dtype of its parameters."""

    @property
    def dtype(self) -> str:
        """The name of the dtype: "float32" or "float64"."""
        ...


@runtime_checkable
class Precise(Protocol):
    """A definition with `x_dtype`, the dtype of real x, which can differ from the dtype of the parameters."""

    @property
    def x_dtype(self) -> str:
        """The name of the dtype: "float64"."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A definition with `prepare`, which changes the data of a fit before the event is derived from them."""

    def prepare(self, data: xr.Dataset, options: Any) -> xr.Dataset:
        """Return the same rows with changed values, for example with rare symbols mapped to one symbol.

        Args:
            data: The rows of a fit: `x (row, ...)` and the variables that belong to it.
            options: The options of the fit.

        Returns:
            A Dataset with the same rows.
        """


@runtime_checkable
class Illustrating(Protocol):
    """A definition with `pictures`, figures that recipes save in `RUN/pictures/`."""

    def pictures(self, fitted: Any, data: xr.Dataset, *, seed: int, device: Any) -> Mapping[str, Any]:
        """Return figures of the fitted model, by name.

        Args:
            fitted: The fitted model.
            data: The rows of the fit, in the symbols of the fit.
            seed: The seed of all random numbers.
            device: The device for samples and scores.

        Returns:
            Matplotlib figures by name.

        Raises:
            InputError: When no figure suits the event; the recipe then continues without figures.
        """


@runtime_checkable
class Conditional(Protocol):
    """Options of a family that can be conditioned."""

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the variables of the data that x is conditioned on."""
        ...


@runtime_checkable
class Latent(Protocol):
    """A module with `latents`."""

    @property
    def latents(self) -> Dims:
        """The names of the latents and their dimensions: {"z": ("latent",)}."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A module with `places`, the places between its latents and x.

    `decode` starts from a place or ends at one. `sample` does not return places, and files do not store them.
    """

    @property
    def places(self) -> Dims:
        """The names of the places and their dimensions: {"maps4": ("channel", "height", "width")}."""
        ...


@runtime_checkable
class Dimensioned(Protocol):
    """A module with `dims`, the names of the dimensions of its state."""

    @property
    def dims(self) -> Dims:
        """The dimensions of parameters and buffers, by name: {"mu": ("component", "feature")}."""
        ...


@runtime_checkable
class Explained(Protocol):
    """A module with `long_names`, descriptions of arrays whose names do not explain them."""

    @property
    def long_names(self) -> Mapping[str, str]:
        """Descriptions of arrays of the state or of samples, by name: {"L": "Cholesky factor of Sigma"}."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A module that decodes latents."""

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Return x, or another place, computed from latents or places without sampling.

        x is the mean of p(x | latents) if this is a distribution, and it is not rounded. The result is
        differentiable, and a row does not depend on the other rows.

        Args:
            start: The values at some latents and places, and the conditions of x, each (row, ...). If there
                are several places, decoding starts at the place nearest to `until`. A later layer that needs
                an earlier place uses it.
            until: The place to compute: "x", a latent or a name in `places`.

        Returns:
            The values at `until`: (row, *dims); for x (row, *event dims).

        Raises:
            NotOffered: When the mean is not known.
            InputError: When a name is not a place, or when a value that decoding needs is missing.
        """


@runtime_checkable
class Encoder(Protocol):
    """A module with an encoder."""

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return the latents of rows of x without sampling: the mean of q(z | x), or the most likely class.

        A row does not depend on the other rows.

        Args:
            x: Rows of x: (row, *event dims).
            **given: The conditions by name: (row, ...).

        Returns:
            The latents by name: (row, ...).
        """


@runtime_checkable
class Discriminating(Protocol):
    """A module with a network that distinguishes data from samples, like the discriminator of a GAN."""

    def realism(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return an estimate of log p_data(x) / p_model(x), in nats, with a gradient to x.

        Args:
            x: Rows of x, in the units of the data: (row, *event dims).
            **given: The conditions by name: (row, ...).

        Returns:
            The estimated log ratio of each row, in nats: (row,).
        """


@runtime_checkable
class Gaussian(Protocol):
    """A module that consists of Gaussians, which a scatter plot can show."""

    def gaussians(self) -> tuple[Any, Any, Any]:
        """Return the parameters of the Gaussians.

        Returns:
            Weights (component,), means (component, feature) and covariances (component, feature, feature).
        """


@runtime_checkable
class Telling(Protocol):
    """A module that predicts attributes of x from features.

    Attributes:
        levels: The names of the attributes with their number of classes; 0 for an attribute that is a number.
    """

    levels: Mapping[str, int]

    def features(self, x: Tensor) -> Tensor:
        """Return the features of rows of x.

        Args:
            x: Rows of x: (row, *event dims).

        Returns:
            The features: (row, feature).
        """

    def tell(self, features: Tensor) -> Tensor:
        """Return the predicted attributes.

        Args:
            features: The features of the rows: (row, feature).

        Returns:
            Numbers in their units, and the most likely classes: (row, factor).
        """


@runtime_checkable
class Selecting(Protocol):
    """A module that holds several models, with latents that select one of them."""

    @property
    def selects(self) -> Collection[str]:
        """The names of the latents that select a model; codes of different models are not comparable."""
        ...


@runtime_checkable
class Dependent(Protocol):
    """A definition with latents that have no prior, so that samples require rows."""

    @property
    def needed(self) -> Mapping[str, str]:
        """The latents that `sample` requires in `given`, each with a description in words."""
        ...

    def of_rows(self, options: Any, rows: xr.Dataset) -> Mapping[str, Any]:
        """Return the conditions that samples of given rows require.

        Args:
            options: The options of the fit.
            rows: The rows to make samples of.

        Returns:
            Latents and conditions by name, each (row, ...).
        """


@runtime_checkable
class Determined(Protocol):
    """A module whose samples may be a function of the conditions alone."""

    @property
    def deterministic(self) -> bool:
        """Whether all samples with the same conditions are equal."""
        ...


def deterministic(module: nn.Module) -> bool:
    """Return whether all samples of a module with the same conditions are equal.

    Args:
        module: The module of a fitted model.

    Returns:
        True if the module declares `deterministic` and the value is true.
    """
    return isinstance(module, Determined) and module.deterministic


def latents_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the names and dimensions of the latents of a module.

    Args:
        module: The module of a fitted model.

    Returns:
        The dimensions by latent; empty if the module declares no latents.
    """
    return dict(module.latents) if isinstance(module, Latent) else {}


def places_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the names and dimensions of the places of a module, without its latents.

    Args:
        module: The module of a fitted model.

    Returns:
        The dimensions by place; empty if the module declares no places.
    """
    return dict(module.places) if isinstance(module, Placed) else {}


def dims_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the names of the dimensions of the state of a module.

    Args:
        module: The module of a family.

    Returns:
        The dimensions by array; empty if the module declares none.
    """
    return dict(module.dims) if isinstance(module, Dimensioned) else {}


def long_names_of(module: nn.Module) -> dict[str, str]:
    """Return the descriptions of the arrays of a module.

    Args:
        module: The module of a family.

    Returns:
        The descriptions by array; empty if the module declares none.
    """
    return dict(module.long_names) if isinstance(module, Explained) else {}


def conditions_of(options: BaseModel) -> tuple[str, ...]:
    """Return the names of the variables that x is conditioned on.

    Args:
        options: The options of a fit.

    Returns:
        The names in `options.given`; empty for options without `given`.
    """
    return tuple(options.given) if isinstance(options, Conditional) else ()
