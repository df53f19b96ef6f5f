"""Check data against an event and a family, in one pass over blocks of rows. Several processes may share the pass."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.contract.event import Event
from probgen.contract.sizes import sizes_of
from probgen.contract.world import World
from probgen.data.describe import rate_of
from probgen.errors import InputError
from probgen.readers.described import blocks

BLOCK = 16 << 20  # bytes per block; another block size changes all digests
SPAN = 8  # blocks per span
SHARED = 16  # least number of blocks that processes share; with fewer, every process checks all blocks
Span: TypeAlias = tuple[int, int]  # the first block, and the block after the last one
Looked: TypeAlias = tuple[list[bytes], bytes]  # of a span: the SHA-256 of each block, and a packed summary
SMALLEST, LARGEST = 1e-140, 1e140  # range in which float64 can hold squares and their sums


def check(
    dataset: xr.Dataset,
    event: Event,
    accepts: frozenset[str],
    family: str,
    dtype: Any,
    x_dtype: Any,
    *,
    learning: bool = False,
    world: World | None = None,
    looked: Sequence[Looked] | None = None,
) -> tuple[bool, str]:
    """Check data against an event and a family, in one pass.

    The digest is the SHA-256 of names, types, shapes, and of the SHA-256s of blocks of rows. The digest does not depend on the layout in memory
    or on disk, nor on the number of processes.

    Args:
        dataset: The data, in the columns and symbols of the event.
        event: The event that each row must match.
        accepts: Names of optional variables that the family uses, such as `observed` and `weight`.
        family: Name of the family, for error messages.
        dtype: NumPy dtype in which the family receives conditions.
        x_dtype: NumPy dtype in which the family receives x.
        learning: Whether a model is fitted to the data. If so, every dimension of x needs an observed value in a row with a positive weight.
        world: Processes that all call this function and share the pass.
        looked: The results of `look` for each of `spans_of`, with packed summaries, if workers have made the pass. By default this function makes it.

    Returns:
        Whether values are missing, and the digest in hexadecimal.

    Raises:
        InputError: When a value is not allowed. The message names the field, the value and the allowed values. Of several errors, all processes
            raise the error of the first variable and row.
    """
    world = world or World()
    with world.agreed():
        names = _checked_names(dataset, event, accepts, family)
        blocks_of = {name: _blocks_of(dataset[name]) for name in names}
        pieces = _pieces(dataset, names)
        heads = {name: _head(name, dataset[name]) for name in names}
        heads["x"] += _told(event.columns)
        # if each process checks a share of the data, all compare both ends of each variable
        ends = [(name, blocks_of[name][i]) for name in names for i in (0, -1)] if world.size > 1 else []
        same = f"{heads} {[_hashed(_values(dataset, *block), block[0], event).hex() for block in ends]}"
    world.check_same({"data or options": same})
    sharing = world if len(pieces) >= max(SHARED, world.size) else World()
    mine, nothing = sharing.share(len(pieces)), Seen.nothing(dataset["x"].shape[1:])
    with world.agreed():  # raises the error of the first process, which has the first blocks
        if looked:
            found = [(hashes, nothing.unpacked(seen)) for hashes, seen in looked]
        else:
            found = [
                look(dataset, event, accepts, family, dtype, x_dtype, span, learning) for span in _spans(mine)
            ]
    here = [each for hashes, _ in found for each in hashes]
    hashes = sharing.bytes_of_each(len(pieces), lambda i: here[i - mine.start])
    seen = functools.reduce(Seen.joined, (part for _, part in found), nothing)
    if sharing.size > 1:
        others = sharing.bytes_of_each(sharing.size, lambda _: seen.packed())
        seen = functools.reduce(Seen.joined, (seen.unpacked(part) for part in others))
    with world.agreed():
        _check_seen(dataset, event, accepts, family, seen, learning)
    digest = hashlib.sha256()
    if "size" in dataset:
        digest.update(f"size {dataset['size'].values.tolist()}".encode())
    each = iter(hashes)
    for name in names:
        digest.update(heads[name].encode())
        for _ in blocks_of[name]:
            digest.update(next(each))
    return seen.missing, digest.hexdigest()


def look(
    dataset: xr.Dataset,
    event: Event,
    accepts: frozenset[str],
    family: str,
    dtype: Any,
    x_dtype: Any,
    span: Span,
    learning: bool = False,
) -> tuple[list[bytes], Seen]:
    """Check the blocks of a span. The result of `check` follows from the results of all spans.

    Args:
        dataset: The data, as for `check`.
        event: The event that each row must match.
        accepts: Names of optional variables that the family uses.
        family: Name of the family, for error messages.
        dtype: NumPy dtype in which the family receives conditions.
        x_dtype: NumPy dtype in which the family receives x.
        span: The first block, and the block after the last one.
        learning: Whether a model is fitted to the data.

    Returns:
        The SHA-256 of each block, and a summary of the blocks.

    Raises:
        InputError: When a value is not allowed.
    """
    hashes, seen = [], Seen.nothing(dataset["x"].shape[1:])
    for name, rows in _pieces(dataset, _checked_names(dataset, event, accepts, family))[slice(*span)]:
        values = _values(dataset, name, rows)
        hashes.append(_hashed(values, name, event))
        here = _look(dataset, name, rows, values, event, dtype, x_dtype, learning, not seen.known.all())
        seen = seen.joined(here)
    return hashes, seen


def spans_of(dataset: xr.Dataset, event: Event, accepts: frozenset[str], family: str) -> list[Span]:
    """Return the spans of blocks that workers can check side by side, or none for few blocks. The arguments are those of `look`."""
    n = len(_pieces(dataset, _checked_names(dataset, event, accepts, family)))
    return _spans(range(n)) if n >= SHARED else []


def _spans(blocks: range) -> list[Span]:
    return [(start, min(start + SPAN, blocks.stop)) for start in range(blocks.start, blocks.stop, SPAN)]


def _pieces(dataset: xr.Dataset, names: Iterable[str]) -> list[tuple[str, slice]]:
    """Return all blocks, each as a variable and a slice of rows, in the order of the digest."""
    return [(name, rows) for name in names for rows in _blocks_of(dataset[name])]


@dataclass(frozen=True)
class Seen:
    """A summary of blocks of rows.

    Attributes:
        missing: Whether values are missing.
        known: Whether each dimension of x has an observed value in a row with a positive weight.
        low: The least value in each dimension of x.
        high: The largest value in each dimension of x.
    """

    missing: bool
    known: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def nothing(shape: tuple[int, ...], missing: bool = False) -> Seen:
        """Return the summary of no rows of x with dimensions `shape`."""
        return Seen(missing, np.zeros(shape, dtype=bool), np.full(shape, np.inf), np.full(shape, -np.inf))

    def joined(self, other: Seen) -> Seen:
        """Return the summary of these blocks and of others."""
        return Seen(
            self.missing | other.missing,
            self.known | other.known,
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
        )

    def packed(self) -> bytes:
        """Return the summary as bytes, for another process."""
        # a score has no other facts, and an image can have millions of dimensions
        if not self.known.any() and np.isinf(self.low).all():
            return bytes([self.missing])
        parts = (np.full(self.known.shape, self.missing), self.known, self.low, self.high)
        return np.stack(parts).astype(np.float64).tobytes()

    def unpacked(self, content: bytes) -> Seen:
        """Read a packed summary of the same shape."""
        if len(content) == 1:
            return Seen.nothing(self.known.shape, bool(content[0]))
        missing, known, low, high = np.frombuffer(content).reshape(4, *self.known.shape)
        return Seen(bool(missing.any()), known.astype(bool), low, high)


def _checked_names(dataset: xr.Dataset, event: Event, accepts: frozenset[str], family: str) -> list[str]:
    """Return the names of the variables in use, in order. Raise `InputError` if dimensions or sizes differ from the event."""
    x = dataset["x"]
    if x.sizes["row"] == 0:
        raise InputError("the data have no rows. Give at least one row.")
    shape = tuple(x.shape[1:])
    if 0 in shape:
        raise InputError(f"x has shape {x.shape}: a row has no values. Give at least one value per row.")
    if len(shape) != len(event.shape) or any(
        b not in (None, a) for a, b in zip(shape, event.shape, strict=True)
    ):
        raise InputError(
            f"a row of x has shape {shape}, but {family} was fitted to rows of {event}{_rescaling(shape, event)}"
        )
    rate = rate_of(x)
    if event.rate and rate and rate != event.rate:
        raise InputError(
            f"x has {rate} samples per second, but {family} was fitted to {event.rate}. Resample the sound: rate = {event.rate}."
        )
    known_in_part = {"label"} & (accepts - event.given.keys())
    _check_sizes(dataset, event, family)
    if None in event.shape and not event.any_size and "length" not in dataset:
        raise InputError(
            f"{family} was fitted to rows of several lengths, but the data have no lengths. Add a variable length (row)."
        )
    beside = (("attribute",) if event.attributes else ()) + (("pair",) if "pair" in accepts else ())
    wanted = ("x", "observed", "weight", "length", *event.given, *event.lengths, *known_in_part, *beside)
    names = [name for name in wanted if name in dataset]
    for name in names:
        _check_dims(dataset, name, event, family)
    return names


def _check_dims(dataset: xr.Dataset, name: str, event: Event, family: str) -> None:
    x, variable, part = dataset["x"], dataset[name], event.given.get(name)
    wanted = x.dims if name in ("x", "observed", "pair") else ("row", *part.dims) if part else ("row",)
    wanted = ("row", "factor") if name == "attribute" else wanted
    if variable.dims != wanted or (name in ("observed", "pair") and variable.shape != x.shape):
        raise InputError(
            f"{name} has dimensions {variable.dims} and shape {variable.shape}: dimensions {wanted} are required"
        )
    if part and None not in part.shape and f"{name}_length" in dataset:
        raise InputError(
            f"{family} was fitted to {name} of the single length {part.shape[0]}. Cut {name} to this length, and drop {name}_length."
        )
    if part and any(b not in (None, a) for a, b in zip(variable.shape[1:], part.shape, strict=True)):
        raise InputError(
            f"a row of {name} has shape {variable.shape[1:]}, but {family} was fitted to {part}. Give {name} in this shape."
        )


def _head(name: str, variable: xr.DataArray) -> str:
    return f"{name} {variable.dtype.newbyteorder('<').str} {variable.shape}"


def _blocks_of(variable: xr.DataArray) -> list[slice]:
    """Return the row slices of the blocks. The block size depends on bytes per row, not on the layout."""
    rows = variable.shape[0]
    each = max(1, BLOCK // max(1, variable.dtype.itemsize * math.prod(variable.shape[1:])))
    return [slice(start, min(start + each, rows)) for start in range(0, rows, each)]


def _values(dataset: xr.Dataset, name: str, rows: slice) -> np.ndarray:
    found: np.ndarray = dataset[name][rows].values
    return found


def _told(columns: Sequence[Column]) -> str:
    """Return the names of columns and classes as text, in sorted order, or "" for columns without names."""
    return (
        f" {sorted((column.name, column.support, sorted(column.classes)) for column in columns)}"
        if columns
        else ""
    )


def _hashed(values: np.ndarray, name: str, event: Event) -> bytes:
    """Return the SHA-256 of values. The columns and the class numbers of a table are first put in the order of their names."""
    if name == "x" and event.columns:
        columns = event.columns
        values = values[:, sorted(range(len(columns)), key=lambda i: columns[i].name)]
        for j, column in enumerate(sorted(columns, key=lambda column: column.name)):
            if column.support == "token" and list(column.classes) != sorted(column.classes):
                rank = np.argsort(np.argsort(np.array(column.classes, dtype=object)))
                known = (values[:, j] >= 0) & (values[:, j] < len(rank))  # `_look` refuses other values
                values[known, j] = rank[values[known, j].astype(int)]
    return hashlib.sha256(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data).digest()


def _look(
    dataset: xr.Dataset,
    name: str,
    rows: slice,
    values: np.ndarray,
    event: Event,
    dtype: Any,
    x_dtype: Any,
    learning: bool,
    some_unknown: bool,
) -> Seen:
    """Check a block of rows of one variable. Raise `InputError` for a value that is not allowed."""
    first, x = rows.start, dataset["x"]
    seen = Seen.nothing(x.shape[1:])
    if name == "length":
        _check_lengths(name, values, x.sizes["time"], first)
        return seen
    if name in event.lengths:
        _check_lengths(name, values, dataset[event.lengths[name]].shape[1], first)
        return seen
    if name == "attribute":
        _check_attributes(values, event.attributes, first)
        return seen
    try:
        missing = _check_values(
            name, values, event, first, x_dtype if name in ("x", "pair") else dtype, dtype
        )
    except InputError as error:
        if not learning or name != "x" or "support" not in x.attrs or event.columns:
            raise
        raise InputError(
            f"{error}, because x.attrs['support'] = {x.attrs['support']!r}. Delete this attribute if the values have changed."
        ) from None
    seen = replace(seen, missing=missing)
    if learning and name == "x" and some_unknown:  # usually the first block has values in all dimensions
        seen = replace(seen, known=_known(dataset, values, first))
    if learning and name == "x" and values.dtype == np.float64:  # float32 cannot exceed the limits
        seen = replace(seen, low=np.fmin.reduce(values, 0), high=np.fmax.reduce(values, 0))
    return seen


def _check_seen(
    dataset: xr.Dataset,
    event: Event,
    accepts: frozenset[str],
    family: str,
    seen: Seen,
    learning: bool,
) -> None:
    """Check properties of all rows together. Raise `InputError` if one does not hold."""
    x = dataset["x"]
    _refuse_scale(x, seen.low, seen.high)
    if "weight" in dataset:
        _refuse_no_weight(dataset["weight"])
    _check_accepts(dataset, seen.missing, accepts, family)
    if learning:
        _refuse_unknown(x, seen.known, event)
    for name in (*event.given, *event.lengths):
        if name not in dataset:
            scale = event.given[name].scale if name in event.given else None
            how = f" Create {name} with scale = {scale} or --scale {scale}." if (scale or 1) > 1 else ""
            raise InputError(f"{family} is conditioned on {name!r}, which is not in the data.{how}")


def _check_sizes(dataset: xr.Dataset, event: Event, family: str) -> None:
    """Raise `InputError` for images of several sizes that a family cannot use, and for conditions that do not match the sizes of x."""
    x = dataset["x"]
    if "size" in dataset:
        size = dataset["size"]
        if not event.any_size:
            raise InputError(
                f"x has images of several sizes, which {family} cannot use. Scale all images to one size, and drop 'size'."
            )
        if size.dims != ("row", "side") or size.shape[1] != 2 or size.dtype.kind not in "iu":
            raise InputError(
                f"size has dimensions {size.dims} and type {size.dtype}: whole numbers (row, side) with height and width are required"
            )
        most = np.array(x.shape[-2:])
        _refuse(
            "size",
            size.values,
            (size.values < 1) | (size.values > most),
            0,
            f"a number from 1 to {tuple(map(int, most))}",
        )
    if not event.any_size:
        return
    sizes = sizes_of(dataset)
    for name, part in event.given.items():
        if not part.any_size or name not in dataset:
            continue
        scale, there = part.scale or 1, dataset[name].shape[-2:]
        height, width = there
        if (scale * height, scale * width) != x.shape[-2:]:
            raise InputError(
                f"{name} is {height} x {width} and x is {x.shape[-2]} x {x.shape[-1]}, but {family} was fitted to {name} at 1/{scale} of the size of x."
                + (f" Create {name} with scale = {scale} or --scale {scale}." if scale > 1 else "")
            )
        uneven = np.repeat(np.any(sizes % scale, axis=1)[:, None], 2, axis=1)
        _refuse(
            "size", sizes, uneven, 0, f"a multiple of {scale}, because {name} has 1/{scale} of the size of x"
        )


def _known(dataset: xr.Dataset, values: np.ndarray, first: int) -> np.ndarray:
    """Return whether each dimension of x has an observed value in a row with a positive weight, in one slice of rows.

    `observed` and `weight` are checked later, so this function ignores them if they are not valid.
    """
    rows, dims = slice(first, first + len(values)), dataset["x"].dims
    there = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
    observed, weight = dataset.get("observed"), dataset.get("weight")
    if observed is not None and observed.dims == dims and observed.dtype.kind in "biuf":
        there &= observed.isel(row=rows).values.astype(bool)
    if weight is not None and weight.dims == ("row",) and weight.dtype.kind in "biuf":
        there = there[weight.isel(row=rows).values > 0]
    return np.asarray(there.any(0))


def place_of(x: xr.DataArray, at: Iterable[Any]) -> str:
    """Return text that names one dimension of a row: the name of a column, or a number or position if columns have no names."""
    first = tuple(map(int, at))
    if len(first) == 1:
        return (
            f"column {str(x['feature'].values[first[0]])!r}"
            if "feature" in x.coords
            else f"column {first[0]}"
        )
    return f"position {first}"


def _refuse_unknown(x: xr.DataArray, known: np.ndarray, event: Event) -> None:
    """Raise `InputError` for a dimension of x without any known value. Positions along a varying dimension count together."""
    varying = tuple(i for i, size in enumerate(event.shape) if size is None)
    known = np.asarray(known.any(varying, keepdims=True))
    if known.all():
        return
    unknown = np.argwhere(~known)
    more = len(unknown) - 1
    also = f" (and {more} more)" if more else ""
    raise InputError(
        f"x, {place_of(x, unknown[0])}{also}: no row with a positive weight has an observed value, so this part of x cannot be fitted. Leave this part out."
    )


def _refuse_scale(x: xr.DataArray, low: np.ndarray, high: np.ndarray) -> None:
    """Raise `InputError` if the values in a dimension of x cannot be squared in float64. `low` and `high` are the extremes in each dimension."""
    apart = np.where(high > low, high / 2 - low / 2, 1)
    bad = (apart < SMALLEST) | ((high >= low) & (np.maximum(np.abs(low), np.abs(high)) > LARGEST))
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise InputError(
            f"x, {place_of(x, at)}: values from {low[at]:.6g} to {high[at]:.6g}, but their squares fit into float64 only for differences of at least "
            f"{SMALLEST} and values of at most {LARGEST}. Use another unit."
        )


def checked_weights(weight: xr.DataArray) -> np.ndarray:
    """Return the checked row weights for averages of scores.

    Args:
        weight: Row weights (row,).

    Returns:
        The weights (row,), float64.

    Raises:
        InputError: When the weights are not finite numbers of at least 0, or all weights are 0.
    """
    if weight.dims != ("row",):
        raise InputError(f"weight has dimensions {weight.dims}: the single dimension 'row' is required")
    first = 0
    for values in blocks(weight):
        _check_weights(values, first)
        first += len(values)
    _refuse_no_weight(weight)
    return weight.values.astype(np.float64)


def _check_weights(values: np.ndarray, first: int) -> None:
    if values.dtype.kind not in "biuf":
        raise InputError(f"weight has type {values.dtype}: numbers are required")
    fine = np.isfinite(values) & (values >= 0)
    _refuse("weight", values, ~fine, first, "a finite number of at least 0")


def _refuse_no_weight(weight: xr.DataArray) -> None:
    if not float(weight.sum()) > 0:
        raise InputError(
            "weight: all weights are 0, so every row would be ignored. Give some rows a positive weight, or drop 'weight'."
        )


def _check_accepts(dataset: xr.Dataset, missing: bool, accepts: frozenset[str], family: str) -> None:
    if (missing or "observed" in dataset) and "observed" not in accepts:
        raise InputError(
            f"x has missing values (NaN or 'observed'), which {family} cannot use. Drop or fill the missing values."
        )
    if "length" in dataset and "length" not in accepts:
        raise InputError(
            f"rows have several lengths, which {family} cannot use. Cut all rows to one length, and drop 'length'."
        )
    if "weight" in dataset and "weight" not in accepts:
        raise InputError(f"the data have row weights, which {family} cannot use. Drop 'weight'.")


def _check_attributes(values: np.ndarray, attributes: Mapping[str, int], first: int) -> None:
    """Check attributes (row, factor): numbers and classes, NaN for an unknown value."""
    for (name, classes), column in zip(attributes.items(), values.T, strict=True):
        fine = np.isnan(column) | np.isfinite(column)
        allowed = "a finite number, or NaN if unknown"
        if classes:
            fine = np.isnan(column) | ((column >= 0) & (column < classes) & (column == np.floor(column)))
            allowed = f"a class from 0 to {classes - 1}, or NaN if unknown"
        _refuse(f"attribute {name!r}", column, ~fine, first, allowed)


def _check_lengths(name: str, values: np.ndarray, longest: int, first: int) -> None:
    fine = (values >= 1) & (values <= longest) & (values == np.floor(values))
    _refuse(name, values, ~fine, first, f"a whole number from 1 to {longest}")


def _check_values(
    name: str, values: np.ndarray, event: Event, first: int, dtype: Any, count_dtype: Any
) -> bool:
    """Check a slice of one variable, and return whether it has allowed NaN values."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} has type {values.dtype}: numbers are required")
    if name == "observed":
        _refuse(name, values, ~np.isin(values, (0, 1)), first, "0 or 1")
        return False
    if name == "weight":
        _check_weights(values, first)
        return False
    if name == "label" and name not in event.given:
        fine = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        fine |= (values >= -1) & (values == np.floor(values)) & (values < 1 << 31)
        _refuse(name, values, ~fine, first, "a class from 0, or -1 or NaN if unknown")
        return False
    part = event if name in ("x", "pair") else event.given[name]
    if part.support == "mixed":
        each = [
            _check_numbers(f"{name}, column {column.name!r}", values[:, i], column, first, dtype, count_dtype)
            for i, column in enumerate(part.columns)
        ]
        return any(each)
    return _check_numbers(name, values, part, first, dtype, count_dtype, gaps=name == "x")


def _check_numbers(
    name: str,
    values: np.ndarray,
    part: Event | Column,
    first: int,
    dtype: Any,
    count_dtype: Any,
    gaps: bool = True,
) -> bool:
    """Check values against a support, and return whether some are missing. Missing values are allowed only with `gaps`.

    `dtype` must hold real values, and `count_dtype` must hold counts.
    """
    nan = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if part.support == "real":
        largest = float(np.finfo(dtype).max)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                there = np.isfinite(values.astype(dtype))
            _refuse(
                name,
                values,
                ~(there | (nan & gaps)),
                first,
                f"a finite number of at most {largest:.3g}",
            )
    else:
        least = part.least if isinstance(part, Column) else 0
        exact = 2 << np.finfo(count_dtype).nmant  # whole numbers up to this one are exact in the dtype
        levels = {"binary": 2, "count": exact + 1}.get(part.support, part.levels or 0)
        allowed = f"a whole number from {least} to {least + levels - 1}"
        if part.support == "count":
            allowed = "a whole number from 0"
            if bool((values > exact).any()):
                allowed += f" to {exact}, as {np.dtype(count_dtype)} cannot distinguish larger numbers"
                allowed += "" if np.can_cast(np.float64, count_dtype) else "; fit with dtype = 'float64'"
        elif (least, levels) == (0, 2):
            allowed = "0 or 1"
        whole = (values >= least) & (values < least + levels)
        if values.dtype.kind == "f":
            whole &= values == np.floor(values)
            whole |= nan & gaps
        if part.support == "integer" and levels > 2 and not whole.all() and _is_share(values[~nan]):
            allowed += f"; multiply values between 0 and 1 by {levels - 1} and round them, or they would become black"
        _refuse(name, values, ~whole, first, f"{allowed} ({part.support})")
    return bool(nan.any())


def _is_share(values: np.ndarray) -> bool:
    """Return whether all values lie between 0 and 1, as in images of floats."""
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


def _refuse(name: str, values: np.ndarray, bad: np.ndarray, first: int, allowed: str) -> None:
    if bad.any():
        where = np.argwhere(bad)[0]
        place = f"row {first + where[0]}" + (
            f", position {tuple(map(int, where[1:]))}" if len(where) > 1 else ""
        )
        raise InputError(f"{name}, {place} = {values[tuple(where)]!s}: must be {allowed}")


def _rescaling(shape: tuple[int, ...], event: Event) -> str:
    """Return advice for images of another size or with colors, as the end of a message, or ""."""
    if event.dims[-2:] != ("height", "width") or len(shape) not in (2, 3):
        return ""
    advice = []
    if shape[-2:] != event.shape[-2:] and not event.any_size:
        height, width = event.shape[-2:]
        advice.append(
            f"scale the images with size = ({height}, {width}) or --size {height}x{width} (and --crop)"
        )
    if len(shape) == 3 and len(event.shape) == 2:
        advice.append("convert colors to gray with gray = true or --gray")
    return f": {', and '.join(advice)}" if advice else ""
