"""Two networks that play against each other, and what can be chosen of their game.

In the game rows are `(row, *form)`: vectors of an MLP, images of a convolutional network; of mean 0 and one deviation over
all features, or between -1 and 1. Several members are GANs that are trained at once and know nothing of each other. They
are a first dimension, `(member, row, *form)`; one member has none.
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
    """What can be chosen of every game of two networks; these are the families' own."""

    loss: Literal["minimax", "nonsaturating", "least_squares", "wasserstein", "hinge", "relativistic"] = (
        Field("nonsaturating", description="what generator and discriminator minimize")
    )
    latent: int = Field(2, ge=1, description="dimensions of z")
    steps: int = Field(5000, ge=1, description="steps of the generator")
    d_steps: int = Field(1, ge=1, description="steps of the discriminator for each of them")
    batch_size: int = Field(128, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, both networks")
    beta1: float = Field(0.0, ge=0, lt=1, description="of Adam, both networks")
    beta2: float = Field(0.99, ge=0, lt=1, description="of Adam, both networks")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="of the learning rate; cosine goes down to 1 %"
    )
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps before the schedule begins",
        json_schema_extra=only(schedule="cosine"),
    )
    r1: float = Field(0.0, ge=0, description="weight of |grad D|^2 / 2 at real rows")
    average: float = Field(0.999, ge=0, lt=1, description="decay of the exponential average of G")
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")


class GameOptions(DuelOptions):
    """What can be added to it, of `gan` and `dcgan`."""

    unrolled: int = Field(0, ge=0, description="steps of the discriminator that the generator looks ahead")
    r2: float = Field(0.0, ge=0, description="weight of |grad D|^2 / 2 at draws")
    anneal: float = Field(
        1.0,
        gt=0,
        le=1,
        description="what is left of r1 and r2 after 80 % of the steps; they fall geometrically",
    )
    gradient_penalty: float = Field(
        0.0, ge=0, description="weight of (|grad D| - 1)^2 between real rows and draws"
    )
    clip: float | None = Field(None, gt=0, description="largest absolute weight of the discriminator")
    packing: int = Field(1, ge=1, description="rows that the discriminator sees together")
    minibatch: int = Field(0, ge=0, description="kernels of minibatch discrimination")
    spectral: bool = Field(False, description="spectral normalization of the discriminator")
    noise: float = Field(
        0.0, ge=0, description="deviation of noise on what D sees, 0 after 40 % of the steps"
    )

    @model_validator(mode="after")
    def _packs(self) -> GameOptions:
        if self.batch_size % self.packing:
            raise ValueError(f"packing = {self.packing} does not divide batch_size = {self.batch_size}")
        if self.anneal != 1 and not (self.r1 or self.r2):
            raise ValueError(
                f"anneal = {self.anneal} has no effect without r1 and r2: give one of them, or leave it out"
            )
        if self.unrolled and (self.r1 or self.r2 or self.gradient_penalty or self.clip):
            raise ValueError(
                "unrolled: what D will do is worked out without penalties and clipping; leave these out"
            )
        return self


@dataclass(frozen=True)
class Game:
    """How two networks play; fields are those of options, and what a family does not offer is left out.

    d_rate    learning rate of D, in those of G
    r1_every  steps of D from one r1 to the next, which then weighs as much more (Karras et al. 2020, appendix B)
    autocast  whether products are in bfloat16 (torch.autocast); penalties on gradients are not
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
        """As options say."""
        offered = type(options).model_fields
        return cls(**{f.name: getattr(options, f.name) for f in fields(cls) if f.name in offered})


Some = Callable[[int], tuple[Tensor, Tensor | None]]  # so many z, and conditions as rows have them


class Stage(NamedTuple):
    """A part of a game: its name, and its share of the steps."""

    name: str = "fit"
    share: float = 1.0


class Adversarial(nn.Module, ABC):
    """Discriminator D, generator G and its average, which draws: x = loc + scale G(z).

    Of real data `standard.loc` is the mean of each feature and `standard.scale` one deviation for all, so that what is round stays round;
    discrete data are brought to -1 .. 1, where G ends in tanh.

    form     the shape of a row in the game, of as many numbers as the event has
    members  how many GANs these are

    D takes x and c, `(*member, row, *form)` and `(*member, row, context)`, and gives one number for each pack of rows that
    follow one another, `(*member, pack)`. G takes z and c, `(*member, row, latent)` and the same, and gives y, of the form
    of x. c is None where x is conditioned on nothing.
    """

    calibration: Tensor
    alone = True  # D sees each pack by itself: what it says does not depend on the rest of the batch
    stages: tuple[Stage, ...] = (Stage(),)
    judged = False  # whether draws are held against validation rows during a fit, and the best weights kept
    places: Mapping[str, tuple[str, ...]] = {}
    long_names: Mapping[str, str] = {
        "search_error": "root mean square of x less what is known of it, after a search for the code; x is no draw from p(x given what is known)"
    }

    def __init__(self, options: DuelOptions, event: Event, form: tuple[int, ...], members: int = 1):
        super().__init__()
        if None in event.shape or event.support == "token":
            raise InputError(f"a GAN needs rows of numbers, all of one length, not an event of {event}")
        self.options, self.event, self.form, self.members = options, event, form, members
        self.shape = tuple(length or 1 for length in event.shape)
        self.row_dim = 1 if members > 1 else 0
        self.latents: dict[str, tuple[str, ...]] = {"z": ("latent",)}
        if members > 1:
            self.latents["member"] = ()
            self.selects = ("member",)
        self.context = context_size(event)
        self.D = self.discriminator()  # before G: a fit that diverges names the first
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
        """D, in its initial state."""

    @abstractmethod
    def generator(self) -> nn.Module:
        """G, in its initial state."""

    def generate(self, net: nn.Module, z: Tensor, c: Tensor | None) -> Tensor:
        """Standardized draws y of G or its average."""
        y = net(z, c)
        return y.tanh() if self.event.discrete else y

    def discriminate(self, x: Tensor, c: Tensor | None, theta: Mapping[str, Tensor] | None = None) -> Tensor:
        """D of standardized rows, by its own parameters or by theta: (*member, pack)."""
        if theta is None:
            return self.D(x, c)
        return functional_call(self.D, dict(theta), (x, c))

    def critic(self, x: Tensor, c: Tensor | None) -> Tensor:
        """D of each row in a pack of its own copies: (*member, row)."""
        p, dim = self.game.packing, self.row_dim
        return self.discriminate(x.repeat_interleave(p, dim), c if c is None else c.repeat_interleave(p, dim))

    def realism(self, x: Tensor, **given: Tensor) -> Tensor:
        """log p_data(x) / p_G(x) by the calibrated D, whatever its loss; of several members on average: (row,), in nats."""
        said = self.critic(self.of_each(self.standardized(x)), self.of_each(self.condition(given)))
        ratio = self.calibration[..., :1] * said + self.calibration[..., 1:]
        return ratio if self.members == 1 else ratio.mean(0)

    # parts of a game, where a family has some

    def at(self, stage: Stage, gone: float) -> None:
        """Where the game stands: called before each step with the share of the stage that is over."""

    def check_stages(self, steps: Mapping[str, int]) -> None:
        """Errors: `InputError` where stages have too few steps: by name, those that have some."""

    @property
    def grown(self) -> bool:
        """Whether draws are of the networks as they will be."""
        return True

    def extra(self) -> Tensor | None:
        """What the generator minimizes beside its loss."""
        return None

    def stand(self, some: Some) -> None:
        """What draws of the average need of others, before they are looked at: standing statistics."""

    def settle(self, some: Some, run: Run) -> None:
        """What the average needs beside its weights, at the end of the game."""

    # from noise to x

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """x = loc + scale G(z) by the average, of the member that is named: (row, *event), not rounded; or what is on the way.

        Errors: `InputError` for places, or latents, that are none of this GAN.
        """
        as_they_are = {"member", *self.event.given}
        start = {name: t if name in as_they_are else t.to(self.dtype) for name, t in start.items()}
        for name, tensor in start.items():
            self.check_place(name, tensor)
        roots = ["z", *(["member"] if self.members > 1 else []), *self.event.given]
        return decoded(self.way(), start, until, roots)

    def way(self) -> dict[str, Step]:
        """How each place is made of those before it."""

        def x(at: Mapping[str, Tensor]) -> Tensor:
            z, c = at["z"], self.of_each(self.condition(at))
            y = self.generate(self.average, self.of_each(z), c)
            if self.members > 1:
                y = y[self.which(at["member"]), torch.arange(len(z), device=z.device)]
            return self.original(y)

        return {"x": x}

    def check_place(self, name: str, tensor: Tensor) -> None:
        """Errors: `InputError` for what has not the shape of a latent of this name."""
        if name == "z" and tensor.shape[1:] != (self.options.latent,):
            raise InputError(
                f"z: {self.options.latent} numbers a draw are needed, not {tensor.shape[1:].numel()}"
            )

    def which(self, member: Tensor) -> Tensor:
        """Members as whole numbers: (row,). Errors: `InputError` where there is none of such a number."""
        if not ((member >= 0) & (member < self.members) & (member == member.round())).all():
            raise InputError(f"member: whole numbers from 0 to {self.members - 1} are needed")
        return member.long()

    @property
    def game(self) -> Game:
        """How it is played."""
        return Game.of(self.options)

    def single(self) -> Adversarial:
        """The same networks for one member, in their initial state."""
        return self

    @overload
    def of_each(self, rows: Tensor) -> Tensor: ...
    @overload
    def of_each(self, rows: Tensor | None) -> Tensor | None: ...
    def of_each(self, rows: Tensor | None) -> Tensor | None:
        """The same rows for each member: (row, ...) -> (*member, row, ...)."""
        return rows if rows is None or self.members == 1 else rows.expand(self.members, *rows.shape)

    def standardized(self, x: Tensor) -> Tensor:
        """(..., *event) -> (..., *form)."""
        before = x.shape[: x.ndim - len(self.shape)]
        y: Tensor = self.standard(x.reshape(*before, *self.form), self.dtype)
        return y

    def original(self, y: Tensor) -> Tensor:
        """Standardized rows in the units of the data, not rounded: (row, *form) -> (row, *event), in float64."""
        return self.standard.inverse(y).reshape(len(y), *self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks."""
        return self.calibration.dtype

    def rounded(self, x: Tensor) -> Tensor:
        """x as data are: whole numbers where they are discrete."""
        return x.round() if self.event.discrete else x

    def condition(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """The conditions as vectors, side by side: (row, context)."""
        return context_of(self.event, given, self.dtype)


def adversarial(fitted: Fitted) -> Adversarial:
    """The module of a fitted GAN. Errors: `InputError` where it is none."""
    if not isinstance(fitted.module, Adversarial):
        raise InputError(f"family {fitted.family!r} is no GAN")
    return fitted.module
