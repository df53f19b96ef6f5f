"""The door: data of any kind to checked rows, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
import xarray as xr
from pydantic import BaseModel

from probgen.contract.definition import Definition, conditions_of
from probgen.contract.event import Event
from probgen.contract.rows import Rows, numpy_dtype
from probgen.contract.world import World
from probgen.data.attributes import with_attributes, with_conditions
from probgen.data.check import check
from probgen.data.columns import check_supports, in_columns_of, with_gaps
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.data.precision import check_precision
from probgen.data.vocabulary import in_symbols_of
from probgen.errors import InputError


@dataclass(frozen=True)
class Prepared:
    """Data that were checked.

    rows     as hooks get them
    dataset  as they are, in the symbols of the event
    digest   SHA-256 of names, types, shapes and values
    missing  whether values of x are missing
    weight   that the call has no use for, where the data have one; not checked
    """

    rows: Rows
    dataset: xr.Dataset
    digest: str
    missing: bool
    weight: xr.DataArray | None = None

    @property
    def event(self) -> Event:
        """What one row is."""
        return self.rows.event


def prepare(
    data: Any,
    family: Definition,
    *,
    event: Event | None = None,
    options: BaseModel | None = None,
    without: Collection[str] = (),
    valid: Rows | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    world: World | None = None,
) -> Prepared:
    """Data of any kind as rows that were checked against an event and a family.

    event    what a row must be; None: whatever the data are, as a fit with `options` wants them
    without  variables that the call has no use for
    valid    rows that a fit chooses by
    world    the processes of a fit, which all call this, and share the pass over the values

    Errors: `InputError`, which names the field, the value and what is allowed; `FileError`.
    """
    world, learning = world or World(), event is None
    with world.agreed():
        dataset, event = _described(data, family, event, options)
        weight = dataset.get("weight") if "weight" in without else None
        dataset = dataset.drop_vars(set(without) - event.given.keys(), errors="ignore")
    x_dtype = family.dtype_of_x(dtype)
    kinds = numpy_dtype(dtype), numpy_dtype(x_dtype)
    missing, digest = check(
        dataset, event, family.accepts, family.name, *kinds, learning=learning, world=world
    )
    if learning:
        with world.agreed():
            event = with_gaps(event, dataset) if missing or "observed" in dataset else event
            check_precision(dataset, event, family.name, *kinds)
    rows = rows_of(dataset, event, family, missing, device, dtype, seed=seed, valid=valid, world=world)
    return Prepared(rows, dataset, digest, missing or "observed" in dataset, weight)


def rows_of(
    dataset: xr.Dataset,
    event: Event,
    family: Definition,
    missing: bool,
    device: torch.device | str,
    dtype: torch.dtype,
    *,
    seed: int = 0,
    valid: Rows | None = None,
    world: World | None = None,
) -> Rows:
    """Data that were checked as rows for the hooks of a family; missing: whether values are."""
    return Rows(
        dataset,
        event,
        missing=missing,
        seed=seed,
        device=device,
        dtype=dtype,
        x_dtype=family.dtype_of_x(dtype),
        valid=valid,
        beside=family.accepts,
        world=world,
    )


def arranged(dataset: xr.Dataset, family: Definition, event: Event) -> xr.Dataset:
    """Data in the columns, symbols and conditions of an event. Errors: `InputError`."""
    dataset = in_symbols_of(event, with_conditions(in_columns_of(event, dataset), event.given))
    return with_attributes(dataset, event.attributes) if "attribute" in family.accepts else dataset


def _described(
    data: Any, family: Definition, event: Event | None, options: BaseModel | None
) -> tuple[xr.Dataset, Event]:
    """Data as one Dataset in the symbols of the event, and the event; None: what the data are."""
    dataset = as_dataset(data, like=event.columns if event is not None else ())
    if event is None or "pair" not in family.accepts:
        dataset = dataset.drop_vars("pair", errors="ignore")  # nothing is learned of it
    if event is not None:
        return arranged(dataset, family, event), event
    assert options is not None  # of a fit
    given = conditions_of(options)
    if twice := {name for name in given if given.count(name) > 1}:
        raise InputError(f"given names {', '.join(sorted(twice))} more than once")
    dataset = family.prepared(with_conditions(dataset, given), options)
    tells = "attribute" in family.accepts
    dataset = with_attributes(dataset, None) if tells else dataset
    event = event_of(dataset, given, attributes=tells, any_size="size" in family.accepts)
    check_supports(event, family.supports, family.name)
    return dataset, event


def say_unused(weight: xr.DataArray | None) -> None:
    """Warn of weights that a call does not use."""
    if weight is not None:
        warnings.warn(
            "the data have a weight a row, which is not used here: all rows count alike", stacklevel=3
        )
