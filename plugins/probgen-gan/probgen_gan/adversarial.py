"""The base of GANs with two networks, a discriminator D and a generator G, and the options of their game.

In the game, rows have the shape `(row, *form)`: vectors for an MLP, images for a convolutional network. Real data are
standardized to mean 0 and to one standard deviation for all features. Discrete data are scaled to -1 .. 1.

Several members are independent GANs that are trained together. They add a first dimension, `(member, row, *form)`.
A single member has no such dimension.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Self, overload

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from probgen import Event, Fitted, Options, Run
from probgen.contract.conditions import context_of, context_size
from probgen.contract.options import only
from probgen.contract.places import Step, decoded
from probgen.distributions import Standardization
from probgen.errors import InputError


class DuelOptions(Options):
    """The options that all GAN families based on `Adversarial` share."""

    loss: Literal["minimax", "nonsaturating", "least_squares", "wasserstein", "hinge", "relativistic"] = (
        Field("nonsaturating", description="loss of the generator and the discriminator")
    )
    latent: int = Field(2, ge=1, description="dimensions of z")
    steps: int = Field(5000, ge=1, description="training steps of the generator")
    d_steps: int = Field(1, ge=1, description="discriminator steps per generator step")
    batch_size: int = Field(128, ge=1, description="rows per training step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate, for both networks")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's beta1, for both networks")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's beta2, for both networks")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning-rate schedule; cosine decreases to 1 %"
    )
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps at the full learning rate, before the schedule starts",
        json_schema_extra=only(schedule="cosine"),
    )
    r1: float = Field(0.0, ge=0, description="weight of the penalty |grad D|^2 / 2 at real rows")
    average: float = Field(0.999, ge=0, lt=1, description="decay of the exponential average of G's weights")
    given: tuple[str, ...] = Field((), description="conditions of x: ['label']")


class GameOptions(DuelOptions):
    """The options that `gan` and `dcgan` share."""

    unrolled: int = Field(0, ge=0, description="discriminator steps that the generator looks ahead")
    r2: float = Field(0.0, ge=0, description="weight of the penalty |grad D|^2 / 2 at samples")
    anneal: float = Field(
        1.0,
        gt=0,
        le=1,
        description="factor of r1 and r2 after 80 % of the steps, reached geometrically",
    )
    gradient_penalty: float = Field(
        0.0, ge=0, description="weight of the penalty (|grad D| - 1)^2 between real rows and samples"
    )
    clip: float | None = Field(None, gt=0, description="largest absolute weight of the discriminator")
    packing: int = Field(1, ge=1, description="rows that the discriminator sees together")
    minibatch: int = Field(0, ge=0, description="number of kernels for minibatch discrimination")
    spectral: bool = Field(False, description="spectral normalization of the discriminator")
    noise: float = Field(
        0.0, ge=0, description="initial standard deviation of noise on D's input; 0 after 40 % of the steps"
    )

    @model_validator(mode="after")
    def _packs(self) -> GameOptions:
        if self.batch_size % self.packing:
            raise ValueError(
                f"packing = {self.packing} does not divide batch_size = {self.batch_size}. "
                "Use a batch_size that is a multiple of packing."
            )
        if self.anneal != 1 and not (self.r1 or self.r2):
            raise ValueError(
                f"anneal = {self.anneal} has no effect without r1 and r2. Set one of them, or omit anneal."
            )
        if self.unrolled and (self.r1 or self.r2 or self.gradient_penalty or self.clip):
            raise ValueError(
                f"unrolled = {self.unrolled}: the look-ahead of D does not support penalties and clipping. "
                "Omit r1, r2, gradient_penalty and clip."
            )
        return self


@dataclass(frozen=True)
class Game:
    """The settings of a game.

    Each field has the meaning of the option with its name. If a family lacks the option, the field has its default.

    Attributes:
        d_rate: Learning rate of D, as a multiple of G's learning rate.
        r1_every: Number of turns of D from one r1 penalty to the next. The weight of the penalty is multiplied by
            this number (Karras et al. 2020, appendix B).
        autocast: Whether products are computed in bfloat16 (torch.autocast). Gradient penalties never are.
    """

    loss: str
    latent: int
    steps: int
    d_steps: int
    batch_size: int
    learning_rate: float
    beta1: float
    beta2: float
    schedule: Literal["constant", "cosine"]
    hold: float
    average: float
    r1: float
    d_rate: float = 1.0
    r1_every: int = 1
    r2: float = 0.0
    anneal: float = 1.0
    gradient_penalty: float = 0.0
    clip: float | None = None
    packing: int = 1
    noise: float = 0.0
    unrolled: int = 0
    autocast: bool = False

    @classmethod
    def of(cls, options: DuelOptions) -> Self:
        """Return the settings that `options` describe."""
        offered = type(options).model_fields
        return cls(**{f.name: getattr(options, f.name) for f in fields(cls) if f.name in offered})


# n -> n samples of z (row, latent), and n conditions of real rows (row, context), or None without conditions
Some = Callable[[int], tuple[Tensor, Tensor | None]]


class Stage(NamedTuple):
    """One part of a game.

    Attributes:
        name: Name of the stage.
        share: Share of the game's steps, from 0 to 1.
    """

    name: str = "fit"
    share: float = 1.0


class Adversarial(nn.Module, ABC):
    """The base of GANs with two networks: a discriminator D, a generator G, and the average of G's weights.

    A subclass builds its networks in `discriminator` and `generator`. Samples are x = loc + scale G(z), by the average.
    For real data, `standard.loc` is the mean of each feature. `standard.scale` is one standard deviation for all
    features, so that round shapes stay round. Discrete data are scaled to -1 .. 1, and `generate` applies tanh to G.

    D receives x `(*member, row, *form)` and c `(*member, row, context)`. It returns one number for each pack of
    consecutive rows, `(*member, pack)`. G receives z `(*member, row, latent)` and c, and returns y
    `(*member, row, *form)`. c is None if x has no conditions.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.
        form: Shape of a row in the game. It has as many numbers as the event.
        members: Number of GANs that are trained together.

    Attributes:
        calibration: Coefficients (a, b) of log p_data / p_G = a D + b, (*member, 2).
        alone: Whether D processes each pack independently of the rest of the batch.
        stages: The stages of the game.
        judged: Whether a fit compares samples with validation rows, and keeps the best weights.
        places: Names and dimensions of the places between latents and x.
        long_names: Descriptions of variables that `sample` returns, by name.

    Raises:
        InputError: When rows are of variable length, or consist of tokens.
    """

    calibration: Tensor
    alone = True
    stages: tuple[Stage, ...] = (Stage(),)
    judged = False
    places: Mapping[str, tuple[str, ...]] = {}
    long_names: Mapping[str, str] = {
        "search_error": "root mean square error at the known values of x after a search for the code; x is not sampled from p(x | known values)"
    }

    def __init__(self, options: DuelOptions, event: Event, form: tuple[int, ...], members: int = 1):
        super().__init__()
        if None in event.shape or event.support == "token":
            raise InputError(
                f"event = {event}: a GAN needs rows of numbers that all have the same length. Use another family."
            )
        self.options, self.event, self.form, self.members = options, event, form, members
        self.shape = tuple(length or 1 for length in event.shape)
        self.row_dim = 1 if members > 1 else 0
        self.latents: dict[str, tuple[str, ...]] = {"z": ("latent",)}
        if members > 1:
            self.latents["member"] = ()
            self.selects = ("member",)
        self.context = context_size(event)
        self.D = self.discriminator()  # before G: an error about divergence names the first array
        self.G = self.generator()
        self.average = copy.deepcopy(self.G).requires_grad_(False)
        middle = ((event.levels or 2) - 1) / 2 if event.discrete else 0.0
        self.standard = Standardization(form, each=False)
        self.standard.learn(torch.full(form, middle), torch.tensor(middle or 1.0))
        self.register_buffer(
            "calibration", torch.tensor([1.0, 0.0]).expand(*([members] if members > 1 else []), 2).clone()
        )
        self.dims = {
            name: ("member", *(f"{name}_{i}" for i in range(1, value.ndim)))
            for name, value in self.state_dict().items()
            if name.startswith(("D.", "G.", "average.", "calibration"))
            if members > 1
        }

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """Build D in its initial state.

        Returns:
            Module that maps x (*member, row, *form) and c (*member, row, context) or None to (*member, pack).
        """

    @abstractmethod
    def generator(self) -> nn.Module:
        """Build G in its initial state.

        Returns:
            Module that maps z (*member, row, latent) and c (*member, row, context) or None to (*member, row, *form).
        """

    def generate(self, net: nn.Module, z: Tensor, c: Tensor | None) -> Tensor:
        """Generate standardized samples by G or by its average.

        Args:
            net: G or its average.
            z: Latent codes, (*member, row, latent).
            c: Conditions, (*member, row, context), or None.

        Returns:
            Standardized samples y, (*member, row, *form); for discrete data after tanh.
        """
        y = net(z, c)
        return y.tanh() if self.event.discrete else y

    def discriminate(self, x: Tensor, c: Tensor | None, theta: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the outputs of D for standardized rows.

        Args:
            x: Standardized rows, (*member, row, *form).
            c: Conditions, (*member, row, context), or None.
            theta: Parameters of D by name that replace its own parameters.

        Returns:
            Outputs of D, (*member, pack).
        """
        if theta is None:
            return self.D(x, c)
        return functional_call(self.D, dict(theta), (x, c))

    def critic(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Compute the output of D for each single row. If D sees packs, each pack has copies of one row.

        Args:
            x: Standardized rows, (*member, row, *form).
            c: Conditions, (*member, row, context), or None.

        Returns:
            Outputs of D, (*member, row).
        """
        p, dim = self.game.packing, self.row_dim
        return self.discriminate(x.repeat_interleave(p, dim), c if c is None else c.repeat_interleave(p, dim))

    def realism(self, x: Tensor, **given: Tensor) -> Tensor:
        """Estimate log p_data(x) / p_G(x) by the calibrated D, for any loss of the game.

        Args:
            x: Rows in units of the data, (row, *event).
            **given: Conditions by name, (row, ...).

        Returns:
            The log ratio in nats, (row,). With several members, their mean.
        """
        said = self.critic(self.of_each(self.standardized(x)), self.of_each(self.condition(given)))
        ratio = self.calibration[..., :1] * said + self.calibration[..., 1:]
        return ratio if self.members == 1 else ratio.mean(0)

    # methods that a family overrides to change its networks or its loss during the game

    def at(self, stage: Stage, gone: float) -> None:
        """Adapt the networks to the progress of the game. It is called at the start of each step.

        Args:
            stage: The current stage.
            gone: Share of the stage's steps that are complete, from 0 to 1.
        """

    def check_stages(self, steps: Mapping[str, int]) -> None:
        """Check that each stage has enough steps.

        Args:
            steps: Number of steps by name of the stage. Stages without steps are absent.

        Raises:
            InputError: When a stage has too few steps.
        """

    @property
    def grown(self) -> bool:
        """Whether the networks have their final structure, so that samples can be compared with validation rows."""
        return True

    def extra(self) -> Tensor | None:
        """Compute a term that the generator minimizes in addition to its loss.

        Returns:
            The term, a scalar, or None.
        """
        return None

    def stand(self, some: Some) -> None:
        """Update the average before its samples are stored or compared, for example its standing statistics.

        Args:
            some: Function of n that returns n samples of z (row, latent) and n conditions (row, context) or None.
        """

    def settle(self, some: Some, run: Run) -> None:
        """Complete the state of the average at the end of the game.

        Args:
            some: Function of n that returns n samples of z (row, latent) and n conditions (row, context) or None.
            run: The run of the fit.
        """

    # from noise to x

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Compute x = loc + scale G(z) by the average, or the value at another place.

        Args:
            start: Latents, places and conditions by name, (row, ...). With several members, `member` selects one of
                them for each row.
            until: Name of the place to compute.

        Returns:
            x in units of the data and not rounded, (row, *event); or the value at the place `until`.

        Raises:
            InputError: When a place is unknown, a latent is missing, or a latent has another shape.
        """
        as_they_are = {"member", *self.event.given}
        start = {name: t if name in as_they_are else t.to(self.dtype) for name, t in start.items()}
        for name, tensor in start.items():
            self.check_place(name, tensor)
        roots = ["z", *(["member"] if self.members > 1 else []), *self.event.given]
        return decoded(self.way(), start, until, roots)

    def way(self) -> dict[str, Step]:
        """Return the steps from the latents to x.

        Returns:
            For each place, a function that computes its value from earlier places.
        """

        def x(at: Mapping[str, Tensor]) -> Tensor:
            z, c = at["z"], self.of_each(self.condition(at))
            y = self.generate(self.average, self.of_each(z), c)
            if self.members > 1:
                y = y[self.which(at["member"]), torch.arange(len(z), device=z.device)]
            return self.original(y)

        return {"x": x}

    def check_place(self, name: str, tensor: Tensor) -> None:
        """Check the shape of a latent.

        Args:
            name: Name of the latent.
            tensor: Its values, (row, ...).

        Raises:
            InputError: When the shape is not the shape of this latent.
        """
        if name == "z" and tensor.shape[1:] != (self.options.latent,):
            raise InputError(
                f"z: {self.options.latent} numbers per sample are needed, not {tensor.shape[1:].numel()}."
            )

    def which(self, member: Tensor) -> Tensor:
        """Convert member numbers to integers, and check them.

        Args:
            member: Numbers of members, (row,).

        Returns:
            The same numbers as integers, (row,).

        Raises:
            InputError: When a number is not the number of a member.
        """
        if not ((member >= 0) & (member < self.members) & (member == member.round())).all():
            raise InputError(f"member: whole numbers from 0 to {self.members - 1} are needed.")
        return member.long()

    @property
    def game(self) -> Game:
        """The settings of the game."""
        return Game.of(self.options)

    def single(self) -> Adversarial:
        """Return the same networks for one member, in their initial state.

        Returns:
            A module with one member.
        """
        return self

    @overload
    def of_each(self, rows: Tensor) -> Tensor: ...
    @overload
    def of_each(self, rows: Tensor | None) -> Tensor | None: ...
    def of_each(self, rows: Tensor | None) -> Tensor | None:
        """Repeat rows for each member.

        Args:
            rows: Rows, (row, ...), or None.

        Returns:
            The same rows for each member, (*member, row, ...), or None.
        """
        return rows if rows is None or self.members == 1 else rows.expand(self.members, *rows.shape)

    def standardized(self, x: Tensor) -> Tensor:
        """Standardize rows.

        Args:
            x: Rows in units of the data, (..., *event).

        Returns:
            Standardized rows, (..., *form).
        """
        before = x.shape[: x.ndim - len(self.shape)]
        y: Tensor = self.standard(x.reshape(*before, *self.form), self.dtype)
        return y

    def original(self, y: Tensor) -> Tensor:
        """Convert standardized rows to units of the data, without rounding.

        Args:
            y: Standardized rows, (row, *form).

        Returns:
            Rows in units of the data, (row, *event), in float64.
        """
        return self.standard.inverse(y).reshape(len(y), *self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the networks."""
        return self.calibration.dtype

    def rounded(self, x: Tensor) -> Tensor:
        """Round x to whole numbers if the data are discrete.

        Args:
            x: Rows in units of the data, (row, *event).

        Returns:
            The rounded rows, or x unchanged if the data are real.
        """
        return x.round() if self.event.discrete else x

    def condition(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """Concatenate the conditions of rows as vectors.

        Args:
            given: Conditions by name, (row, ...).

        Returns:
            The conditions, (row, context), or None if x has no conditions.
        """
        return context_of(self.event, given, self.dtype)


def adversarial(fitted: Fitted) -> Adversarial:
    """Return the module of a fitted GAN.

    Args:
        fitted: A fitted GAN.

    Returns:
        The module.

    Raises:
        InputError: When the family is not based on `Adversarial`.
    """
    if not isinstance(fitted.module, Adversarial):
        raise InputError(f"family {fitted.family!r} is not a GAN. Use a fitted GAN.")
    return fitted.module
