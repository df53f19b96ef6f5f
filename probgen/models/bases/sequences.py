"""What the families of sequences share: p(x) = prod_t p(x_t | x_<t, context), of any length.

A conditioner goes over a sequence stretch by stretch and keeps what it remembers in between (`scan`), so that a text of any length
is scored exactly in bounded memory, a prompt is read in one pass, and a fit carries what it remembers from batch to batch
(truncated backpropagation through time: Williams & Peng 1990).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import pyro
import torch
import xarray as xr
from pydantic import BaseModel, Field
from torch import Tensor

from probgen.codecs.texts import frequent, recode
from probgen.contract.event import Event
from probgen.contract.options import ConditionalsOptions
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.scores import log_prob
from probgen.contract.streams import Streams
from probgen.distributions import Autoregressive
from probgen.distributions.autoregressive import State, of_rows
from probgen.distributions.sites import Site, log_prob_of
from probgen.errors import InputError
from probgen.inference.particles import complete
from probgen.inference.svi import svi
from probgen.inference.training import SVIOptions, Training
from probgen.models.bases.choose import MOST_LEVELS, site_for
from probgen.models.bases.dense import CompletionOptions, dense_sites
from probgen.pair import Pair

LENGTH = 200  # steps that are drawn where nobody says how many
MEMORY = "memory."  # before the names of what a loss leaves to the next one
AT_ONCE = 1 << 24  # numbers of a stretch that is scored together: 64 MiB


class SequenceConditioner(Protocol):
    """A conditioner (see `probgen.distributions.Autoregressive`) of sequences of any length that can go on.

    A state holds tensors of rows, and what is the same for all rows, as that of `Cached` does.
    """

    site: Site

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor: ...

    def start(self, rows: int, context: Tensor | None) -> State: ...

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor: ...

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Numbers of the next sites, of which the values are x: (row, site) -> (row, site, size); x is then told to the state."""


class SequenceOptions(SVIOptions):
    """What can be chosen of every family of sequences."""

    window: int = Field(128, ge=1, description="steps of time in a stretch that a gradient goes through")
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")
    rare: int = Field(
        0,
        ge=0,
        description="symbols that come fewer times in the fit are put as one that stands for all others, and so are those that come "
        "later; 0: what was not seen is refused",
    )
    autocast: bool = Field(
        False,
        description="products in bfloat16 while training (torch.autocast), where the processor has it several times as fast; "
        "sums, weights and scores keep their dtype",
    )


class ContinuationOptions(CompletionOptions):
    """How x is drawn, and gone on with where it is given."""

    length: int | None = Field(
        None,
        ge=1,
        description="steps of time to draw, after what is given; None: as rows are, or 200 if they differ",
    )
    temperature: float = Field(1.0, gt=0, description="logits are divided by it; 1 is the model")
    top_k: int | None = Field(
        None, ge=1, description="only so many of the most probable symbols at each step"
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="only the most probable symbols that have this probability together"
    )

    def unused(self, **context: Any) -> str | None:
        """Also what says how steps are drawn where x is known whole and no more steps are asked for."""
        if context.get("x") == "all" and self.length is None and self.changed:
            return f"{self.changed} has no effect: x is known whole, so nothing is drawn"
        return super().unused(**context)

    @property
    def changed(self) -> str:
        """What is asked for of the steps that are drawn one after the other, in words; empty if nothing is."""
        fields = type(self).model_fields
        return ", ".join(
            f"{name} = {getattr(self, name)}"
            for name in fields
            if name not in CompletionOptions.model_fields and getattr(self, name) != fields[name].default
        )


class Ending:
    """A conditioner of texts that end: after the symbol `end` nothing comes but it, with probability 1."""

    def __init__(self, conditioner: Any, end: int):
        self.conditioner, self.end, self.site = conditioner, end, conditioner.site

    def parameters(self) -> Iterator[Tensor]:
        """Those of the conditioner."""
        return iter(self.conditioner.parameters())

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site) -> (row, site, level)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Before the first symbol."""
        device = next(self.parameters()).device
        return {
            "before": self.conditioner.start(rows, context),
            "ended": torch.zeros(rows, dtype=torch.bool, device=device),
        }

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Of the symbols that follow, of which the values are x."""
        ends = x == self.end
        ended = state["ended"][:, None] | (ends.cumsum(1) > ends.long())
        state["ended"] = state["ended"] | ends.any(1)
        return self._or_only_the_end(self.conditioner.scan(x, state["before"]), ended)

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Of the next symbol: (row,) -> (row, level)."""
        if previous is not None:
            state["ended"] = state["ended"] | (previous == self.end)
        return self._or_only_the_end(self.conditioner.step(state["before"], i, previous), state["ended"])

    def _or_only_the_end(self, numbers: Tensor, ended: Tensor) -> Tensor:
        only = torch.full_like(numbers[..., :1, :].flatten(0, -2)[0], -torch.inf)
        only[self.end] = 0
        return torch.where(ended[..., None], only, numbers)


class Memory:
    """What is remembered of each stream between the batches of a fit."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def recalled(self, start: State, first: Tensor, stream: Tensor) -> State:
        """The tensors of a start, but where a stretch goes on what is remembered of its stream there; first, stream: (row,)."""
        if first.all():
            return {}
        found = {}
        for name, before in self.state.items():
            fresh = start[name]
            found[name] = torch.where(
                first.reshape(-1, *(1,) * (fresh.dim() - 1)), fresh, before[stream].to(fresh)
            )
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self.state = dict(state)


class SequencePair(Pair):
    """A conditioner of sequences behind the hooks. Losses are in nats a step of time."""

    conditioner: Any
    accepts = frozenset({"length"})
    Options: ClassVar[type[BaseModel]] = SequenceOptions
    SampleOptions: ClassVar[type[ContinuationOptions]] = ContinuationOptions
    ScoreOptions = ConditionalsOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        if event.dims != ("time",):
            raise InputError(f"x must be sequences, (time), not {event}")
        self.site = self.make_site()
        self.conditioner = self.make_conditioner()
        self.memory = Memory()

    def make_site(self) -> Site:
        """By the event. Errors: `InputError`."""
        if not self.event.discrete or (self.event.levels or 2) > MOST_LEVELS:
            raise InputError(f"x must be symbols, at most {MOST_LEVELS} of them, not {self.event}")
        return site_for(self.event, dense_sites(1))

    @property
    def end(self) -> int | None:
        """The symbol after which nothing is drawn, where there is one."""
        return None

    @property
    def steps(self) -> int | None:
        """Of time that are drawn where nobody says how many; None: a number that suits texts."""
        return self.event.shape[0]

    @abstractmethod
    def make_conditioner(self) -> SequenceConditioner:
        """By the options."""

    @property
    def with_end(self) -> Any:
        """The conditioner of p(x): with an end, where texts have one."""
        return self.conditioner if self.end is None else Ending(self.conditioner, self.end)

    def p(self, steps: int, context: Tensor | None) -> Autoregressive:
        """p(x) of so many steps: batch shape (row,) where something is given."""
        return Autoregressive(self.with_end, self.site, (steps,), context=context)

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """x ~ p(x), whole rows."""
        steps = x.shape[1] if x is not None else self.steps or LENGTH
        with self.rows(n):
            return pyro.sample("x", self.p(steps, self.context(given)), obs=x)

    @staticmethod
    def prepare(data: xr.Dataset, options: Any) -> xr.Dataset:
        """Rare symbols as one that stands for all others."""
        return without_rare_symbols(data, options.rare) if options.rare else data

    def kept(self) -> dict[str, Any]:
        """What is remembered between batches."""
        return {"memory": self.memory}

    def training_plan(self) -> Training:
        """With products in bfloat16, if that is wanted."""
        return Training.of(self.options, autocast=self.options.autocast)

    def learn(self, data: Rows, run: Run) -> None:
        """Stretch by stretch."""
        streams = Streams(data, self.options.window)
        svi(self, streams, run, self.training_plan())

    def loss(
        self,
        x: Tensor,
        *,
        n: int,
        length: Tensor | None = None,
        first: Tensor | None = None,
        stream: Tensor | None = None,
        **given: Tensor,
    ) -> dict[str, Tensor]:
        """-log p(x_t | x_<t) a step of time: of stretches that go on from those before, or of whole rows."""
        context = self.context(given)
        if first is None:
            total = torch.stack([part.sum() for part in self.parts(x, length, context)]).sum()
            return {"loss": -total / (x.numel() if length is None else length.sum())}
        start = self.conditioner.start(n, context)
        assert stream is not None
        state = start | self.memory.recalled(start, first, stream)
        log_p = log_prob_of(self.site, self.numbers(self.conditioner, x, state), x)
        assert length is not None
        remembered = {MEMORY + name: state[name].to(start[name]) for name in start if name != "context"}
        return {"loss": -(log_p * _within(x, length, 0)).sum() / length.sum(), **remembered}

    def counts(self, *, length: Tensor | None = None, **batch: Tensor) -> Tensor:
        """Steps of time."""
        return length.sum() if length is not None else super().counts(**batch)

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """Remember what the stretches leave to those that follow."""
        self.memory.state = {
            name.removeprefix(MEMORY): part.detach()
            for name, part in parts.items()
            if name.startswith(MEMORY)
        }

    def numbers(self, conditioner: SequenceConditioner, x: Tensor, state: State) -> Tensor:
        """Those of a conditioner, in the dtype of the weights whatever autocast made."""
        return conditioner.scan(x, state).to(next(self.parameters()).dtype)

    def parts(self, x: Tensor, length: Tensor | None, context: Tensor | None) -> Iterator[Tensor]:
        """log p(x_t | x_<t) stretch by stretch: (row, step), 0 past the end of a row; rows that have ended are left behind."""
        conditioner = self.with_end
        state = conditioner.start(len(x), context)
        size = max(1, AT_ONCE // (len(x) * max(self.site.size, 256)))
        going = torch.arange(len(x), device=x.device)
        for start in range(0, x.shape[1], size):
            part = x[:, start : start + size]
            if length is None:
                yield log_prob_of(self.site, self.numbers(conditioner, part, state), part)
                continue
            still = length[going] > start
            if 2 * still.sum() < len(going):
                going, state = going[still], of_rows(state, still)
            log_p = log_prob_of(self.site, self.numbers(conditioner, part[going], state), part[going])
            counts = _within(part[going], length[going], start)
            yield part.new_zeros(part.shape, dtype=log_p.dtype).index_copy(
                0, going, torch.where(counts, log_p, 0)
            )

    def log_prob(self, x: Tensor, length: Tensor | None = None, **given: Tensor) -> Tensor:
        """log p(x), exact, of what counts of each row: (row,), in nats, float64."""
        return _summed(self.parts(x, length, self.context(given)))

    def assess(self, x: Tensor, options: Any, length: Tensor | None = None, **given: Tensor) -> xr.Dataset:
        """The exact log p(x), and log p(x_t | x_<t) if it is asked for."""
        each: Iterable[Tensor] = self.parts(x, length, self.context(given))
        each = list(each) if options.conditionals else each  # else each is let go when it is summed up
        scores = log_prob(_summed(each), kind="exact", estimator="exact", measure="counting")
        if options.conditionals:
            attrs = {"units": "nat", "long_name": "log p(x_t | x_<t)"}
            scores["site_log_prob"] = (("row", "time"), torch.cat(list(each), 1).cpu().numpy(), attrs)
        return scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sequences from their first step on."""
        nothing = torch.zeros(n, 0, device=next(self.parameters()).device)
        return self.go_on(nothing, given, options, options.length or self.steps or LENGTH)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """What follows the first steps of a row, one step after the other; an unknown step before known ones by particles.

        Errors: `InputError` for options that say how a step is drawn where it is drawn given what follows.
        """
        given.pop("length", None)
        known = observed.sum(1)
        if self.end is not None:
            ended = (observed & (x == self.end)).cumsum(1) > 0
            if (ended & observed & (x != self.end)).any():
                raise InputError("given 'x': a symbol comes after the end of a text, which has probability 0")
        if bool((observed.long().cumprod(1).sum(1) == known).all()):
            return self._continue(x, known, options, given)
        if options.changed:
            raise InputError(
                f"{options.changed}: of steps that are drawn one after the other, and here an unknown step comes before a known "
                "one, which it is drawn given; leave it out, or give the first steps of each row alone"
            )
        p = self.p(x.shape[1], self.context(given))
        drawn, ess = complete([p], x, observed, options.particles, end=self.end)
        return {"x": drawn, "ess": ess}

    def _continue(
        self, x: Tensor, known: Tensor, options: Any, given: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Rows of which the first `known` (row,) steps are known, drawn to their end or as far as asked for."""
        width, starts = x.shape[1], known.unique().tolist()
        prompt = None in self.event.shape and starts == [width]  # of rows of several lengths any may go on
        if options.length and len(starts) > 1:
            raise InputError(
                f"length = {options.length}: rows have {starts[0]} to {starts[-1]} known steps; rows of one number are needed"
            )
        found: dict[str, Tensor] = {}
        for start in starts:
            rows = (known == start).nonzero()[:, 0]
            steps = options.length or ((self.steps or LENGTH) if prompt else width - start)
            some = {name: value[rows] for name, value in given.items()}
            for name, value in self.go_on(x[rows, :start], some, options, steps).items():
                found.setdefault(name, value.new_empty(len(x), *value.shape[1:]))[rows] = value
        if not prompt:  # exact
            found["ess"] = torch.full(
                (len(x),), float(options.particles), dtype=torch.float64, device=x.device
            )
        return found

    def go_on(self, x: Tensor, given: dict[str, Tensor], options: Any, steps: int) -> dict[str, Tensor]:
        """x (row, step), and so many steps that are drawn after it."""
        rows, begun = x.shape
        conditioner = self.with_end
        state = conditioner.start(rows, self.context(given))
        if begun:
            conditioner.scan(x, state)
        parts, previous = [x] if begun or not steps else [], None
        ended = (
            torch.zeros(rows, dtype=torch.bool, device=x.device)
            if self.end is None
            else (x == self.end).any(1)
        )
        for i in range(begun, begun + steps):
            previous = choose(self.site, conditioner.step(state, i, previous), options)
            parts.append(previous[:, None])
            if self.end is not None:
                ended |= previous == self.end
            if ended.all():
                left = begun + steps - i - 1
                parts.append(previous[:, None].expand(-1, left))
                break
        return {"x": torch.cat(parts, 1)}


def choose(site: Site, numbers: Tensor, options: Any) -> Tensor:
    """A value of each row: a draw, or one from what temperature, top_k and top_p leave: (row, size) -> (row,)."""
    if not site.softmax or site.levels is None:
        if (options.temperature, options.top_k, options.top_p) != (1.0, None, 1.0):
            raise InputError(f"temperature, top_k and top_p are of symbols, not of {site}")
        return site.p(numbers).sample()
    logits = numbers
    if options.temperature != 1:  # from the largest: a very low temperature leaves that one
        logits = (numbers - numbers.amax(1, keepdim=True)).double() / options.temperature
    if options.top_k is not None and options.top_k < site.levels:
        chosen = logits.topk(options.top_k, 1).indices  # so many, also where some are equally probable
        logits = torch.full_like(logits, -torch.inf).scatter(1, chosen, logits.gather(1, chosen))
    p = logits.softmax(1)
    if options.top_p < 1:
        ordered, index = p.sort(1, descending=True)
        ordered[ordered.cumsum(1) - ordered >= options.top_p] = 0  # the first is always left
        p = torch.zeros_like(p).scatter_(1, index, ordered)
    return torch.multinomial(p, 1)[:, 0]


def _summed(parts: Iterable[Tensor]) -> Tensor:
    """Stretches (row, step) to whole rows (row,), in float64."""
    return torch.stack([part.double().sum(1) for part in parts]).sum(0)


def _within(x: Tensor, length: Tensor, start: int) -> Tensor:
    return torch.arange(start, start + x.shape[1], device=x.device) < length[:, None]


def without_rare_symbols(dataset: xr.Dataset, least: int) -> xr.Dataset:
    """The same text where symbols that come fewer than `least` times are one that stands for all others. Errors: `InputError`."""
    x, symbols = dataset["x"], tuple(map(str, dataset["x"].attrs.get("symbols", ())))
    if not symbols or any(len(symbol) != 1 for symbol in symbols):
        raise InputError(f"rare = {least}: x is no text of characters; leave it out")
    length = dataset["length"].values if "length" in dataset else np.full(x.sizes["row"], x.shape[1])
    kept = frequent(x.values, length, symbols, least)
    found, _ = recode(x.values, length, symbols, kept)
    return dataset.assign(x=(x.dims, found, {**x.attrs, "levels": len(kept), "symbols": kept}))
