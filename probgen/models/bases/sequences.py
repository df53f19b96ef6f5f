"""The base of the sequence families: p(x) = prod_t p(x_t | x_<t, context), for sequences of any length.

A conditioner reads a sequence segment by segment and carries a state between segments (`scan`). Therefore a
text of any length is scored exactly in bounded memory, and a prompt is read in one pass. A fit carries the
state from batch to batch (truncated backpropagation through time: Williams & Peng 1990).
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
from probgen.inference.training import AutocastOptions
from probgen.models.bases.choose import MOST_LEVELS, site_for
from probgen.models.bases.dense import CompletionOptions, dense_sites
from probgen.pair import Pair

LENGTH = 200  # default number of sampled steps for rows of several lengths
MEMORY = "memory."  # prefix of the states that one batch passes on to the next
AT_ONCE = 1 << 24  # numbers of a segment that is scored together: 64 MiB


class SequenceConditioner(Protocol):
    """A conditioner of sequences of any length: see `probgen.distributions.Autoregressive`.

    As in `Cached`, a state holds tensors whose first dimension is the row, and values that all rows share.

    Attributes:
        site: The site of one step.
    """

    site: Site

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor:
        """Return the site parameters of all steps of x (row, step): (row, step, size)."""
        ...

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first step.

        Args:
            rows: Number of rows.
            context: The context, (row, context), or None.

        Returns:
            The state.
        """
        ...

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the site parameters of step i, and update the state in place.

        Args:
            state: The state before step i.
            i: Number of the step.
            previous: The value of step i - 1, (row,); None before the first step.

        Returns:
            Site parameters, (row, size).
        """
        ...

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the site parameters of the next steps, whose values are x, and add x to the state in place.

        Args:
            x: Values of the next steps, (row, step).
            state: The state before these steps.

        Returns:
            Site parameters, (row, step, size).
        """


class SequenceOptions(AutocastOptions):
    """Options of the sequence families."""

    window: int = Field(128, ge=1, description="time steps that gradients are propagated through")
    given: tuple[str, ...] = Field((), description="names of the conditions of x, such as ['label']")
    rare: int = Field(
        0,
        ge=0,
        description="replace symbols with fewer occurrences by one symbol for all others; 0: refuse new "
        "symbols",
    )


class ContinuationOptions(CompletionOptions):
    """Options of sampling a sequence, or a continuation of a given one."""

    length: int | None = Field(
        None,
        ge=1,
        description="number of time steps to sample; None: the length of the rows, or 200 if it varies",
    )
    temperature: float = Field(1.0, gt=0, description="divisor of the logits; 1 samples from the model")
    top_k: int | None = Field(
        None, ge=1, description="number of most probable symbols to sample from at each step"
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="sample only from the most probable symbols that reach this total probability",
    )

    def unused(self, **context: Any) -> str | None:
        """Return a message about an option without effect, or None.

        In addition to the rules of `Options`: options of sampling have no effect when x is complete and
        `length` is not set.

        Args:
            **context: Further values by name, such as x="all".

        Returns:
            The message.
        """
        if context.get("x") == "all" and self.length is None and self.changed:
            return (
                f"{self.changed} has no effect: x is complete, so no step is sampled. "
                "Set length to continue x, or leave it out."
            )
        return super().unused(**context)

    @property
    def changed(self) -> str:
        """The options of sampling step by step that are not at their defaults, as text."""
        fields = type(self).model_fields
        return ", ".join(
            f"{name} = {getattr(self, name)}"
            for name in fields
            if name not in CompletionOptions.model_fields and getattr(self, name) != fields[name].default
        )


class Ending:
    """A conditioner of texts that end: after the symbol `end`, every symbol is `end` with probability 1.

    Args:
        conditioner: The conditioner before the end.
        end: Number of the symbol that ends a text.
    """

    def __init__(self, conditioner: Any, end: int):
        self.conditioner, self.end, self.site = conditioner, end, conditioner.site

    def parameters(self) -> Iterator[Tensor]:
        """Return the parameters of the conditioner."""
        return iter(self.conditioner.parameters())

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the logits of each step of x (row, step): (row, step, level)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first symbol."""
        device = next(self.parameters()).device
        return {
            "before": self.conditioner.start(rows, context),
            "ended": torch.zeros(rows, dtype=torch.bool, device=device),
        }

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the logits of the next symbols, whose values are x (row, step): (row, step, level)."""
        ends = x == self.end
        ended = state["ended"][:, None] | (ends.cumsum(1) > ends.long())
        state["ended"] = state["ended"] | ends.any(1)
        return self._or_only_the_end(self.conditioner.scan(x, state["before"]), ended)

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the logits of the next symbol, given the previous one (row,): (row, level)."""
        if previous is not None:
            state["ended"] = state["ended"] | (previous == self.end)
        return self._or_only_the_end(self.conditioner.step(state["before"], i, previous), state["ended"])

    def _or_only_the_end(self, numbers: Tensor, ended: Tensor) -> Tensor:
        only = torch.full_like(numbers[..., :1, :].flatten(0, -2)[0], -torch.inf)
        only[self.end] = 0
        return torch.where(ended[..., None], only, numbers)


class Memory:
    """The state of each stream between two batches of a fit."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def recalled(self, start: State, first: Tensor, stream: Tensor) -> State:
        """Return the initial states of the rows of a batch.

        Args:
            start: The state before the first step.
            first: Whether the segment of a row starts a new text, (row,).
            stream: Number of the stream of each row, (row,).

        Returns:
            Tensors that replace those of `start`: for a segment that continues its stream, the stored state.
            Empty if every segment starts a new text.
        """
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
        """Return the stored tensors, by name."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the tensors that `state_dict` returned."""
        self.state = dict(state)


class SequencePair(Pair):
    """The base of the sequence pairs: a conditioner of sequences. Losses are in nats per time step.

    A subclass replaces `make_conditioner`.

    Args:
        options: The options of the family.
        event: The event that x is, with the dimension time.
    """

    conditioner: Any
    accepts = frozenset({"length"})
    Options: ClassVar[type[BaseModel]] = SequenceOptions
    SampleOptions: ClassVar[type[ContinuationOptions]] = ContinuationOptions
    ScoreOptions = ConditionalsOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        if event.dims != ("time",):
            raise InputError(f"x is {event}, not sequences. Give x with the dimensions (row, time).")
        self.site = self.make_site()
        self.conditioner = self.make_conditioner()
        self.memory = Memory()

    def make_site(self) -> Site:
        """Return the site of one step, by the event and the options.

        Returns:
            The site.

        Raises:
            InputError: When x is not symbols, or has too many different symbols.
        """
        if not self.event.discrete or (self.event.levels or 2) > MOST_LEVELS:
            raise InputError(
                f"x is {self.event}. This family needs symbols, at most {MOST_LEVELS} different ones."
            )
        return site_for(self.event, dense_sites(1))

    @property
    def end(self) -> int | None:
        """The number of the symbol that ends a text, or None."""
        return None

    @property
    def steps(self) -> int | None:
        """The default number of sampled steps; None stands for `LENGTH`."""
        return self.event.shape[0]

    @abstractmethod
    def make_conditioner(self) -> SequenceConditioner:
        """Return the conditioner, by the options."""

    @property
    def with_end(self) -> Any:
        """The conditioner of p(x), wrapped in `Ending` if texts have an end."""
        return self.conditioner if self.end is None else Ending(self.conditioner, self.end)

    def p(self, steps: int, context: Tensor | None) -> Autoregressive:
        """Return the distribution of the first steps of x.

        Args:
            steps: Number of steps.
            context: The context, (row, context), or None.

        Returns:
            A distribution with batch shape (row,) if there is a context, else ().
        """
        return Autoregressive(self.with_end, self.site, (steps,), context=context)

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """Sample x ~ p(x), as complete rows."""
        steps = x.shape[1] if x is not None else self.steps or LENGTH
        with self.rows(n):
            return pyro.sample("x", self.p(steps, self.context(given)), obs=x)

    @staticmethod
    def prepare(data: xr.Dataset, options: Any) -> xr.Dataset:
        """Return the data with rare symbols replaced by one symbol, if the option `rare` is set."""
        return without_rare_symbols(data, options.rare) if options.rare else data

    def kept(self) -> dict[str, Any]:
        """Return the state between batches, which checkpoints store."""
        return {"memory": self.memory}

    def learn(self, data: Rows, run: Run) -> None:
        """Fit segment by segment: each batch holds the next `window` steps of several streams of rows."""
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
        """Return the mean of -log p(x_t | x_<t) over time steps, in nats.

        Args:
            x: Segments or complete rows, (row, step).
            n: Number of rows.
            length: Number of steps of each row that count, (row,), or None for all.
            first: Whether the segment of a row starts a new text, (row,); None for complete rows.
            stream: Number of the stream of each row, (row,), if `first` is given.
            **given: The conditions by name.

        Returns:
            `loss`, and for segments the states after the last step.
        """
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
        """Return the number of time steps of a batch, which is the weight of its loss."""
        return length.sum() if length is not None else super().counts(**batch)

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """Store the states after a batch for the next batch."""
        self.memory.state = {
            name.removeprefix(MEMORY): part.detach()
            for name, part in parts.items()
            if name.startswith(MEMORY)
        }

    def numbers(self, conditioner: SequenceConditioner, x: Tensor, state: State) -> Tensor:
        """Return the site parameters of the next steps, in the dtype of the weights, also under autocast.

        Args:
            conditioner: The conditioner.
            x: Values of the next steps, (row, step).
            state: The state before these steps; updated in place.

        Returns:
            Site parameters, (row, step, size).
        """
        return conditioner.scan(x, state).to(next(self.parameters()).dtype)

    def parts(self, x: Tensor, length: Tensor | None, context: Tensor | None) -> Iterator[Tensor]:
        """Compute log p(x_t | x_<t) segment by segment; rows that have ended drop out of the computation.

        Args:
            x: The rows, (row, step).
            length: Number of steps of each row that count, (row,), or None for all.
            context: The context, (row, context), or None.

        Yields:
            Log-probabilities of one segment, (row, step), in nats; 0 past the end of a row.
        """
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
        """Return the exact log p(x) of the first `length` steps of each row: (row,), in nats, float64."""
        return _summed(self.parts(x, length, self.context(given)))

    def assess(self, x: Tensor, options: Any, length: Tensor | None = None, **given: Tensor) -> xr.Dataset:
        """Return the exact log p(x), and with `conditionals` also log p(x_t | x_<t)."""
        each: Iterable[Tensor] = self.parts(x, length, self.context(given))
        each = list(each) if options.conditionals else each  # without it, each segment is freed after its sum
        scores = log_prob(_summed(each), kind="exact", estimator="exact", measure="counting")
        if options.conditionals:
            attrs = {"units": "nat", "long_name": "log p(x_t | x_<t)"}
            scores["site_log_prob"] = (("row", "time"), torch.cat(list(each), 1).cpu().numpy(), attrs)
        return scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample sequences from their first step."""
        nothing = torch.zeros(n, 0, device=next(self.parameters()).device)
        return self.go_on(nothing, given, options, options.length or self.steps or LENGTH)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample the missing steps of each row given its observed steps.

        If the observed steps come first, the continuation is sampled step by step, and is exact. A missing
        step before an observed one is sampled with particles.

        Args:
            x: The rows, (row, step).
            observed: The observed steps, (row, step).
            options: Options of sampling.
            **given: The conditions by name.

        Returns:
            The complete rows `x`, and `ess` (row,), the effective number of particles; a continued prompt has
            no `ess`.

        Raises:
            InputError: When a symbol comes after the end of a text, or options of step-by-step sampling are
                set and a missing step comes before an observed one.
        """
        given.pop("length", None)
        known = observed.sum(1)
        if self.end is not None:
            ended = (observed & (x == self.end)).cumsum(1) > 0
            if (ended & observed & (x != self.end)).any():
                raise InputError(
                    "given 'x': a symbol comes after the end of a text, which has probability 0. "
                    "Remove the symbols after the end."
                )
        if bool((observed.long().cumprod(1).sum(1) == known).all()):
            return self._continue(x, known, options, given)
        if options.changed:
            raise InputError(
                f"{options.changed}: this needs sampling step by step, but a missing step of x comes before "
                "an observed one. "
                "Leave it out, or give only the first steps of each row."
            )
        p = self.p(x.shape[1], self.context(given))
        drawn, ess = complete([p], x, observed, options.particles, end=self.end)
        return {"x": drawn, "ess": ess}

    def _continue(
        self, x: Tensor, known: Tensor, options: Any, given: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Continue rows whose first `known` (row,) steps are observed, to their end or by `length` steps."""
        width, starts = x.shape[1], known.unique().tolist()
        prompt = None in self.event.shape and starts == [width]  # rows of variable length can be continued
        if options.length and len(starts) > 1:
            raise InputError(
                f"length = {options.length}: the rows have {starts[0]} to {starts[-1]} observed steps. "
                "Give rows with the same number of observed steps."
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
        """Sample a continuation of each row.

        Args:
            x: The first steps of each row, (row, step).
            given: The conditions by name.
            options: Options of sampling.
            steps: Number of steps to sample after x.

        Returns:
            `x` with the sampled steps, (row, step + steps).
        """
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
    """Sample the next value of each row, under `temperature`, `top_k` and `top_p`.

    Args:
        site: The site of one step.
        numbers: Site parameters, (row, size).
        options: Options with `temperature`, `top_k` and `top_p`.

    Returns:
        Values, (row,).

    Raises:
        InputError: When one of these options is set and the values are not symbols.
    """
    if not site.softmax or site.levels is None:
        if (options.temperature, options.top_k, options.top_p) != (1.0, None, 1.0):
            raise InputError(
                f"temperature, top_k, top_p: these options need symbols, not {site}. Leave them out."
            )
        return site.p(numbers).sample()
    logits = numbers
    if options.temperature != 1:  # relative to the largest logit, which a very low temperature leaves
        logits = (numbers - numbers.amax(1, keepdim=True)).double() / options.temperature
    if options.top_k is not None and options.top_k < site.levels:
        chosen = logits.topk(options.top_k, 1).indices  # exactly top_k, also with ties
        logits = torch.full_like(logits, -torch.inf).scatter(1, chosen, logits.gather(1, chosen))
    p = logits.softmax(1)
    if options.top_p < 1:
        ordered, index = p.sort(1, descending=True)
        ordered[ordered.cumsum(1) - ordered >= options.top_p] = 0  # the first always stays
        p = torch.zeros_like(p).scatter_(1, index, ordered)
    return torch.multinomial(p, 1)[:, 0]


def _summed(parts: Iterable[Tensor]) -> Tensor:
    """Return the sums of segments (row, step) over all steps: (row,), in float64."""
    return torch.stack([part.double().sum(1) for part in parts]).sum(0)


def _within(x: Tensor, length: Tensor, start: int) -> Tensor:
    return torch.arange(start, start + x.shape[1], device=x.device) < length[:, None]


def without_rare_symbols(dataset: xr.Dataset, least: int) -> xr.Dataset:
    """Replace rare symbols of a text by one symbol that stands for all others.

    Args:
        dataset: Data with the text x.
        least: Symbols with fewer occurrences are replaced.

    Returns:
        The data with the new text and its symbols.

    Raises:
        InputError: When x is not a text of characters.
    """
    x, symbols = dataset["x"], tuple(map(str, dataset["x"].attrs.get("symbols", ())))
    if not symbols or any(len(symbol) != 1 for symbol in symbols):
        raise InputError(f"rare = {least}: x is not a text of characters. Leave rare out.")
    length = dataset["length"].values if "length" in dataset else np.full(x.sizes["row"], x.shape[1])
    kept = frequent(x.values, length, symbols, least)
    found, _ = recode(x.values, length, symbols, kept)
    return dataset.assign(x=(x.dims, found, {**x.attrs, "levels": len(kept), "symbols": kept}))
