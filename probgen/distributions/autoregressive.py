"""p(x) = prod_i p(x_i | x_<i, context), around any network that gives the parameters of every site in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from probgen.distributions.columns import at, ordered
from probgen.distributions.sites import Site, log_prob_of
from probgen.errors import InputError

MOST_VALUES = 1 << 20  # of a support that can be enumerated


@runtime_checkable
class _Parametrized(Protocol):
    """A conditioner that has parameters, a module or a part of one: values have their dtype and device."""

    def parameters(self) -> Iterator[Tensor]: ...


class Conditioner(Protocol):
    """Any callable that gives the parameters of every site, each from the sites before it.

    x        (row, site): sites in the order in which they are drawn
    context  (row, *context) or None
    Returns  (row, site, size): `size` numbers a site, as its `Site` needs
    """

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor: ...


State = dict[Any, Any]


@runtime_checkable
class Cached(Protocol):
    """A conditioner that can also go one site at a time, so that a draw does not start over at every site."""

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor: ...

    def start(self, rows: int, context: Tensor | None) -> State:
        """What is known before the first site: tensors with the row as their first dimension, or dictionaries of such.
        What else is in it, a tuple of weights made ready for the walk, say, is the same for all rows.
        """

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Parameters of site i: (row, size), given the value of site i - 1: (row,), None at the first.

        The state may be changed in place.
        """


class Walk:
    """Some rows, one site at a time: through the cache of the conditioner where it has one, else by calling it anew.

    x  (row, site), as far as it is known
    """

    def __init__(
        self,
        conditioner: Conditioner,
        site: Site,
        rows: int,
        sites: int,
        context: Tensor | None,
        like: Tensor,
    ):
        self.conditioner, self.site, self.context, self.sites = conditioner, site, context, sites
        self.x = torch.zeros(rows, sites, dtype=site.dtype or like.dtype, device=like.device)
        self.state = conditioner.start(rows, context) if isinstance(conditioner, Cached) else {}

    def numbers(self, i: int) -> Tensor:
        """Those of site i, when all sites before it are put: (row, size)."""
        if isinstance(self.conditioner, Cached):
            found = self.conditioner.step(self.state, i, self.x[:, i - 1] if i else None)
        else:
            found = self.conditioner(self.x, self.context)[:, i]
        return checked_numbers(found, (len(self.x), self.site.size), self.site)

    def put(self, i: int, x_i: Tensor) -> None:
        """Set site i: (row,)."""
        self.x[:, i] = x_i

    @property
    def bytes(self) -> int:
        """What is kept of these rows."""
        return self.x.nbytes + _bytes(self.state)

    def take(self, index: Tensor) -> None:
        """Go on with these rows, in place of all."""
        self.x = self.x[index]
        self.state = of_rows(self.state, index)
        self.context = self.context[index] if self.context is not None else None


def of_rows(state: State, index: Tensor) -> State:
    """The state of some rows, by their numbers or a mask."""
    return {
        name: part[index]
        if isinstance(part, Tensor)
        else of_rows(part, index)
        if isinstance(part, dict)
        else part
        for name, part in state.items()
    }


def _bytes(state: State) -> int:
    return sum(
        part.nbytes if isinstance(part, Tensor) else _bytes(part) if isinstance(part, dict) else 0
        for part in state.values()
    )


class Autoregressive(TorchDistribution):
    """A distribution on vectors, images, ... whose sites are drawn one after the other.

    conditioner  the network: see `Conditioner`; where it is `Cached`, draws go through its cache
    site         what one site is: `Bernoulli()`, `Categorical(levels)`, `Normal()`, ...: see `probgen.distributions`; `ColumnSites` where they differ
    shape        of one event
    context      (*batch, *context) with `context_dim` dimensions of its own (a vector by default), or None
    ordering     (site,) the place in the flattened event of the first site, the second, ...; by default as they lie

    The batch shape is that of the context. `log_prob` is one pass, in nats. Errors: `InputError`.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self,
        conditioner: Conditioner,
        site: Site,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        context_dim: int = 1,
        ordering: Tensor | Sequence[int] | None = None,
        validate_args: bool | None = None,
    ):
        self.conditioner, self.site, self.context, self.context_dim = conditioner, site, context, context_dim
        event_shape = torch.Size(shape)
        if context is not None and context.dim() < context_dim:
            raise InputError(
                f"context has shape {tuple(context.shape)}; (*batch, {context_dim} more) is needed"
            )
        batch_shape = context.shape[: context.dim() - context_dim] if context is not None else torch.Size()
        sites = event_shape.numel()
        self.ordering = checked_ordering(ordering, sites) if ordering is not None else None
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Autoregressive:
        """The same distribution with a larger batch shape; nothing is copied."""
        new = self._get_checked_instance(Autoregressive, _instance)
        new.conditioner, new.site, new.ordering = self.conditioner, self.site, self.ordering
        new.context, new.context_dim = self.context, self.context_dim
        # refuses what is no expansion
        shape = torch.empty(()).expand(self.batch_shape).expand(batch_shape).shape
        if self.context is not None:
            new.context = self.context.expand(shape + self.context.shape[len(self.batch_shape) :])
        TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        """That of every site."""
        return constraints.independent(self.site.support, len(self.event_shape))

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]  # torch has a plain attribute
        """True where sites are discrete and there are at most `MOST_VALUES` values."""
        sites, levels = self.event_shape.numel(), self.site.levels
        return levels is not None and sites * math.log(levels) <= math.log(MOST_VALUES)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every value: (levels ** sites, *batch or ones, *event)."""
        if not self.has_enumerate_support or self.site.levels is None:
            raise NotImplementedError(
                f"{self.event_shape.numel()} sites of {self.site} are too many to enumerate"
            )
        sites = self.event_shape.numel()
        values = torch.tensor(list(product(range(self.site.levels), repeat=sites)), dtype=self._dtype)
        values = values.to(self._like.device).reshape(-1, *(1,) * len(self.batch_shape), *self.event_shape)
        return values.expand(-1, *self.batch_shape, *self.event_shape) if expand else values

    def log_prob(self, value: Tensor) -> Tensor:
        """sum_i log p(x_i | x_<i): (*sample, *batch), in nats. Errors: `InputError`."""
        if self._validate_args:
            self._validate_sample(value)
        numbers, x, shape = self._numbers(value)
        log_prob = self._of_sites(numbers, x).sum(1).reshape(shape)
        return log_prob.expand(torch.broadcast_shapes(shape, self.batch_shape))

    def log_prob_in_part(self, value: Tensor) -> Tensor:
        """sum_i log p(x_i | what is known of x_<i) over sites i that are known, others being NaN: (*sample, *batch), in nats.

        What a conditioner learns by that takes NaN. It is log p(x) of a row that is known whole; of another it is the product of what is said of
        each known site when it is its turn, and no marginal of p(x).
        """
        numbers, x, shape = self._numbers(value)
        known = ~torch.isnan(x)
        each = self._of_sites(numbers, torch.where(known, x, 0))
        return torch.where(known, each, 0).sum(1).reshape(shape)

    def site_at(self, i: int) -> Site:
        """The site that is drawn as the i-th, from 0."""
        return at(self.site, int(self.order[i]))

    def _of_sites(self, numbers: Tensor, x: Tensor) -> Tensor:
        """log p of each site: (row, site), in the order of the sites."""
        return log_prob_of(ordered(self.site, self.ordering), numbers, x)

    def conditionals(self, value: Tensor) -> Any:
        """p(x_i | x_<i) of every site, as a distribution of batch shape (*sample, *batch, *event)."""
        if self._validate_args:
            self._validate_sample(value)
        numbers, _, shape = self._numbers(value)
        if self.ordering is not None:
            numbers = numbers[:, self.ordering.argsort()]
        p = self.site.p(numbers.reshape(*shape, *self.event_shape, numbers.shape[-1]))
        return p.expand(torch.broadcast_shapes(shape, self.batch_shape) + self.event_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws: (*sample, *batch, *event), one site after the other."""
        shape = self._extended_shape(torch.Size(sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        with torch.no_grad():
            walk = self.walk(batch)
            for i in range(walk.sites):
                walk.put(i, self.site_at(i).p(walk.numbers(i)).sample())
            return self.as_it_lies(walk.x).reshape(shape)

    def walk(self, batch: torch.Size, index: Tensor | None = None) -> Walk:
        """The start of a draw for every element, or those at `index`, of a batch shape that this one's broadcasts to."""
        context, rows = self._flat_context(batch), batch.numel()
        if index is not None:
            context, rows = context[index] if context is not None else None, len(index)
        return Walk(self.conditioner, self.site, rows, self.event_shape.numel(), context, self._like)

    @property
    def order(self) -> Tensor:
        """The ordering, also where it is the natural one."""
        return self.ordering if self.ordering is not None else torch.arange(self.event_shape.numel())

    def in_order(self, x: Tensor) -> Tensor:
        """(row, site) as it lies to (row, site) as it is drawn."""
        return x if self.ordering is None else x[:, self.ordering]

    def as_it_lies(self, x: Tensor) -> Tensor:
        """The inverse of `in_order`."""
        return x if self.ordering is None else x[:, self.ordering.argsort()]

    def _validate_sample(self, value: Tensor) -> None:
        """Errors: `InputError`, which names a value that is not allowed."""
        if value.shape[value.dim() - len(self.event_shape) :] != self.event_shape:
            raise InputError(
                f"a value of shape {tuple(value.shape)} is no event of {tuple(self.event_shape)}"
            )
        bad = value[~self.site.support.check(value)]
        if bad.numel():
            raise InputError(f"x has a value {bad[0].item()}, which is not possible at a site of {self.site}")

    def _numbers(self, value: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        """Numbers for each site (row, site, size), x (row, site), both in the order of the sites, and the batch."""
        batch = value.shape[: value.dim() - len(self.event_shape)]
        if self.context is not None:
            batch = torch.broadcast_shapes(batch, self.batch_shape)
            value = value.expand(batch + self.event_shape)
        x = self.in_order(value.to(self._dtype).reshape(-1, self.event_shape.numel()))
        numbers = self.conditioner(x, self._flat_context(batch)).to(
            self._like.dtype
        )  # whatever autocast made
        return checked_numbers(numbers, (*x.shape, self.site.size), self.site), x, batch

    def _flat_context(self, batch: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        own = self.context.shape[len(self.batch_shape) :]
        context = self.context.to(self._like.dtype) if self.context.is_floating_point() else self.context
        return context.expand(batch + own).reshape(-1, *own)

    @property
    def _dtype(self) -> torch.dtype:
        """Of values."""
        return self.site.dtype or self._like.dtype

    @property
    def _like(self) -> Tensor:
        module = self.conditioner
        first = next(iter(module.parameters()), None) if isinstance(module, _Parametrized) else None
        return first if first is not None else self.context if self.context is not None else torch.empty(0)


def checked_numbers(numbers: Tensor, shape: tuple[int, ...], site: Site) -> Tensor:
    """What a conditioner returned, if it has the shape that it must have. Errors: `InputError`."""
    if tuple(numbers.shape) != shape:
        raise InputError(
            f"the conditioner returned {tuple(numbers.shape)}; {shape} is needed, for {site} sites"
        )
    return numbers


def check_inputs(x: Tensor, context: Tensor | None, sites: int, context_size: int) -> None:
    """For conditioners of a number of sites and a vector of context, or none. Errors: `InputError`."""
    if x.shape[1] != sites:
        raise InputError(f"the conditioner is for {sites} sites, not {x.shape[1]}")
    check_context(context, context_size)


def check_context(context: Tensor | None, size: int) -> None:
    """For conditioners that take a vector of `size` numbers a row, or none. Errors: `InputError`."""
    if (context is None) != (size == 0) or (
        context is not None and (context.dim(), context.shape[-1]) != (2, size)
    ):
        found = "none" if context is None else f"shape {tuple(context.shape)}"
        raise InputError(f"context: {size or 'no'} numbers a row are needed, not {found}")
    if context is not None and not context.is_floating_point():
        raise InputError(
            f"context: floats are needed, not {context.dtype}; contract.conditions.context_of makes them of labels"
        )


def checked_ordering(ordering: Tensor | Sequence[int], sites: int) -> Tensor:
    """A permutation of the sites as a tensor. Errors: `InputError`."""
    try:
        found = torch.as_tensor(ordering)
        whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
        if whole and found.shape == (sites,) and found.sort().values.tolist() == list(range(sites)):
            return found.long()
    except (TypeError, ValueError, RuntimeError):  # of as_tensor, for whatever is no array of numbers
        pass
    raise InputError(f"ordering: a permutation of 0 .. {sites - 1} is needed, each once")
