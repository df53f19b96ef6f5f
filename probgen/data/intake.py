"""Conversion of data of any kind to checked rows, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
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
from probgen.data.check import Looked, check
from probgen.data.columns import check_supports, in_columns_of, with_gaps
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.data.precision import check_precision
from probgen.data.vocabulary import in_symbols_of
from probgen.errors import InputError

LOOKED, USUAL = 1000, (0.01, 100.0)  # rows; deviations of real conditions
TAKEN = ("x", "n", "observed", "weight", "pair")  # names of the data, and of the number of rows


@dataclass(frozen=True)
class Prepared:
    """Data that passed all checks.

    Attributes:
        rows: The rows, as hooks receive them.
        dataset: The data as one Dataset, in the symbols of the event.
        digest: SHA-256 of names, types, shapes and values.
        missing: Whether values of x are missing.
        weight: Row weights that the call does not use, not checked, or None.
    """

    rows: Rows
    dataset: xr.Dataset
    digest: str
    missing: bool
    weight: xr.DataArray | None = None

    @property
    def event(self) -> Event:
        """The event: the description of one row."""
        return self.rows.event


def prepare(
    data: Any,
    family: Definition,
    *,
    event: Event | None = None,
    reading: Mapping[str, Any] | None = None,
    options: BaseModel | None = None,
    without: Collection[str] = (),
    valid: Rows | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    world: World | None = None,
    looked: Sequence[Looked] | None = None,
) -> Prepared:
    """Convert data of any kind to rows that are checked against an event and a family.

    Args:
        data: Any input of `as_dataset`.
        family: The family that uses the rows.
        event: The event that each row must match. None: derive the event from the data, as a fit with `options` does.
        reading: Options by which the data of the fit were read. A file or DataFrame is read in the same way.
        options: Options of the fit, used if `event` is None.
        without: Names of variables that the call does not use.
        valid: Validation rows of a fit.
        seed: Seed of the order of batches.
        device: Device of the tensors.
        dtype: Type of the tensors.
        world: The processes of a fit. All processes call this function and share the pass over the values.
        looked: Results of the pass over the values, if workers have made it: see `check`.

    Returns:
        The checked rows, with the Dataset and its digest.

    Raises:
        InputError: When the data are not allowed. The message names the field, the value and the allowed values.
        FileError: When a file cannot be read.
    """
    world, learning = world or World(), event is None
    with world.agreed():
        dataset, event = _described(data, family, event, options, reading)
        weight = dataset.get("weight") if "weight" in without else None
        dataset = dataset.drop_vars(set(without) - event.given.keys(), errors="ignore")
    x_dtype = family.dtype_of_x(dtype)
    kinds = numpy_dtype(dtype), numpy_dtype(x_dtype)
    missing, digest = check(
        dataset,
        event,
        family.accepts,
        family.name,
        *kinds,
        learning=learning,
        world=world,
        looked=looked,
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
    """Return checked data as rows for the hooks of a family.

    Args:
        dataset: Checked data, in the columns and symbols of the event.
        event: The event that the rows match.
        family: The family that uses the rows.
        missing: Whether values of x are missing.
        device: Device of the tensors.
        dtype: Type of the tensors.
        seed: Seed of the order of batches.
        valid: Validation rows of a fit.
        world: The processes of a fit.

    Returns:
        The rows, as hooks receive them.
    """
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
    """Return data in the columns, symbols and conditions of an event. Raise `InputError` if this is not possible."""
    dataset = in_symbols_of(event, with_conditions(in_columns_of(event, dataset), event.given))
    return with_attributes(dataset, event.attributes) if "attribute" in family.accepts else dataset


def _described(
    data: Any,
    family: Definition,
    event: Event | None,
    options: BaseModel | None,
    reading: Mapping[str, Any] | None,
) -> tuple[xr.Dataset, Event]:
    """Return data as one Dataset, and its event. The event is derived from the data if `event` is None."""
    dataset = as_dataset(data, like=event.columns if event is not None else (), reading=reading)
    if event is None or "pair" not in family.accepts:
        dataset = dataset.drop_vars("pair", errors="ignore")  # a fit does not use it
    if event is not None:
        return arranged(dataset, family, event), event
    assert options is not None  # every fit has options
    given = conditions_of(options)
    if twice := {name for name in given if given.count(name) > 1}:
        raise InputError(
            f"given = {given}: {', '.join(sorted(twice))} occurs more than once. Name each condition once."
        )
    if taken := [name for name in given if name in TAKEN]:
        raise InputError(
            f"given = {list(given)}: {taken[0]!r} has another meaning. Give the condition another name in the data."
        )
    dataset = family.prepared(with_conditions(dataset, given), options)
    tells = "attribute" in family.accepts
    dataset = with_attributes(dataset, None) if tells else dataset
    event = event_of(dataset, given, attributes=tells, any_size="size" in family.accepts)
    check_supports(event, family.supports, family.name)
    return dataset, event


def notes_on_units(dataset: xr.Dataset, event: Event) -> list[str]:
    """Return a sentence for each real condition whose units hide it from a network, by its first rows.

    Args:
        dataset: The rows of a fit.
        event: Their event.

    Returns:
        The sentences.
    """
    notes = []
    for name, part in event.given.items():
        if part.support != "real":
            continue
        deviation = float(dataset[name][{"row": slice(LOOKED)}].values.astype(float).std())
        if deviation and not USUAL[0] <= deviation <= USUAL[1]:
            notes.append(
                f"condition {name!r} has a standard deviation of {deviation:.3g}: conditions are not standardized. "
                "Give it in units in which this is about 1."
            )
    return notes


def say_unused(weight: xr.DataArray | None) -> None:
    """Warn about row weights that a call does not use."""
    if weight is not None:
        warnings.warn(
            "the data have row weights, which are not used here: all rows have equal weight", stacklevel=3
        )
