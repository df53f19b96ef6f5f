"""Checks of what plugins return: an error names the plugin, its function, the array, its dimensions and its shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probgen.contract.scores import KINDS, MEASURES
from probgen.errors import InputError, PluginError

NUMBERS = "fiub"  # kinds of dtypes: real numbers, whole numbers and booleans


def array_of(
    value: Any,
    where: str,
    name: str,
    rows: int,
    dims: Sequence[str],
    sizes: Sequence[int | None] | None = None,
) -> np.ndarray:
    """Return a tensor that a plugin returned as an array, or raise `PluginError`.

    Args:
        value: The returned value.
        where: The plugin and its function, for messages.
        name: The name of the array.
        rows: The number of rows that the array must have.
        dims: The names of its other dimensions.
        sizes: The sizes of these dimensions; None for a size that varies. By default, all sizes vary.

    Returns:
        The array, (row, *dims).

    Raises:
        PluginError: When the value is not a tensor of numbers of this shape.
    """
    sizes = (None,) * len(dims) if sizes is None else sizes
    named = [d if size is None else f"{d} = {size}" for d, size in zip(dims, sizes, strict=True)]
    wanted = f"({', '.join([f'row = {rows}', *named])})"
    if not isinstance(value, Tensor):
        raise PluginError(
            f"{where}: {name!r} is of type {type(value).__name__}. Return a torch tensor {wanted}."
        )
    shape = tuple(value.shape)
    if len(shape) != 1 + len(dims) or any(
        n not in (size, n if size is None else size) for n, size in zip(shape, (rows, *sizes), strict=True)
    ):
        raise PluginError(
            f"{where}: {name!r} has shape {shape}; it must be {wanted}. Return this shape, or correct the declared dimensions."
        )
    if value.layout is not torch.strided or value.is_complex() or value.dtype is torch.bfloat16:
        raise PluginError(
            f"{where}: {name!r} has {value.dtype} and {value.layout}. Return a dense tensor of real numbers, e.g. float32."
        )
    return value.detach().cpu().numpy()


def complete(array: np.ndarray, where: str, name: str) -> np.ndarray:
    """Return an array without NaN, or raise `PluginError` that names the first row with NaN."""
    if array.dtype.kind == "f" and np.isnan(array).any():
        row, *rest = (int(i) for i in np.argwhere(np.isnan(array))[0])
        at = f" at {tuple(rest)}" if rest else ""
        raise PluginError(
            f"{where}: {name!r} is NaN in row {row}{at} of the {len(array)} rows of one call. Return a number for every row."
        )
    return array


@contextmanager
def numbers_that_square(x: Tensor, dtype: torch.dtype) -> Iterator[None]:
    """Blame the rows, not the plugin, for an error about values whose squares overflow.

    Args:
        x: The rows that the plugin received.
        dtype: The dtype of the computation.

    Yields:
        Nothing.

    Raises:
        InputError: When the context raises `PluginError` and the square of a value of x overflows.
    """
    try:
        yield
    except PluginError as error:
        largest = float(x.to(torch.float64).nan_to_num().abs().max())
        if largest <= torch.finfo(dtype).max ** 0.5:
            raise
        raise InputError(
            f"x has a value of size {largest:.3g}, whose square overflows in {str(dtype).removeprefix('torch.')}. "
            "Remove its row, or fit on rescaled rows."
        ) from error


def named(value: Any, where: str, what: str) -> Mapping[str, Any]:
    """Return a mapping whose names a file can store, or raise `PluginError`.

    Args:
        value: The returned value.
        where: The plugin and its function, for messages.
        what: The required type in words, e.g. "a dict of tensors".

    Returns:
        The mapping.

    Raises:
        PluginError: When the value is not a mapping, or a name is not a text, is empty, or contains "/".
    """
    if not isinstance(value, Mapping):
        raise PluginError(f"{where}: returned {type(value).__name__}. Return {what}.")
    _check_names(value, where)
    return value


def scores_of(found: Any, where: str, n: int, lebesgue: bool) -> xr.Dataset:
    """Return the scores of a shard, or raise `PluginError`.

    Args:
        found: The returned value.
        where: The plugin and its function, for messages.
        n: The number of rows of the shard.
        lebesgue: Whether x consists of real numbers, so that the measure can only be "lebesgue".

    Returns:
        The scores, each with the first dimension `row`.

    Raises:
        PluginError: When the value is not a Dataset of scores of n rows, or `log_prob` has NaN or lacks its kind.
    """
    if not isinstance(found, xr.Dataset):
        raise PluginError(f"{where}: returned {type(found).__name__}, not a Dataset. Use probgen.log_prob().")
    _check_names(found.variables, where)
    if not found.data_vars:
        raise PluginError(
            f"{where}: returned no score. Use probgen.log_prob(), or give the score its own name."
        )
    for name, score in found.data_vars.items():
        if score.dims[:1] != ("row",) or len(score) != n:
            raise PluginError(
                f"{where}: {name!r} has {dict(score.sizes)} for {n} rows. The first dimension must be 'row'."
            )
        if score.dtype.kind not in NUMBERS:
            raise PluginError(f"{where}: {name!r} has dtype {score.dtype}. Return numbers, e.g. float32.")
    if "log_prob" not in found:
        return found
    score = found["log_prob"]
    kind, measure = (score.attrs.get(name) for name in ("kind", "measure"))
    if score.dims != ("row",) or score.dtype.kind != "f":
        raise PluginError(
            f"{where}: 'log_prob' has {score.dtype} {dict(score.sizes)}; it must be real numbers, one per row. Use probgen.log_prob()."
        )
    if kind not in KINDS or measure not in MEASURES:
        raise PluginError(
            f"{where}: 'log_prob' has kind = {kind!r} and measure = {measure!r}. Use probgen.log_prob(), which checks both."
        )
    if lebesgue and measure != "lebesgue":
        raise PluginError(
            f"{where}: measure = {measure!r}: x has real numbers, which have a density. Use measure='lebesgue'."
        )
    complete(score.values, where, "log_prob")
    return found


def results_of(found: Any, where: str) -> xr.Dataset:
    """Return the results of an analysis, or raise `PluginError` if they are not a Dataset that a file can store."""
    if not isinstance(found, xr.Dataset):
        raise PluginError(
            f"{where}: returned {type(found).__name__}, not a Dataset. Return an xarray.Dataset."
        )
    _check_names(found.variables, where)
    for name, values in found.variables.items():
        texts = values.dtype == object and all(isinstance(each, str) for each in values.values.flat)
        if values.dtype.kind not in f"{NUMBERS}UMm" and not texts:
            raise PluginError(
                f"{where}: {name!r} has dtype {values.dtype}, which files cannot store. Return numbers or texts."
            )
    return found


def _check_names(names: Iterable[Any], where: str) -> None:
    for name in names:
        if not isinstance(name, str) or not name or "/" in name:
            raise PluginError(f"{where}: the name {name!r} cannot be stored. Use a text without '/'.")
