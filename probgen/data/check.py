"""Data checked against an event and a family, in one pass over blocks of rows, which several processes may share."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.contract.event import Event
from probgen.contract.sizes import sizes_of
from probgen.contract.world import World
from probgen.data.describe import rate_of
from probgen.errors import InputError
from probgen.readers.described import blocks

BLOCK = 16 << 20  # bytes of a block: a change of it changes all digests
SHARED = 16  # blocks from which processes share them; fewer are looked at by all
SMALLEST, LARGEST = 1e-140, 1e140  # what can be squared, and the squares added, in float64


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
) -> tuple[bool, str]:
    """Check data against an event and a family, in one pass; whether values are missing, and the digest.

    learning  whether a model is to be learned from them: then every dimension of x needs a value that counts
    world     processes that all call this, and share the pass

    The digest is the SHA-256 of names, types, shapes, and of the SHA-256s of blocks of rows: the same for every layout in memory and on disk, and on any
    number of processes. Errors: `InputError`, which names the field, the value and what is allowed; of several that of the first variable and row,
    which all processes raise.
    """
    world = world or World()
    with world.agreed():
        names = _checked_names(dataset, event, accepts, family)
        blocks_of = {name: _blocks_of(dataset[name]) for name in names}
        pieces = [(name, rows) for name in names for rows in blocks_of[name]]
        heads = {name: _head(name, dataset[name]) for name in names}
        heads["x"] += _told(event.columns)
        # where each process looks at some of the data, all look whether they have the same, at both ends of each variable
        ends = [(name, blocks_of[name][i]) for name in names for i in (0, -1)] if world.size > 1 else []
        same = f"{heads} {[_hashed(_values(dataset, *block), block[0], event).hex() for block in ends]}"
    world.check_same({"data or options": same})
    sharing = world if len(pieces) >= max(SHARED, world.size) else World()
    seen, mine = _Seen.nothing(dataset["x"].shape[1:]), {}
    with world.agreed():  # of several errors it raises that of the first process, which has the first blocks
        for i in sharing.share(len(pieces)):
            values = _values(dataset, *pieces[i])
            mine[i] = _hashed(values, pieces[i][0], event)
            here = _look(dataset, *pieces[i], values, event, dtype, x_dtype, learning, not seen.known.all())
            seen = seen.joined(here)
    hashes = sharing.bytes_of_each(len(pieces), mine.__getitem__)
    if sharing.size > 1:
        others = sharing.bytes_of_each(sharing.size, lambda _: seen.packed())
        seen = functools.reduce(_Seen.joined, (seen.unpacked(part) for part in others))
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


@dataclass(frozen=True)
class _Seen:
    """Of blocks of rows: whether values are missing; of which dimensions of x one counts, and the least and the largest number of each."""

    missing: bool
    known: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def nothing(shape: tuple[int, ...], missing: bool = False) -> _Seen:
        return _Seen(missing, np.zeros(shape, dtype=bool), np.full(shape, np.inf), np.full(shape, -np.inf))

    def joined(self, other: _Seen) -> _Seen:
        return _Seen(
            self.missing | other.missing,
            self.known | other.known,
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
        )

    def packed(self) -> bytes:
        parts = (np.full(self.known.shape, self.missing), self.known, self.low, self.high)
        return np.stack(parts).astype(np.float64).tobytes()

    def unpacked(self, content: bytes) -> _Seen:
        """Another one of the same shape."""
        missing, known, low, high = np.frombuffer(content).reshape(4, *self.known.shape)
        return _Seen(bool(missing.any()), known.astype(bool), low, high)


def _checked_names(dataset: xr.Dataset, event: Event, accepts: frozenset[str], family: str) -> list[str]:
    """The variables that are of use, in their order. Errors: `InputError` for dimensions and sizes that are not those of the event."""
    x = dataset["x"]
    if x.sizes["row"] == 0:
        raise InputError("the data have no rows")
    shape = tuple(x.shape[1:])
    if 0 in shape:
        raise InputError(f"x has shape {x.shape}: a row without values")
    if len(shape) != len(event.shape) or any(
        b not in (None, a) for a, b in zip(shape, event.shape, strict=True)
    ):
        raise InputError(
            f"a row of x has shape {shape}; {family} was fitted to rows of {event}{_rescaling(shape, event)}"
        )
    rate = rate_of(x)
    if event.rate and rate and rate != event.rate:
        raise InputError(f"x has {rate} samples a second; {family} was fitted to {event.rate}: resample it")
    known_in_part = {"label"} & (accepts - event.given.keys())
    _check_sizes(dataset, event, family)
    if None in event.shape and not event.any_size and "length" not in dataset:
        raise InputError(
            f"{family} was fitted to rows of several lengths: say how long each is, length (row)"
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
        raise InputError(f"{name} has dimensions {variable.dims}, not {wanted}")
    if part and None not in part.shape and f"{name}_length" in dataset:
        raise InputError(
            f"{family} was fitted to {name} of one length, {part.shape[0]}: cut it to that, and drop {name}_length"
        )
    if part and any(b not in (None, a) for a, b in zip(variable.shape[1:], part.shape, strict=True)):
        raise InputError(f"a row of {name} has shape {variable.shape[1:]}; {family} was fitted to {part}")


def _head(name: str, variable: xr.DataArray) -> str:
    return f"{name} {variable.dtype.newbyteorder('<').str} {variable.shape}"


def _blocks_of(variable: xr.DataArray) -> list[slice]:
    """The rows of its blocks: as many as have a number of bytes, however they lie."""
    rows = variable.shape[0]
    each = max(1, BLOCK // max(1, variable.dtype.itemsize * math.prod(variable.shape[1:])))
    return [slice(start, min(start + each, rows)) for start in range(0, rows, each)]


def _values(dataset: xr.Dataset, name: str, rows: slice) -> np.ndarray:
    found: np.ndarray = dataset[name][rows].values
    return found


def _told(columns: Sequence[Column]) -> str:
    """What columns and classes are called, in whatever order a model has them; nothing where they have no names."""
    return (
        f" {sorted((column.name, column.support, sorted(column.classes)) for column in columns)}"
        if columns
        else ""
    )


def _hashed(values: np.ndarray, name: str, event: Event) -> bytes:
    """The SHA-256; of a table with its columns, and the numbers of classes, in the order of their names."""
    if name == "x" and event.columns:
        columns = event.columns
        values = values[:, sorted(range(len(columns)), key=lambda i: columns[i].name)]
        for j, column in enumerate(sorted(columns, key=lambda column: column.name)):
            if column.support == "token" and list(column.classes) != sorted(column.classes):
                rank = np.argsort(np.argsort(np.array(column.classes, dtype=object)))
                known = (values[:, j] >= 0) & (values[:, j] < len(rank))  # others are refused elsewhere
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
) -> _Seen:
    """Check a block of rows of one variable. Errors: `InputError`."""
    first, x = rows.start, dataset["x"]
    seen = _Seen.nothing(x.shape[1:])
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
            f"{error}, as x.attrs['support'] = {x.attrs['support']!r} says: drop it where values have changed"
        ) from None
    seen = replace(seen, missing=missing)
    if learning and name == "x" and some_unknown:  # as a rule the first block knows all
        seen = replace(seen, known=_known(dataset, values, first))
    if learning and name == "x" and values.dtype == np.float64:  # float32 holds no others
        seen = replace(seen, low=np.fmin.reduce(values, 0), high=np.fmax.reduce(values, 0))
    return seen


def _check_seen(
    dataset: xr.Dataset,
    event: Event,
    accepts: frozenset[str],
    family: str,
    seen: _Seen,
    learning: bool,
) -> None:
    """Errors: `InputError` for what no block alone can tell."""
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
            how = f": scale = {scale}, or --scale {scale}, makes it" if (scale or 1) > 1 else ""
            raise InputError(f"{family} is conditioned on {name!r}, which the data do not have{how}")


def _check_sizes(dataset: xr.Dataset, event: Event, family: str) -> None:
    """Errors: `InputError` for images of several sizes that a family cannot use, and for conditions that are not of the sizes of x."""
    x = dataset["x"]
    if "size" in dataset:
        size = dataset["size"]
        if not event.any_size:
            raise InputError(
                f"x has images of several sizes, which {family} cannot use: scale them to one, and drop 'size'"
            )
        if size.dims != ("row", "side") or size.shape[1] != 2 or size.dtype.kind not in "iu":
            raise InputError(
                f"size has dimensions {size.dims} of {size.dtype}; whole numbers (row, side), height and width, are needed"
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
                f"{name} is {height} x {width}, x is {x.shape[-2]} x {x.shape[-1]}; {family} was fitted to {name} of 1/{scale} of x"
                + (f": scale = {scale}, or --scale {scale}" if scale > 1 else "")
            )
        uneven = np.repeat(np.any(sizes % scale, axis=1)[:, None], 2, axis=1)
        _refuse("size", sizes, uneven, 0, f"a multiple of {scale}, as {name} is 1/{scale} of x")


def _known(dataset: xr.Dataset, values: np.ndarray, first: int) -> np.ndarray:
    """Of which dimensions of x a slice has a value that counts: observed, in a row of some weight.

    What is beside x is checked after it, and left alone here if it is not what it should be.
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
    """A dimension of a row in words: the name of a column, where columns have names."""
    first = tuple(map(int, at))
    if len(first) == 1:
        return (
            f"column {str(x['feature'].values[first[0]])!r}"
            if "feature" in x.coords
            else f"column {first[0]}"
        )
    return f"position {first}"


def _refuse_unknown(x: xr.DataArray, known: np.ndarray, event: Event) -> None:
    """Errors: `InputError` for a dimension of x of which nothing is known; a dimension that varies is known in part."""
    varying = tuple(i for i, size in enumerate(event.shape) if size is None)
    known = np.asarray(known.any(varying, keepdims=True))
    if known.all():
        return
    unknown = np.argwhere(~known)
    more = len(unknown) - 1
    also = f" (and {more} more)" if more else ""
    raise InputError(
        f"x, {place_of(x, unknown[0])}{also}: no row has a value that counts, so nothing can be learned of it: leave it out"
    )


def _refuse_scale(x: xr.DataArray, low: np.ndarray, high: np.ndarray) -> None:
    """Errors: `InputError` for a dimension of x whose numbers cannot be squared. low, high: of the values, where there are any."""
    apart = np.where(high > low, high / 2 - low / 2, 1)
    bad = (apart < SMALLEST) | ((high >= low) & (np.maximum(np.abs(low), np.abs(high)) > LARGEST))
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise InputError(
            f"x, {place_of(x, at)}: from {low[at]:.6g} to {high[at]:.6g}; differences from {SMALLEST} and numbers to {LARGEST} can be "
            "used, as they are squared: use another unit"
        )


def checked_weights(weight: xr.DataArray) -> np.ndarray:
    """Weights (row,) of rows whose scores are averaged, float64. Errors: `InputError`."""
    if weight.dims != ("row",):
        raise InputError(f"weight has dimensions {weight.dims}, not ('row',)")
    first = 0
    for values in blocks(weight):
        _check_weights(values, first)
        first += len(values)
    _refuse_no_weight(weight)
    return weight.values.astype(np.float64)


def _check_weights(values: np.ndarray, first: int) -> None:
    if values.dtype.kind not in "biuf":
        raise InputError(f"weight holds {values.dtype}; numbers are needed")
    fine = np.isfinite(values) & (values >= 0)
    _refuse("weight", values, ~fine, first, "a finite number of at least 0")


def _refuse_no_weight(weight: xr.DataArray) -> None:
    if not float(weight.sum()) > 0:
        raise InputError(
            "weight: all weights are 0, so no row counts: give some rows a weight, or drop 'weight'"
        )


def _check_accepts(dataset: xr.Dataset, missing: bool, accepts: frozenset[str], family: str) -> None:
    if (missing or "observed" in dataset) and "observed" not in accepts:
        raise InputError(
            f"x has missing values (NaN, or 'observed'), which {family} cannot use: drop or fill them"
        )
    if "length" in dataset and "length" not in accepts:
        raise InputError(
            f"rows have several lengths, which {family} cannot use: cut them to one, and drop 'length'"
        )
    if "weight" in dataset and "weight" not in accepts:
        raise InputError(f"the data have a weight a row, which {family} cannot use: drop 'weight'")


def _check_attributes(values: np.ndarray, attributes: Mapping[str, int], first: int) -> None:
    """Numbers and classes; NaN where one is not known."""
    for (name, classes), column in zip(attributes.items(), values.T, strict=True):
        fine = np.isnan(column) | np.isfinite(column)
        allowed = "a finite number, or NaN where it is not known"
        if classes:
            fine = np.isnan(column) | ((column >= 0) & (column < classes) & (column == np.floor(column)))
            allowed = f"a class from 0 to {classes - 1}, or NaN where it is not known"
        _refuse(f"attribute {name!r}", column, ~fine, first, allowed)


def _check_lengths(name: str, values: np.ndarray, longest: int, first: int) -> None:
    fine = (values >= 1) & (values <= longest) & (values == np.floor(values))
    _refuse(name, values, ~fine, first, f"a whole number from 1 to {longest}")


def _check_values(
    name: str, values: np.ndarray, event: Event, first: int, dtype: Any, count_dtype: Any
) -> bool:
    """Check a slice of one variable; whether it has NaN where NaN may be."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {values.dtype}; numbers are needed")
    if name == "observed":
        _refuse(name, values, ~np.isin(values, (0, 1)), first, "0 or 1")
        return False
    if name == "weight":
        _check_weights(values, first)
        return False
    if name == "label" and name not in event.given:
        fine = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        fine |= (values >= -1) & (values == np.floor(values)) & (values < 1 << 31)
        _refuse(name, values, ~fine, first, "a class from 0, or -1 or NaN where it is not known")
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
    """Check values against a support; whether some are missing, where they may be (`gaps`). dtype: of real values; count_dtype: of counts."""
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
        exact = 2 << np.finfo(count_dtype).nmant  # whole numbers up to here are exact in the dtype
        levels = {"binary": 2, "count": exact + 1}.get(part.support, part.levels or 0)
        allowed = f"a whole number from {least} to {least + levels - 1}"
        if part.support == "count":
            allowed = "a whole number from 0"
            if bool((values > exact).any()):
                allowed += f" to {exact}, as {np.dtype(count_dtype)} cannot tell others apart"
                allowed += "" if np.can_cast(np.float64, count_dtype) else ": fit in dtype = 'float64'"
        elif (least, levels) == (0, 2):
            allowed = "0 or 1"
        whole = (values >= least) & (values < least + levels)
        if values.dtype.kind == "f":
            whole &= values == np.floor(values)
            whole |= nan & gaps
        if part.support == "integer" and levels > 2 and not whole.all() and _is_share(values[~nan]):
            allowed += f"; these seem to be from 0 to 1, and would come out black: multiply by {levels - 1} and round"
        _refuse(name, values, ~whole, first, f"{allowed} ({part.support})")
    return bool(nan.any())


def _is_share(values: np.ndarray) -> bool:
    """Whether numbers are from 0 to 1 and not whole, as images of floats are."""
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


def _refuse(name: str, values: np.ndarray, bad: np.ndarray, first: int, allowed: str) -> None:
    if bad.any():
        where = np.argwhere(bad)[0]
        place = f"row {first + where[0]}" + (
            f", position {tuple(map(int, where[1:]))}" if len(where) > 1 else ""
        )
        raise InputError(f"{name}, {place}: {values[tuple(where)]!s}; allowed is {allowed}")


def _rescaling(shape: tuple[int, ...], event: Event) -> str:
    """What to do with images of another size, or of colors."""
    if event.dims[-2:] != ("height", "width") or len(shape) not in (2, 3):
        return ""
    advice = []
    if shape[-2:] != event.shape[-2:] and not event.any_size:
        height, width = event.shape[-2:]
        advice.append(f"scale images: size = ({height}, {width}), or --size {height}x{width} (and --crop)")
    if len(shape) == 3 and len(event.shape) == 2:
        advice.append("convert colors: gray = true, or --gray")
    return f"; {'; '.join(advice)}" if advice else ""
