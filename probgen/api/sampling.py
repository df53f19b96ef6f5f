"""The calls `sample` and `sample_to`: check the conditions, sample shard by shard, name the results.

`sample` returns the samples in memory; `sample_to` writes them to a folder of parts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel
from torch import Tensor

from probgen.api.common import numbers_of, observed, run_for, seeded, shard_rows, shown, told
from probgen.api.loading import Packed, packed, unpacked
from probgen.api.parting import fill, part_bytes
from probgen.api.pools import when_needed
from probgen.api.provenance import stamp
from probgen.contract.definition import Definition, deterministic, latents_of, long_names_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import ObservedCall
from probgen.contract.options import ConditionalMeanOptions, Options, checked
from probgen.contract.rows import as_tensor
from probgen.contract.run import Run
from probgen.contract.seeds import checked_seed
from probgen.contract.state import digest_of
from probgen.contract.surroundings import isolated
from probgen.data.describe import described
from probgen.data.given import conditions
from probgen.errors import InputError, NotOffered, PluginError
from probgen.plugins.observers import Observers
from probgen.plugins.returned import array_of, complete, named
from probgen.readers.described import marked
from probgen.store.files import checked_path
from probgen.store.parts import Parts, write_part
from probgen.store.trees import dataset_content, dataset_of

if TYPE_CHECKING:
    from distributed import Client

AT_ONCE = 1 << 20  # numbers that are compared at once


@isolated
def sample(
    fitted: Fitted,
    n: int = 1,
    *,
    given: Mapping[str, Any] | xr.Dataset | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Sample from p(x), or from p(x | given).

    Samples are computed in shards; each shard has its own seed. A shard has at least 256 samples, except for images
    of any size.

    Args:
        fitted: A fitted model.
        n: Number of samples. If `given` has rows, this is the number of samples per row.
        given: Conditions by name: `x`, `label`, or a latent. Values of `x` that are NaN, or have `observed` = 0, are
            missing and are completed. A condition without rows applies to all samples.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.
        **options: Options of the family for `sample`.

    Returns:
        A Dataset with `x (sample, ...)`, or `x (sample, row, ...)` if `given` has rows, and with the latents.

    Raises:
        InputError: When a condition, an option or another argument is invalid.
        NotOffered: When the family does not sample, or not under these conditions.
        PluginError: When the family returns an invalid result.
    """
    drawing = _asked(fitted, n, given, seed, device, options)
    with shown(progress):
        return drawing.dataset(0, drawing.n)


def sample_to(
    folder: str | Path,
    fitted: Fitted,
    n: int = 1,
    *,
    given: Mapping[str, Any] | xr.Dataset | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    client: Client | str | int | None = None,
    **options: Any,
) -> list[Path]:
    """Sample into a folder of parts, for more samples than fit into memory.

    The samples are bit-identical to the samples of `sample`, with any `client`. Each part has about 16 MiB of x.
    Existing parts are kept, so the same call resumes an interrupted one.

    Args:
        folder: The folder for the parts. A folder with other samples is refused.
        fitted: A fitted model.
        n: Number of samples. If `given` has rows, this is the number of samples per row.
        given: Conditions by name, as for `sample`.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.
        client: Workers that share the work: a `distributed.Client`, the address of a scheduler, or a number of
            processes to start here. The workers write to the folder, so they need the file system of this process.
        **options: Options of the family for `sample`.

    Returns:
        The files of the parts, in order. Each file stores some of the samples in the group `/probgen/samples`.
        `open_parts` reads all parts as one Dataset.

    Raises:
        InputError: When an argument is invalid, or the folder contains other samples.
        NotOffered: When the family does not sample, or not under these conditions.
        PluginError: When the family returns an invalid result.
        RunError: When the folder is in use or cannot be written, or when a worker fails.
    """
    drawing = isolated(_asked)(fitted, n, given, seed, device, options)
    size = drawing.part_size(part_bytes(4 * drawing.numbers * drawing.rows * drawing.n))
    starts = range(0, drawing.n, size)

    def span(i: int) -> tuple[int, int]:
        return starts[i], min(starts[i] + size, drawing.n)

    request = drawing.request() | {"part_size": size}
    place = checked_path(folder, "folder")
    with shown(progress), when_needed(client) as pool, Parts(place, "samples", request, len(starts)) as parts:
        fill(
            parts, pool, lambda i: drawing.dataset(*span(i)), _draw_part, drawing.packed, span, drawing.call(),
            drawing.run,
        )  # fmt: skip
        return parts.files


def _draw_part(
    model: Packed, about: dict[str, Any], given: bytes, place: tuple[str, str], i: int, start: int, end: int
) -> str:
    """Write a part of the samples, as a worker does, and return its checksum."""
    drawing = _Drawing.unpacked(model, about, given)
    return write_part(place, "samples", i, drawing.dataset(start, end))


def checked_n(n: object) -> int:
    """Return the number of samples as an int, or raise `InputError`."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n = {n!r}: a whole number of at least 1 is needed")
    return int(n)


def _asked(
    fitted: Fitted,
    n: int,
    given: Mapping[str, Any] | xr.Dataset | None,
    seed: int,
    device: str | torch.device | None,
    options: Mapping[str, Any],
) -> _Drawing:
    """Check a request for samples."""
    family = fitted.definition
    family.require("sample")
    seed, n = checked_seed(seed), checked_n(n)
    wanted = checked(family.options("sample"), options, f"family {family.name!r}, sample")
    run = run_for(fitted, seed, device)
    tensors, rows, per_row = conditions(fitted, given, run)
    if tensors and not family.takes("sample", "given"):
        raise NotOffered(
            f"family {family.name!r} does not sample given {', '.join(map(repr, tensors))}: its hook has no argument 'given'."
        )
    if isinstance(wanted, Options):
        problem = wanted.unused(x=_how_much(tensors, fitted.event))
        if problem is not None:
            raise InputError(f"family {family.name!r}, sample: {problem}")
    mean = isinstance(wanted, ConditionalMeanOptions) and wanted.mean
    if n > 1 and (mean or deterministic(fitted.module)):
        warnings.warn(
            f"n = {n}: {fitted.family} is deterministic under these conditions, so all samples are equal. Use n = 1.",
            stacklevel=4,
        )
    called: dict[str, xr.Variable] = {}
    if isinstance(given, xr.Dataset) and per_row and "row" in given.coords:
        called["row"] = given.coords["row"].variable
    names = " ".join(sorted(map(str, given or {})))
    return _Drawing(fitted, n, seed, wanted, run, tensors, rows, per_row, names, called)


@dataclass(frozen=True)
class _Drawing:
    """A checked request for samples.

    Attributes:
        fitted: The fitted model.
        n: Number of samples, per row if rows were given.
        seed: Seed of all random numbers.
        options: Options of the family for `sample`.
        run: The run of the call.
        given: Conditions by name, each with `rows` rows.
        rows: Number of rows of the conditions.
        per_row: Whether rows were given, not one condition for all samples.
        names: Names of the conditions, separated by spaces.
        called: The coordinate `row` of the given rows, if there is one.
    """

    fitted: Fitted
    n: int
    seed: int
    options: BaseModel
    run: Run
    given: dict[str, Tensor]
    rows: int
    per_row: bool
    names: str
    called: dict[str, xr.Variable]

    @property
    def family(self) -> Definition:
        return self.fitted.definition

    @cached_property
    def numbers(self) -> int:
        """How many numbers a sample has."""
        return numbers_of(self.fitted, self.given)

    @cached_property
    def shard(self) -> int:
        """How many samples share a seed."""
        return shard_rows(self.fitted.event, self.numbers)

    def packed(self) -> tuple[Packed, dict[str, Any], bytes]:
        """Return the model, the request and the conditions in a form for other processes."""
        about = {
            "n": self.n, "seed": self.seed, "device": str(self.run.device), "rows": self.rows, "per_row": self.per_row,
            "names": self.names, "options": self.options.model_dump(mode="json"),
        }  # fmt: skip
        given = {
            name: (("row", *(f"{name}_{i}" for i in range(t.ndim - 1))), t.cpu().numpy())
            for name, t in self.given.items()
        }
        return packed(self.fitted), about, dataset_content(xr.Dataset(given, self.called))

    @classmethod
    def unpacked(cls, model: Packed, about: Mapping[str, Any], given: bytes) -> Self:
        """Return the request from its form for other processes: the inverse of `packed`."""
        fitted = unpacked(model)
        run = run_for(fitted, about["seed"], about["device"])
        found = dataset_of(given, "the conditions")
        tensors = {str(name): as_tensor(v.values).to(run.device) for name, v in found.data_vars.items()}
        called = {str(name): v.variable for name, v in found.coords.items()}
        options = fitted.definition.options("sample").model_validate(about["options"])
        return cls(
            fitted, about["n"], about["seed"], options, run, tensors, about["rows"], about["per_row"],
            about["names"], called,
        )  # fmt: skip

    def call(self) -> ObservedCall:
        """Return the call for observers."""
        data = {"samples": self.n * self.rows, "given": self.names}
        return observed("sample", self.family, self.options, self.fitted.event, data)

    def request(self) -> dict[str, Any]:
        """Return the request as plain values, for the comparison with the request of a folder."""
        return {
            "family": self.family.name,
            "state_sha256": digest_of(self.fitted.state),
            "n": self.n,
            "seed": self.seed,
            "options": self.options.model_dump(mode="json"),
            "given": self.names,
            "given_sha256": digest_of({name: t.cpu().numpy() for name, t in self.given.items()}),
        }

    def part_size(self, size: int) -> int:
        """Return how many samples fill a part of about `size` bytes from complete shards."""
        step = self.shard // math.gcd(self.shard, self.rows)
        return step * max(1, size // (4 * self.numbers * self.rows * step))

    @isolated
    def dataset(self, start: int, end: int) -> xr.Dataset:
        """Return the samples from `start` to `end`. A shard must begin at `start`."""
        observers = Observers(self.call())
        with told(observers, self.run) as outcome:
            outcome.result = found = self._dataset(start, end, observers)
        return found

    def _dataset(self, start: int, end: int, observers: Observers) -> xr.Dataset:
        shards = list(self._shards(start * self.rows, end * self.rows, observers))
        names = latents_of(self.fitted.module)
        said = {name: {"long_name": words} for name, words in long_names_of(self.fitted.module).items()}
        variables = {}
        for name in shards[0]:
            shapes = {shard[name].shape[1:] for shard in shards}
            if len(shapes) > 1:
                raise InputError(
                    f"{name} has samples of several shapes, {shapes}. Use a separate call for the rows of each shape."
                )
            array = np.concatenate([shard[name] for shard in shards]) if len(shards) > 1 else shards[0][name]
            known = {**names, "x": self.fitted.event.dims}
            dims = known[name] if name in known else _unnamed(name, array)
            if name == "x" and self.fitted.event.discrete and self.fitted.event.support != "mixed":
                array = _compact(array, self.fitted.event)
            if self.per_row:
                array = array.reshape(end - start, self.rows, *array.shape[1:])
            attrs = described(self.fitted.event) if name == "x" else said.get(name, {})
            variables[name] = (("sample", "row", *dims) if self.per_row else ("sample", *dims), array, attrs)
        columns = self.fitted.event.columns
        coords = {"feature": [column.name for column in columns]} if columns else {}
        found = xr.Dataset(variables, coords, {**stamp(self.family, self.seed), "given": self.names})
        return marked(found.assign_coords(self.called))

    def _shards(self, start: int, end: int, observers: Observers) -> Iterator[dict[str, np.ndarray]]:
        family = self.family
        with torch.no_grad():
            self.fitted.module.to(self.run.device)
            for first in range(start, end, self.shard):
                index = torch.arange(first, min(first + self.shard, end)) % self.rows
                given = {name: tensor[index.to(tensor.device)] for name, tensor in self.given.items()}
                drawn = seeded(
                    (self.seed, "sample", first // self.shard), family, "sample", fitted=self.fitted, n=len(index),
                    given=given, options=self.options, run=self.run,
                )  # fmt: skip
                yield _checked_draws(drawn, self.fitted, len(index))
                observers.tell("step", run=self.run, stage="sample", step=first // self.shard, metrics={})


def _how_much(given: Mapping[str, Tensor], event: Event) -> str:
    """Return how much of x is given: "nothing", "all", "part" or "prompt", as in `only`.

    It raises `InputError` if some rows are prompts, which are continued, and other rows are incomplete.
    """
    if "x" not in given:
        return "nothing"
    whole = given["observed"].flatten(1).all(1)
    if None not in event.shape or not whole.any():
        return "all" if whole.all() else "part"
    if not whole.all():
        raise InputError(
            f"given 'x': row {int(whole.nonzero()[0])} is complete and would be continued, row "
            f"{int((~whole).nonzero()[0])} is incomplete and would be completed. Use two calls."
        )
    return "prompt"


def _checked_draws(drawn: Any, fitted: Fitted, n: int) -> dict[str, np.ndarray]:
    """Return x and the latents as arrays, or raise `PluginError`."""
    event, latents = fitted.event, latents_of(fitted.module)
    where = f"family {fitted.family!r} ({fitted.definition.origin}), sample"
    if "x" not in named(drawn, where, "a dict of tensors with 'x'"):
        raise PluginError(f"{where}: returned {sorted(drawn)}. Return a dict of tensors with 'x'.")
    found = {}
    for name, value in drawn.items():
        if name in ("sample", "row", "feature", *event.dims):
            raise PluginError(
                f"{where}: the name {name!r} is that of a dimension. Give the array another name."
            )
        if name == "x":
            # samples of sequences may be shorter or longer than the rows: `length` steps after a prompt, or a prefix
            sizes = [
                None if dim == "time" else size for dim, size in zip(event.dims, event.shape, strict=True)
            ]
            found[name] = complete(array_of(value, where, name, n, event.dims, sizes), where, name)
        else:
            dims = latents[name] if name in latents else _unnamed(name, value)
            found[name] = array_of(value, where, name, n, dims)
    return found


def _unnamed(name: str, value: Any) -> tuple[str, ...]:
    """Return names for the dimensions of an array that is not a latent."""
    known = isinstance(value, Tensor | np.ndarray)
    return tuple(f"{name}_{i}" for i in range(value.ndim - 1)) if known else ()


def _compact(array: np.ndarray, event: Event) -> np.ndarray:
    """Return whole numbers in the smallest type for all levels. Real samples, e.g. of a density on integers, keep their type."""
    whole = (
        bool((part == np.floor(part)).all())
        for part in np.array_split(array.reshape(-1), -(-array.size // AT_ONCE))
    )
    if array.dtype.kind == "f" and not all(whole):
        return array
    if event.support == "count":
        return array.astype(np.int64)
    return array.astype(np.min_scalar_type(max(1, (event.levels or 2) - 1)))
