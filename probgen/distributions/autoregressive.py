"""Autoregressive distributions, p(x) = prod_i p(x_i | x_<i, context), around a network.

The network returns the parameters of all sites in one pass.
"""

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

MOST_VALUES = 1 << 20  # largest number of events that `enumerate_support` lists


@runtime_checkable
class _Parametrized(Protocol):
    """A conditioner with parameters; values take the dtype and the device of its first parameter."""

    def parameters(self) -> Iterator[Tensor]: ...


class Conditioner(Protocol):
    """A callable that computes the parameters of each site from the sites before it.

    It is called as `conditioner(x, context)`. `x` has shape (row, site), with the sites in sampling order. `context` has
    shape (row, *context) or is None. The result has shape (row, site, size), where `size` is that of the `Site`. The
    parameters of site i must depend only on the sites before i and on the context.
    """

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor:
        """Return the parameters of all sites, (row, site, size)."""
        ...


State = dict[Any, Any]


@runtime_checkable
class Cached(Protocol):
    """A conditioner that can also compute one site at a time, so that sampling reuses earlier computations."""

    def __call__(self, x: Tensor, context: Tensor | None = None, /) -> Tensor:
        """Return the parameters of all sites, (row, site, size)."""
        ...

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first site.

        Args:
            rows: Number of rows to sample.
            context: Context of each row, (row, *context), or None.

        Returns:
            A dictionary. Tensors, and tensors in nested dictionaries, have the row as their first dimension. Other
            entries are the same for all rows, for example a tuple of prepared weights.
        """

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the parameters of site i.

        Args:
            state: State of the rows; `step` may change it in place.
            i: Number of the site in sampling order, from 0.
            previous: Value of site i - 1, (row,); None for the first site.

        Returns:
            The parameters of the site, (row, size).
        """


class Walk:
    """The sampling state of some rows, which advances one site at a time.

    A `Cached` conditioner is called step by step. Any other conditioner is called on all sites at every step.

    Args:
        conditioner: The network; see `Conditioner`.
        site: Distribution of one site; see `Site`.
        rows: Number of rows.
        sites: Number of sites of a row.
        context: Context of each row, (row, *context), or None.
        like: A tensor that supplies the device, and the dtype if the site has none.

    Attributes:
        x: Values in sampling order, (row, site); sites that are not set yet are 0.
        state: State of a `Cached` conditioner; empty for others.
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
        """Return the parameters of site i, after all sites before i are set.

        Args:
            i: Number of the site in sampling order, from 0.

        Returns:
            The outputs of the network, (row, size).

        Raises:
            InputError: When the conditioner returns another shape.
        """
        if isinstance(self.conditioner, Cached):
            found = self.conditioner.step(self.state, i, self.x[:, i - 1] if i else None)
        else:
            found = self.conditioner(self.x, self.context)[:, i]
        return checked_numbers(found, (len(self.x), self.site.size), self.site)

    def put(self, i: int, x_i: Tensor) -> None:
        """Set the value of site i.

        Args:
            i: Number of the site in sampling order, from 0.
            x_i: Values, (row,).
        """
        self.x[:, i] = x_i

    @property
    def bytes(self) -> int:
        """Memory of the values and of the state, in bytes."""
        return self.x.nbytes + _bytes(self.state)

    def take(self, index: Tensor) -> None:
        """Replace the rows by a selection of them.

        Args:
            index: Numbers of the rows, which may repeat, or a boolean mask over the rows.
        """
        self.x = self.x[index]
        self.state = of_rows(self.state, index)
        self.context = self.context[index] if self.context is not None else None


def of_rows(state: State, index: Tensor) -> State:
    """Return the state of the selected rows; `index` holds row numbers or is a boolean mask."""
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
    """An autoregressive distribution over vectors, images or other arrays, p(x) = prod_i p(x_i | x_<i, context).

    The leading dimensions of the context are the batch shape. `log_prob` needs one pass of the network. `sample` needs
    one step per site and uses torch's global generator.

    Args:
        conditioner: The network; see `Conditioner`. Sampling uses the cache of a `Cached` conditioner.
        site: Distribution of one site, such as `Bernoulli()`, `Categorical(levels)` or `Normal()`. `ColumnSites` gives
            each site a distribution of its own.
        shape: Shape of one event. Its entries are the sites.
        context: Values to condition on, (*batch, *context), or None.
        context_dim: Number of dimensions of `*context`; 1 for a vector.
        ordering: Sampling order, (site,): entry i is the position in the flattened event of the i-th site. None is the
            order of the flattened event.
        validate_args: Whether `log_prob` and `conditionals` check their values; None follows torch's default.

    Raises:
        InputError: When the context has fewer than `context_dim` dimensions, or the ordering is not a permutation.
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
                f"context of shape {tuple(context.shape)}: at least {context_dim} dimensions are needed. "
                f"Pass a tensor of shape (*batch, *context), where *context has {context_dim} dimensions."
            )
        batch_shape = context.shape[: context.dim() - context_dim] if context is not None else torch.Size()
        sites = event_shape.numel()
        self.ordering = checked_ordering(ordering, sites) if ordering is not None else None
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Autoregressive:
        """Return the same distribution with a larger batch shape, without a copy of the context."""
        new = self._get_checked_instance(Autoregressive, _instance)
        new.conditioner, new.site, new.ordering = self.conditioner, self.site, self.ordering
        new.context, new.context_dim = self.context, self.context_dim
        # torch raises an error here if the present batch shape does not broadcast to the new one
        shape = torch.empty(()).expand(self.batch_shape).expand(batch_shape).shape
        if self.context is not None:
            new.context = self.context.expand(shape + self.context.shape[len(self.batch_shape) :])
        TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        """The constraint that every site has the support of `site`."""
        return constraints.independent(self.site.support, len(self.event_shape))

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]  # torch has a plain attribute
        """Whether the sites are discrete and there are at most `MOST_VALUES` possible events."""
        sites, levels = self.event_shape.numel(), self.site.levels
        return levels is not None and sites * math.log(levels) <= math.log(MOST_VALUES)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return all possible events.

        Args:
            expand: Whether to expand the batch dimensions to the batch shape; otherwise they have size 1.

        Returns:
            All events, (levels ** sites, *batch, *event).

        Raises:
            NotImplementedError: When the sites are continuous, or there are more than `MOST_VALUES` events.
        """
        if not self.has_enumerate_support or self.site.levels is None:
            raise NotImplementedError(
                f"{self.event_shape.numel()} sites of {self.site}: the support cannot be enumerated. "
                f"Use discrete sites with at most {MOST_VALUES} possible events."
            )
        sites = self.event_shape.numel()
        values = torch.tensor(list(product(range(self.site.levels), repeat=sites)), dtype=self._dtype)
        values = values.to(self._like.device).reshape(-1, *(1,) * len(self.batch_shape), *self.event_shape)
        return values.expand(-1, *self.batch_shape, *self.event_shape) if expand else values

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x) = sum_i log p(x_i | x_<i), in one pass of the network.

        Args:
            value: Events, (*sample, *batch, *event).

        Returns:
            Log-probabilities (log-densities for real sites), (*sample, *batch), in nats.

        Raises:
            InputError: When arguments are validated and a value has another event shape or lies outside the support, or
                when the network returns another shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        numbers, x, shape = self._numbers(value)
        log_prob = self._of_sites(numbers, x).sum(1).reshape(shape)
        return log_prob.expand(torch.broadcast_shapes(shape, self.batch_shape))

    def log_prob_in_part(self, value: Tensor) -> Tensor:
        """Return sum_i log p(x_i | observed part of x_<i) over the observed sites i.

        This is the training objective for a network that accepts missing values. It equals log p(x) if every site is
        observed. Otherwise it is a product of conditionals, and not a marginal of p(x).

        Args:
            value: Events with NaN at missing sites, (*sample, *batch, *event). Values are not validated.

        Returns:
            The sums, (*sample, *batch), in nats.

        Raises:
            InputError: When the network returns another shape.
        """
        numbers, x, shape = self._numbers(value)
        known = ~torch.isnan(x)
        each = self._of_sites(numbers, torch.where(known, x, 0))
        return torch.where(known, each, 0).sum(1).reshape(shape)

    def site_at(self, i: int) -> Site:
        """Return the site at position i of the sampling order.

        Args:
            i: Position in the sampling order, from 0.

        Returns:
            The site; for `ColumnSites`, the site of that column.
        """
        return at(self.site, int(self.order[i]))

    def _of_sites(self, numbers: Tensor, x: Tensor) -> Tensor:
        """Return log p of each site, (row, site), in sampling order."""
        return log_prob_of(ordered(self.site, self.ordering), numbers, x)

    def conditionals(self, value: Tensor) -> Any:
        """Return the conditional distributions p(x_i | x_<i) of all sites.

        Args:
            value: Events, (*sample, *batch, *event).

        Returns:
            A distribution of batch shape (*sample, *batch, *event) and event shape ().

        Raises:
            InputError: When arguments are validated and a value has another event shape or lies outside the support, or
                when the network returns another shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        numbers, _, shape = self._numbers(value)
        if self.ordering is not None:
            numbers = numbers[:, self.ordering.argsort()]
        p = self.site.p(numbers.reshape(*shape, *self.event_shape, numbers.shape[-1]))
        return p.expand(torch.broadcast_shapes(shape, self.batch_shape) + self.event_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Sample events, one site after the other, without gradients.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Samples, (*sample, *batch, *event).
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        with torch.no_grad():
            walk = self.walk(batch)
            for i in range(walk.sites):
                walk.put(i, self.site_at(i).p(walk.numbers(i)).sample())
            return self.as_it_lies(walk.x).reshape(shape)

    def walk(self, batch: torch.Size, index: Tensor | None = None) -> Walk:
        """Return a `Walk` before the first site.

        Args:
            batch: A shape to which the batch shape broadcasts; each of its elements becomes a row.
            index: Numbers of the rows to sample, from the flattened `batch`; None for all rows.

        Returns:
            The sampling state of these rows.
        """
        context, rows = self._flat_context(batch), batch.numel()
        if index is not None:
            context, rows = context[index] if context is not None else None, len(index)
        return Walk(self.conditioner, self.site, rows, self.event_shape.numel(), context, self._like)

    @property
    def order(self) -> Tensor:
        """The ordering, (site,); 0 .. sites - 1 if none was given."""
        return self.ordering if self.ordering is not None else torch.arange(self.event_shape.numel())

    def in_order(self, x: Tensor) -> Tensor:
        """Return x, (row, site), in the sampling order, from the order of the flattened event."""
        return x if self.ordering is None else x[:, self.ordering]

    def as_it_lies(self, x: Tensor) -> Tensor:
        """Return x, (row, site), in the order of the flattened event, from the sampling order."""
        return x if self.ordering is None else x[:, self.ordering.argsort()]

    def _validate_sample(self, value: Tensor) -> None:
        """Raise an `InputError` if the event shape differs or a value lies outside the support."""
        if value.shape[value.dim() - len(self.event_shape) :] != self.event_shape:
            raise InputError(
                f"value of shape {tuple(value.shape)}: the last dimensions must be the event shape "
                f"{tuple(self.event_shape)}. Reshape the value."
            )
        bad = value[~self.site.support.check(value)]
        if bad.numel():
            raise InputError(
                f"x = {bad[0].item()}: the value is outside the support of {self.site}. Correct x, or choose another site."
            )

    def _numbers(self, value: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        """Return the network's outputs (row, site, size), x (row, site) and the batch shape; sites are in sampling order."""
        batch = value.shape[: value.dim() - len(self.event_shape)]
        if self.context is not None:
            batch = torch.broadcast_shapes(batch, self.batch_shape)
            value = value.expand(batch + self.event_shape)
        x = self.in_order(value.to(self._dtype).reshape(-1, self.event_shape.numel()))
        # autocast may have returned another dtype
        numbers = self.conditioner(x, self._flat_context(batch)).to(self._like.dtype)
        return checked_numbers(numbers, (*x.shape, self.site.size), self.site), x, batch

    def _flat_context(self, batch: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        own = self.context.shape[len(self.batch_shape) :]
        context = self.context.to(self._like.dtype) if self.context.is_floating_point() else self.context
        return context.expand(batch + own).reshape(-1, *own)

    @property
    def _dtype(self) -> torch.dtype:
        """The dtype of values."""
        return self.site.dtype or self._like.dtype

    @property
    def _like(self) -> Tensor:
        module = self.conditioner
        first = next(iter(module.parameters()), None) if isinstance(module, _Parametrized) else None
        return first if first is not None else self.context if self.context is not None else torch.empty(0)


def checked_numbers(numbers: Tensor, shape: tuple[int, ...], site: Site) -> Tensor:
    """Return the outputs of a conditioner, or raise an `InputError` if their shape is not `shape`."""
    if tuple(numbers.shape) != shape:
        raise InputError(
            f"the conditioner returned shape {tuple(numbers.shape)}: {shape} is needed for {site}. "
            "Correct the output of the network, or the size of the site."
        )
    return numbers


def check_inputs(x: Tensor, context: Tensor | None, sites: int, context_size: int) -> None:
    """Check the inputs of a conditioner.

    Args:
        x: Values, (row, site).
        context: Context vectors, (row, context_size), or None.
        sites: Number of sites that the conditioner needs.
        context_size: Length of the context vectors; 0 for no context.

    Raises:
        InputError: When the number of sites or the context differs.
    """
    if x.shape[1] != sites:
        raise InputError(
            f"x has {x.shape[1]} sites: the conditioner needs {sites}. Pass x with {sites} sites, or build another network."
        )
    check_context(context, context_size)


def check_context(context: Tensor | None, size: int) -> None:
    """Check the context of a conditioner.

    Args:
        context: Context vectors, (row, size), or None.
        size: Length of the context vectors; 0 for no context.

    Raises:
        InputError: When the context is missing, unexpected, of another shape or of an integer type.
    """
    if (context is None) != (size == 0) or (
        context is not None and (context.dim(), context.shape[-1]) != (2, size)
    ):
        found = "None" if context is None else f"a tensor of shape {tuple(context.shape)}"
        raise InputError(
            f"context = {found}: {f'a vector of {size} numbers per row' if size else 'no context'} is needed. "
            f"Pass {f'a tensor of shape (row, {size})' if size else 'None'}."
        )
    if context is not None and not context.is_floating_point():
        raise InputError(
            f"context of dtype {context.dtype}: floats are needed. "
            "Convert labels with probgen.contract.conditions.context_of."
        )


def checked_ordering(ordering: Tensor | Sequence[int], sites: int) -> Tensor:
    """Return the ordering as a tensor, (site,), or raise an `InputError` if it is not a permutation of the sites."""
    try:
        found = torch.as_tensor(ordering)
        whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
        if whole and found.shape == (sites,) and found.sort().values.tolist() == list(range(sites)):
            return found.long()
    except (TypeError, ValueError, RuntimeError):  # as_tensor raises these for input that is not numeric
        pass
    raise InputError(f"ordering: a permutation of 0 .. {sites - 1} is needed. Give each site exactly once.")
