"""Helpers for the laws: samples, scores and densities of any family, other processes, signals."""

from __future__ import annotations

import importlib
import multiprocessing
import operator
import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args, get_origin

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import BaseModel

from probgen import datasets
from probgen.api.encoding import encode
from probgen.api.fitting import fit
from probgen.api.loading import load
from probgen.api.sampling import sample
from probgen.api.scoring import score
from probgen.contract.definition import Encoder, deterministic
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import hookimpl
from probgen.errors import DivergedError, InputError, NotOffered
from probgen.testing import spaces

R = TypeVar("R")


class Stop:
    """An observer that sends a signal to its own process after a number of steps.

    Args:
        steps: Number of steps.
        number: The signal, by default SIGINT, as sent by Ctrl-C.
    """

    def __init__(self, steps: int, number: int = signal.SIGINT):
        self.left, self.number = steps, number

    @hookimpl
    def step(self) -> None:
        """Count a step, and send the signal after the last one."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def results(fitted: Fitted, data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return samples with their latents, scores and codes by name, for a comparison of models."""
    parts: dict[str, xr.Dataset] = {}
    if offers(fitted, "sample"):
        parts["sample"] = drawn(fitted, data, several(fitted, 300), seed=1)
    if offers(fitted, "score"):
        parts["score"] = score(fitted, data, seed=1)
    if isinstance(fitted.module, Encoder) and "observed" not in data:
        parts["encode"] = encode(fitted, data)
    return {
        f"{call} {name}": v.values for call, found in parts.items() for name, v in found.variables.items()
    }


def loaded_results(
    model: str, home: tuple[str, str] | None, data: str, threads: int
) -> dict[str, np.ndarray]:
    """Return samples, scores and codes of a model in a file.

    Args:
        model: Path of the model.
        home: Module and name of a family that is not registered, or None.
        data: Path of the data.
        threads: Number of threads of torch.

    Returns:
        The arrays by name.
    """
    torch.set_num_threads(threads)
    own = home and operator.attrgetter(home[1])(importlib.import_module(home[0]))
    return results(load(model, own or None), datasets.load(data))


def fitted_in_parts(
    rank: int,
    size: int,
    place: str,
    family: str | tuple[str, str],
    data: str,
    options: Mapping[str, Any],
    threads: int,
) -> dict[str, np.ndarray]:
    """Fit in two parts as one of several processes, and return the state and the history.

    Args:
        rank: Number of this process.
        size: Number of processes.
        place: Path of the file by which the processes connect.
        family: Registered name of the family, or module and name of its class.
        data: Path of the data.
        options: Options of the fit.
        threads: Number of threads of torch.

    Returns:
        The arrays by name.
    """
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), PROBGEN_LAUNCHED=f"file://{place}", PROBGEN_PEERS_SECONDS="60"
    )
    torch.set_num_threads(threads)
    own = (
        family
        if isinstance(family, str)
        else operator.attrgetter(family[1])(importlib.import_module(family[0]))
    )
    return learned(fit(own, datasets.load(data), parts=2, **options))


def known_of(fitted: Fitted, data: xr.Dataset) -> np.ndarray:
    """Return the first score of the rows, or all numbers of the state of a family without scores."""
    if offers(fitted, "score"):
        return next(iter(score(fitted, data, seed=1).data_vars.values())).values.astype(np.float64)
    return np.concatenate([v.values.reshape(-1).astype(np.float64) for v in fitted.state.data_vars.values()])


def learned(fitted: Fitted) -> dict[str, np.ndarray]:
    """Return the state and the history of a model by name."""
    parts = {"state": fitted.state, "history": fitted.history}
    return {
        f"{part} {name}": v.values for part, found in parts.items() for name, v in found.variables.items()
    }


def in_a_new_process(function: Callable[..., R], *args: Any) -> R:
    """Run a function in a new process that has only imported this module, and return its result."""
    return in_new_processes(function, [args])[0]


def in_new_processes(function: Callable[..., R], each: Sequence[tuple[Any, ...]]) -> list[R]:
    """Run a function in several new processes at the same time, and return the results.

    Args:
        function: The function.
        each: Arguments of the function for each process.

    Returns:
        The results, in the order of `each`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "probgen.api.fitting", "probgen.api.scoring", "h5netcdf", "sklearn.cluster"]
    )
    with ExitStack() as stack:
        pools = [stack.enter_context(context.Pool(1)) for _ in each]
        found = [pool.apply_async(function, args) for pool, args in zip(pools, each, strict=True)]
        return [answer.get(timeout=300) for answer in found]


def offers(fitted: Fitted, hook: str) -> bool:
    """Return whether the family offers the hook."""
    return fitted.definition.offers(hook)


def need(fitted: Fitted, hook: str) -> None:
    """Skip a law if the family does not offer the hook."""
    if not offers(fitted, hook):
        pytest.skip(f"{fitted.family} does not offer {hook}")


def given_of(fitted: Fitted, data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the conditions of the model in the first row, and entries that the family derives from a row; empty without conditions."""
    event = fitted.event
    known = {name: data[name].values[0] for name in (*event.given, *event.lengths)}
    of_rows = fitted.definition.of_rows(fitted.options, data.isel(row=[0]))
    return known | {name: values[0] for name, values in of_rows.items()}


def drawn(fitted: Fitted, data: xr.Dataset, n: int, **how: Any) -> xr.Dataset:
    """Return samples, conditional on the conditions of the first row.

    Args:
        fitted: The model.
        data: The data.
        n: Number of samples.
        **how: Further arguments of `sample`.

    Returns:
        The samples.
    """
    return sample(fitted, n, given=given_of(fitted, data) or None, **how)


def several(fitted: Fitted, n: int) -> int:
    """Return `n`, or 1 for a deterministic model, because it warns that several samples are equal, and warnings are errors here."""
    return 1 if deterministic(fitted.module) else n


def other_values(options: BaseModel) -> dict[str, list[Any]]:
    """Return other values of each option, chosen by its type; none for an unknown type."""
    fields, found = type(options).model_fields, {}
    for name, field in fields.items():
        value = getattr(options, name)
        found[name] = _others(field.annotation, value)
        if isinstance(value, BaseModel):  # nested options
            whole = value.model_dump()
            for part, values in other_values(value).items():
                found[f"{name}.{part}"] = [{**whole, part: other} for other in values]
    return found


def _others(kind: Any, value: Any) -> list[Any]:
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return [part for part in parts if part != value]
    if parts and get_origin(kind) is not tuple:  # a union, or None and a type
        nothing = [None] if type(None) in parts and value is not None else []
        return [*dict.fromkeys(other for part in parts for other in _others(part, value)), *nothing]
    if kind is bool:
        return [not value]
    if kind is int:
        whole = value if isinstance(value, int) else 1
        return [n for n in (whole + 1, 2 * whole + 1, max(1, whole // 2), 1) if n != value]
    if kind is float:
        number = value if isinstance(value, float | int) else 0.5
        return [0.5 * number, 0.3, 1.5 * number + 0.1, 0.99]
    if kind is str:
        return ["label"]
    if get_origin(kind) is tuple:
        found = value if isinstance(value, tuple) else ()
        new = found[::-1] if found[::-1] != found else (*found, *_others(parts[0], 1)[:1])
        return [new]
    return []


def differs(call: Callable[..., str], usual: str, change: Mapping[str, Any]) -> bool:
    """Return whether a call with a change returns another result, or refuses the change."""
    try:
        return call(**change) != usual
    except (InputError, NotOffered, DivergedError):
        return True


def scored(fitted: Fitted, data: xr.Dataset, rows: np.ndarray) -> xr.Dataset:
    """Return scores of rows (row, *event), conditional on the conditions of the first row of the data."""
    alike = xr.Dataset({"x": (("row", *fitted.event.dims), rows)})
    for name in (*fitted.event.given, *fitted.event.lengths):
        value = data[name].values[0]
        alike[name] = (data[name].dims, np.repeat(value[None], len(rows), 0))
    return score(fitted, alike)


def density(fitted: Fitted, data: xr.Dataset, rows: np.ndarray) -> np.ndarray:
    """Return exact log-densities of rows, in float64, or skip the law if the family has none."""
    need(fitted, "score")
    try:
        scores = scored(fitted, data, rows)
    except NotOffered as reason:
        pytest.skip(str(reason))
    if "log_prob" not in scores or scores["log_prob"].attrs["kind"] != "exact":
        pytest.skip(f"{fitted.family} has no exact density")
    return scores["log_prob"].values.astype(np.float64)


def sized(fitted: Fitted, data: xr.Dataset) -> Event:
    """Return the event; for images of any size, with the size of the rows."""
    event = fitted.event
    return replace(event, shape=data["x"].shape[1:]) if event.any_size else event


def space(
    fitted: Fitted, data: xr.Dataset, kinds: Collection[str] = ("exact",)
) -> tuple[spaces.Space, xr.DataArray]:
    """Return the points at which the density is evaluated, and the score of one row.

    The law is skipped if the score has none of the kinds, or if there are too many points.
    """
    need(fitted, "score")
    event = sized(fitted, data)
    first = scored(fitted, data, data["x"].values[:1])
    if "log_prob" not in first or first["log_prob"].attrs["kind"] not in kinds:
        pytest.skip(f"{fitted.family} has no score of the kind {' or '.join(kinds)}")
    log_prob = first["log_prob"]
    if log_prob.attrs["measure"] == "counting":
        if spaces.values(event) > spaces.MOST:
            pytest.skip(f"{event} has more than {spaces.MOST} values")
        return spaces.of_values(event), log_prob
    need(fitted, "sample")
    if event.support == "mixed":
        return spaces.of_table(event.columns, drawn(fitted, data, 2048, seed=4)["x"].values), log_prob
    if fitted.event.shape != (2,) or fitted.event.discrete:
        pytest.skip("a density of real values is integrated only in the plane")
    return spaces.of_plane(drawn(fitted, data, 2048, seed=4)["x"].values.reshape(2048, -1)), log_prob


def same(found: Any, expected: Any, what: str) -> None:
    """Fail if arrays differ in one bit, and name the array, the first difference and both values.

    Args:
        found: A Dataset, or arrays by name.
        expected: The other arrays.
        what: The compared calls, for the message.
    """
    one, other = (
        {str(k): np.asarray(v) for k, v in (x.variables if isinstance(x, xr.Dataset) else x).items()}
        for x in (found, expected)
    )
    if one.keys() != other.keys():
        raise AssertionError(f"{what}: the arrays are {sorted(one)} and {sorted(other)}")
    for name, array in one.items():
        like = other[name]
        if (array.dtype, array.shape) != (like.dtype, like.shape):
            raise AssertionError(
                f"{what}: {name!r} is {array.dtype} {array.shape} and {like.dtype} {like.shape}"
            )
        differ: np.ndarray = np.asarray(array != like)
        if array.dtype != object and not differ.any():  # also NaN, and the sign of zero
            size = array.dtype.itemsize
            bits = (np.frombuffer(each.tobytes(), np.uint8).reshape(-1, size) for each in (array, like))
            differ = np.asarray(np.not_equal(*bits).any(1).reshape(array.shape)) if array.size else differ
        elif array.dtype.kind == "f":
            differ = np.asarray(differ & ~(np.isnan(array) & np.isnan(like)))
        if differ.any():
            at = tuple(int(i) for i in np.argwhere(differ)[0])
            raise AssertionError(
                f"{what}: {name!r} differs first at {at}: {array[at]!r} and {like[at]!r} ({int(differ.sum())} of {array.size})"
            )


def close(found: Any, expected: Any, what: str, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Fail if two arrays differ by more than a tolerance, and name the array, the first difference and both values.

    Args:
        found: An array.
        expected: The other array.
        what: The name of the array and the compared calls, for the message.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
    """
    one, other = np.asarray(found), np.asarray(expected)
    if one.shape != other.shape:
        raise AssertionError(f"{what}: the shapes are {one.shape} and {other.shape}")
    differ = ~np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
    if differ.any():
        at = tuple(int(i) for i in np.argwhere(differ)[0])
        raise AssertionError(
            f"{what}: differs first at {at}: {one[at]!r} and {other[at]!r} ({int(differ.sum())} of {one.size})"
        )
