"""What a family declares. Each protocol is one thing that a definition or its module may have; having it is the declaration.

Definition     a loaded family, as `Fitted` and the data room use it
Samples        SampleOptions: what can be chosen of a draw
Scores         ScoreOptions: what can be chosen of a score
Accepting      accepts: what it can use beside x
Supporting     supports: which values x may have
Typed          dtype: of its parameters
Precise        x_dtype: of real x that it is handed
Preparing      prepare: a change of the data before they are described
Illustrating   pictures: figures of its own
Dependent      needed, of_rows: latents that have no prior
Conditional    options with `given`: what x is conditioned on
Latent         a module with latents
Placed         a module with further places on the way from latents to x
Dimensioned    a module that names the dimensions of its state
Explained      a module that says in words what arrays of its state and of draws are
Decoder        a module that decodes latents
Encoder        a module that encodes x
Discriminating a module that says how real x looks
Gaussian       a module made of Gaussians, which a scatter can show
Telling        a module that tells attributes of x
Selecting      a module that holds several models
Determined     a module that may be a function of what it is given
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
USUAL = frozenset({"real", "binary", "integer", "token"})  # supports of a family that does not say which


class Definition(Protocol):
    """A loaded family."""

    @property
    def name(self) -> str:
        """The registered name."""

    @property
    def origin(self) -> str:
        """Distribution and version, or the module of a script's own."""

    @property
    def accepts(self) -> frozenset[str]:
        """What it can use beside `x`: a subset of {"observed", "weight", "length", "label", "attribute", "size", "pair"}."""

    @property
    def supports(self) -> frozenset[str]:
        """Which supports x may have."""

    def dtype_of_x(self, dtype: torch.dtype) -> torch.dtype:
        """Of real x that it is handed, where its parameters have a dtype."""

    def offers(self, hook: str) -> bool:
        """Whether it implements a hook."""

    def require(self, hook: str) -> None:
        """Errors: `NotOffered` if it does not implement the hook."""

    def options(self, hook: str) -> type[BaseModel]:
        """The class of the options of a hook."""

    def build(self, options: BaseModel, event: Event, **models: Any) -> nn.Module:
        """The module in its initial state. models: those that options name, `Fitted`, by option."""

    def call(self, hook: str, **arguments: Any) -> Any:
        """The result of one hook."""

    def prepared(self, data: xr.Dataset, options: BaseModel) -> xr.Dataset:
        """The data as the family wants them described."""

    def pictures(self, fitted: Any, data: xr.Dataset, **call: Any) -> Mapping[str, Any]:
        """Figures that the family brings, by name."""

    @property
    def needed(self) -> Mapping[str, str]:
        """Latents that a draw must be given, and what they are, in words."""

    def of_rows(self, options: BaseModel, rows: xr.Dataset) -> dict[str, Any]:
        """What a draw is given that is to be made of each row; nothing of a family whose latents have priors."""


@runtime_checkable
class Samples(Protocol):
    """`SampleOptions` of a definition: the options of its hook `sample`."""

    @property
    def SampleOptions(self) -> type[BaseModel]: ...


@runtime_checkable
class Scores(Protocol):
    """`ScoreOptions` of a definition: the options of its hook `score`."""

    @property
    def ScoreOptions(self) -> type[BaseModel]: ...


@runtime_checkable
class Accepting(Protocol):
    """`accepts` of a definition: a subset of {"observed", "weight", "length", "label", "attribute", "size", "pair"}."""

    @property
    def accepts(self) -> Collection[str]: ...


@runtime_checkable
class Supporting(Protocol):
    """`supports` of a definition: which supports x may have; without it {"real", "binary", "integer", "token"}.

    With "mixed" also a table whose columns have different ones of these.
    """

    @property
    def supports(self) -> Collection[str]: ...


@runtime_checkable
class Typed(Protocol):
    """`dtype` of a definition: "float32" or "float64", of its parameters."""

    @property
    def dtype(self) -> str: ...


@runtime_checkable
class Precise(Protocol):
    """`x_dtype` of a definition: "float64", where real x is to be handed over in it whatever the dtype of the parameters."""

    @property
    def x_dtype(self) -> str: ...


@runtime_checkable
class Preparing(Protocol):
    """`prepare` of a definition: the data of a fit, changed before they are described (rare symbols mapped, say)."""

    def prepare(self, data: xr.Dataset, options: Any) -> xr.Dataset:
        """The same rows."""


@runtime_checkable
class Illustrating(Protocol):
    """`pictures` of a definition."""

    def pictures(self, fitted: Any, data: xr.Dataset, *, seed: int, device: Any) -> Mapping[str, Any]:
        """Matplotlib figures by name."""


@runtime_checkable
class Conditional(Protocol):
    """Options of a family that can be conditioned: `given`, names of variables of the data."""

    @property
    def given(self) -> tuple[str, ...]: ...


@runtime_checkable
class Latent(Protocol):
    """A module that names its latents and their dimensions: {"z": ("latent",)}."""

    @property
    def latents(self) -> Dims: ...


@runtime_checkable
class Placed(Protocol):
    """A module that names places on the way from its latents to x, and their dimensions: {"maps4": ("channel", "height", "width")}.

    `sample` does not return them and files do not hold them; `decode` goes to and from them.
    """

    @property
    def places(self) -> Dims: ...


@runtime_checkable
class Dimensioned(Protocol):
    """A module that names dimensions of its parameters and buffers: {"mu": ("component", "feature")}."""

    @property
    def dims(self) -> Dims: ...


@runtime_checkable
class Explained(Protocol):
    """A module that says what arrays of its state, or of its draws, are, where the name does not: {"L": "Cholesky factor of Sigma"}."""

    @property
    def long_names(self) -> Mapping[str, str]: ...


@runtime_checkable
class Decoder(Protocol):
    """A module that decodes latents."""

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """From latents or places to x, or to another place: one row each, (row, *event), differentiable, and nothing is drawn.

        start  what is at some latents and places, and what x is conditioned on. Of several the place nearest to `until`
               counts; those before it are used where a layer after it needs them

        x is the mean of p(x | latents) where that is a distribution, and not rounded. A row does not depend on the others.
        Errors: `NotOffered` where the mean is not known; `InputError` for a place that there is not, and where more is needed.
        """


@runtime_checkable
class Encoder(Protocol):
    """A module with an encoder."""

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Its latents where the encoder sees rows of x: the mean of q(z | x), the most likely class; nothing is drawn.

        x (row, *event), given (row, ...). A row does not depend on the others.
        """


@runtime_checkable
class Discriminating(Protocol):
    """A module with a network that tells rows from draws, as the discriminator of a GAN."""

    def realism(self, x: Tensor, **given: Tensor) -> Tensor:
        """log p_data(x) / p_model(x) as far as it can tell, in nats: (row,), differentiable. x (row, *event), in the units of the data."""


@runtime_checkable
class Gaussian(Protocol):
    """A module made of Gaussians."""

    def gaussians(self) -> tuple[Any, Any, Any]:
        """Weights (component,), means (component, feature), covariances (component, feature, feature)."""


@runtime_checkable
class Telling(Protocol):
    """A module that tells attributes of x, by features. levels: names of attributes, and how many classes each has, 0 for a number."""

    levels: Mapping[str, int]

    def features(self, x: Tensor) -> Tensor:
        """(row, *event) -> (row, feature)."""

    def tell(self, features: Tensor) -> Tensor:
        """Numbers in their units, and the most likely classes: (row, factor)."""


@runtime_checkable
class Selecting(Protocol):
    """A module that holds several models. selects: latents that select one; codes of different models are not comparable."""

    @property
    def selects(self) -> Collection[str]: ...


@runtime_checkable
class Dependent(Protocol):
    """A definition whose draws are made of rows: latents without a prior.

    needed  latents that a draw must be given, and what they are, in words
    """

    @property
    def needed(self) -> Mapping[str, str]: ...

    def of_rows(self, options: Any, rows: xr.Dataset) -> Mapping[str, Any]:
        """What a draw is given that is to be made of each row: latents and conditions, `(row, ...)` each."""


@runtime_checkable
class Determined(Protocol):
    """A module that may be a function of its conditions. deterministic: all draws of the same conditions are equal."""

    @property
    def deterministic(self) -> bool: ...


def deterministic(module: nn.Module) -> bool:
    """Whether all draws of the same conditions are equal."""
    return isinstance(module, Determined) and module.deterministic


def latents_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names and dimensions of the latents of a module; none where it declares none."""
    return dict(module.latents) if isinstance(module, Latent) else {}


def places_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names and dimensions of places on the way from latents to x, beside the latents."""
    return dict(module.places) if isinstance(module, Placed) else {}


def dims_of(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of the dimensions of a module's state, as far as it declares them."""
    return dict(module.dims) if isinstance(module, Dimensioned) else {}


def long_names_of(module: nn.Module) -> dict[str, str]:
    """What arrays of a module's state are, in words, as far as it says so."""
    return dict(module.long_names) if isinstance(module, Explained) else {}


def conditions_of(options: BaseModel) -> tuple[str, ...]:
    """What options ask x to be conditioned on."""
    return tuple(options.given) if isinstance(options, Conditional) else ()
