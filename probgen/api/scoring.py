"""The calls `score` and `score_to`: check the data once, score it shard by shard, and state the kind of the score.

`score` returns the scores in memory; `score_to` writes them to a folder of parts.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel
from torch import Tensor

from probgen.api.common import observed, run_for, seeded, shard_rows, shown, told
from probgen.api.loading import Packed, packed, unpacked
from probgen.api.parting import fill, part_bytes
from probgen.api.pools import Pool, when_needed
from probgen.api.provenance import stamp
from probgen.contract.definition import Definition
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import ObservedCall
from probgen.contract.options import checked
from probgen.contract.rows import Rows, numpy_dtype
from probgen.contract.run import Run
from probgen.contract.seeds import checked_seed
from probgen.contract.sizes import shards_of, sizes_of
from probgen.contract.state import digest_of
from probgen.contract.surroundings import isolated
from probgen.data.check import Looked, Span, checked_weights, look, spans_of
from probgen.data.ingest import as_dataset
from probgen.data.intake import Prepared, arranged, prepare, rows_of
from probgen.datasets import path_of
from probgen.errors import InputError
from probgen.plugins.observers import Observers
from probgen.plugins.returned import numbers_that_square, scores_of
from probgen.store.files import checked_path
from probgen.store.parts import Parts, write_part
from probgen.store.trees import dataset_content, dataset_of

if TYPE_CHECKING:
    from distributed import Client

AT_ONCE = 4096  # about the number of rows that are scored together if scores are exact
SHARDS = 16  # maximum number of shards per part if scores are not exact, and may take long
# files that workers open themselves, to read the rows that they score
OPENED = (
    ".h5",
    ".hdf5",
    ".nc",
    ".npy",
    ".parquet",
    ".pq",
)


@isolated
def score(
    fitted: Fitted,
    data: Any,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Compute the score of each row: its log-likelihood in nats, or another number of the family.

    Args:
        fitted: A fitted model.
        data: The rows to score, in any form that `probgen.data.as_dataset` accepts.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.
        **options: Options of the family for `score`.

    Returns:
        A Dataset with `log_prob (row)` in nats, or with another score of the family. Attributes of the score state
        whether it is exact, a bound or an estimate: `kind`, `estimator`, `units`, `measure`, `event_size`, `given`,
        `observed`, `rows`. Monte Carlo estimates have a standard error `log_prob_se (row)`. Rows of several lengths
        have `length (row)`; their `event_size` counts one time step. Rows with weights have `weight (row)`:
        weights change means, but not the scores.

    Raises:
        InputError: When the rows, an option or another argument is invalid.
        NotOffered: When the family does not score, or not with these options.
        PluginError: When the family returns an invalid result.
    """
    run, wanted = _asked(fitted, seed, device, options)
    scoring, taken = _taken(fitted, data, run, wanted)
    with shown(progress):
        return scoring.scores(taken.dataset, taken.weight, taken.rows)


def score_to(
    folder: str | Path,
    fitted: Fitted,
    data: Any,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    client: Client | str | int | None = None,
    **options: Any,
) -> list[Path]:
    """Score rows into a folder of parts, for many rows or several workers.

    The scores are bit-identical to the scores of `score`, with any `client`. A part has the scores of about 16 MiB of x,
    or of at most 16 shards if the scores are not exact. Existing parts are kept, so the same call resumes an
    interrupted one.

    Args:
        folder: The folder for the parts. A folder with other scores is refused.
        fitted: A fitted model.
        data: The rows to score, as for `score`. Workers open the path of an HDF5, netCDF, Parquet or .npy file
            themselves. Other rows are sent to them, part by part.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.
        client: Workers that share the work: a `distributed.Client`, the address of a scheduler, or a number of
            processes to start here. The workers write to the folder, so they need the file system of this process.
        **options: Options of the family for `score`.

    Returns:
        The files of the parts, in order. Each file stores the scores of some of the rows in the group
        `/probgen/scores`. `open_parts` reads all parts as one Dataset.

    Raises:
        InputError: When an argument is invalid, or the folder contains other scores.
        NotOffered: When the family does not score, or not with these options.
        PluginError: When the family returns an invalid result.
        RunError: When the folder is in use or cannot be written, or when a worker fails.
    """
    path, source = checked_path(folder, "folder"), _source(data)
    with when_needed(client) as pool:
        run, wanted = isolated(_asked)(fitted, seed, device, options)
        # not isolated: workers may be threads of this process, which wait for an isolated call
        looked = _looked_by(pool, fitted, source, str(run.device)) if source and pool else None
        scoring, taken = isolated(_taken)(fitted, data, run, wanted, looked)
        return _into(path, scoring, taken, source, pool, progress)


def _into(
    path: Path,
    scoring: _Scoring,
    taken: Prepared,
    source: Source | None,
    pool: Callable[[], Pool] | None,
    progress: bool,
) -> list[Path]:
    """Score checked rows into a folder of parts."""
    spans = isolated(scoring.spans)(taken)
    beside = {name: taken.dataset[name].values for name in ("row",) if name in taken.dataset.coords}
    beside |= {"weight": taken.weight.values} if taken.weight is not None else {}
    request = {
        "family": scoring.family.name,
        "state_sha256": digest_of(scoring.fitted.state),
        "rows_sha256": taken.digest,
        "beside_sha256": digest_of(beside),
        "n": taken.rows.n,
        "seed": scoring.seed,
        "options": scoring.options.model_dump(mode="json"),
        "starts": [span.start for span in spans],
    }

    def here(i: int) -> xr.Dataset:
        return scoring.part(taken.dataset, taken.weight, spans[i])

    def job(i: int) -> tuple[Any, ...]:
        span = spans[i]
        content = None if source else dataset_content(_sent(taken, slice(span.start, span.end)))
        return (tuple(span), content)

    with shown(progress), Parts(path, "scores", request, len(spans)) as parts:
        fill(
            parts, pool, here, _score_part, lambda: (*scoring.packed(), source), job, scoring.call(), scoring.run,
        )  # fmt: skip
        return parts.files


class _Span(NamedTuple):
    """The rows of a part.

    Attributes:
        shard: Number of the first shard.
        start: The first row.
        end: The row after the last row.
        together: Number of shards that are scored together.
    """

    shard: int
    start: int
    end: int
    together: int


Source: TypeAlias = tuple[str, int, int]  # a path, its size and the time of its last change


def _score_part(
    model: Packed,
    about: dict[str, Any],
    source: Source | None,
    place: tuple[str, str],
    i: int,
    span: tuple[int, int, int, int],
    content: bytes | None,
) -> str:
    """Write the scores of a part, as a worker does, and return its checksum.

    `content` has the rows of the part. If it is None, they are read from `source`.
    """
    scoring, of = _Scoring.unpacked(model, about), _Span(*span)
    if content is None:
        assert source is not None
        dataset, weight = _opened(model, source)
    else:
        dataset, weight = _weighed(dataset_of(content, "rows"), scoring.fitted)
        of = of._replace(start=0, end=of.end - of.start)
    return write_part(place, "scores", i, scoring.part(dataset, weight, of))


def _looked_by(pool: Callable[[], Pool], fitted: Fitted, source: Source, device: str) -> list[Looked]:
    """Let workers make the pass of `check` over a file, whose values do not go through this process. Few blocks are left to `check`."""
    model = packed(fitted)
    spans = isolated(_spans)(model, source)
    if not spans:
        return []
    found = dict(pool().each(_look_part, ((span,) for span in spans), (model, source, device)))
    results = [found[i] for i in range(len(spans))]
    for result in results:
        if isinstance(result, str):  # of several errors the first one is raised, as without workers
            raise InputError(result)
    return results


def _spans(model: Packed, source: Source) -> list[Span]:
    """Return the spans of a file that workers check side by side."""
    fitted = unpacked(model)
    family = fitted.definition
    return spans_of(_opened(model, source)[0], fitted.event, family.accepts, family.name)


def _look_part(model: Packed, source: Source, device: str, span: Span) -> Looked | str:
    """Check some blocks of a file, as a worker does. Return hashes and a packed summary, or the message of an error."""
    fitted = unpacked(model)
    family, run = fitted.definition, run_for(fitted, 0, device)
    kinds = numpy_dtype(run.dtype), numpy_dtype(family.dtype_of_x(run.dtype))
    try:
        hashes, seen = look(
            _opened(model, source)[0], fitted.event, family.accepts, family.name, *kinds, span
        )
    except InputError as error:
        return str(error)
    return hashes, seen.packed()


def _source(data: Any) -> Source | None:
    """Return the file that workers can open themselves, or None."""
    path = path_of(data) if isinstance(data, str | Path) else None
    if path is None or not path.is_file() or path.suffix.lower() not in OPENED:
        return None
    path = path.resolve()
    return (str(path), path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(model: Packed, source: Source) -> tuple[xr.Dataset, xr.DataArray | None]:
    """Return the rows of a file and their weights, or raise `InputError` if the file is not the checked file."""
    path, fitted = Path(source[0]), unpacked(model)
    if not path.is_file() or _source(path) != source:
        raise InputError(
            f"{path} on {platform.node()} is not the file that was checked, or has changed since. Score it again."
        )
    dataset = as_dataset(path, like=fitted.event.columns, reading=fitted.reading)
    dataset = arranged(dataset, fitted.definition, fitted.event)
    return _weighed(dataset, fitted)


def _weighed(dataset: xr.Dataset, fitted: Fitted) -> tuple[xr.Dataset, xr.DataArray | None]:
    """Return the rows without variables that a score does not use, and their weights."""
    unused = {"weight", "label"} - fitted.event.given.keys()
    return dataset.drop_vars(unused, errors="ignore"), dataset.get("weight")


def _sent(taken: Prepared, rows: slice) -> xr.Dataset:
    """Return some rows without attributes, to send them to a worker."""
    part = taken.dataset.isel(row=rows)
    variables = {name: part[name].variable for name in (*taken.rows.names, "size") if name in part}
    variables |= {"weight": taken.weight.isel(row=rows).variable} if taken.weight is not None else {}
    plain = {name: (v.dims, v.values) for name, v in variables.items()}
    coords = {"row": part["row"].values} if "row" in part.coords else {}
    return xr.Dataset(plain, coords)


def _asked(
    fitted: Fitted, seed: int, device: str | torch.device | None, options: Mapping[str, Any]
) -> tuple[Run, BaseModel]:
    """Check a request for scores."""
    family = fitted.definition
    family.require("score")
    seed = checked_seed(seed)
    wanted = checked(family.options("score"), options, f"family {family.name!r}, score")
    return run_for(fitted, seed, device), wanted


def _taken(
    fitted: Fitted, data: Any, run: Run, wanted: BaseModel, looked: Sequence[Looked] | None = None
) -> tuple[_Scoring, Prepared]:
    """Check the data."""
    taken = prepare(
        data, fitted.definition, event=fitted.event, reading=fitted.reading, without=("weight", "label"), device=run.device,
        dtype=run.dtype, looked=looked,
    )  # fmt: skip
    if taken.weight is not None:
        checked_weights(taken.weight)
    named = {k: taken.dataset.attrs[k] for k in ("name", "split") if k in taken.dataset.attrs}
    return _Scoring(fitted, run.seed, wanted, run, taken.digest, taken.missing, named, taken.rows.n), taken


@dataclass(frozen=True)
class _Scoring:
    """A checked request for scores.

    Attributes:
        fitted: The fitted model.
        seed: Seed of all random numbers.
        options: Options of the family for `score`.
        run: The run of the call.
        digest: SHA-256 digest of all rows.
        missing: Whether any row has missing values.
        named: Attributes of the data that the scores keep.
        n: Number of all rows.
    """

    fitted: Fitted
    seed: int
    options: BaseModel
    run: Run
    digest: str
    missing: bool
    named: dict[str, str]
    n: int

    @property
    def family(self) -> Definition:
        return self.fitted.definition

    @property
    def size(self) -> int:
        """Number of rows in a shard."""
        return shard_rows(self.fitted.event)

    def packed(self) -> tuple[Packed, dict[str, Any]]:
        """Return the model and the request in a form for other processes."""
        about = {
            "seed": self.seed, "device": str(self.run.device), "digest": self.digest, "missing": self.missing, "named": self.named,
            "n": self.n, "options": self.options.model_dump(mode="json"),
        }  # fmt: skip
        return packed(self.fitted), about

    @classmethod
    def unpacked(cls, model: Packed, about: Mapping[str, Any]) -> Self:
        """Return the request from its form for other processes: the inverse of `packed`."""
        fitted = unpacked(model)
        options = fitted.definition.options("score").model_validate(about["options"])
        run = run_for(fitted, about["seed"], about["device"])
        return cls(
            fitted, about["seed"], options, run, about["digest"], about["missing"], about["named"], about["n"]
        )

    def call(self) -> ObservedCall:
        """Return the call for observers."""
        data = {**self.named, "rows": self.n, "sha256": self.digest}
        return observed("score", self.family, self.options, self.fitted.event, data)

    def spans(self, taken: Prepared) -> list[_Span]:
        """Return the spans of all parts; each consists of complete groups of shards that are scored together.

        One row is scored here, because the kind of the score determines the size of a part.
        """
        n, event = taken.rows.n, self.fitted.event
        with torch.no_grad():
            self.fitted.module.to(self.run.device)
            known = self._scored(0, next(taken.rows.chunks(1)))
        together = self._together(known)
        row = 4 * math.prod(taken.dataset["x"].shape[1:])
        each = part_bytes(row * n) // (row * self.size * together)
        each = max(1, each if _exact(known) else min(each, SHARDS))
        rows: Sequence[int] = range(0, n, self.size)  # the first row of each shard
        if event.any_size:
            rows = [shard.start for shard in shards_of(sizes_of(taken.dataset), event.channels, self.size)]
        firsts = [0, *range(1 + (each - 1) * together, len(rows), each * together)]
        ends = [*(rows[first] for first in firsts[1:]), n]
        return [_Span(first, rows[first], end, together) for first, end in zip(firsts, ends, strict=True)]

    @isolated
    def part(self, dataset: xr.Dataset, weight: xr.DataArray | None, span: _Span) -> xr.Dataset:
        """Return the scores of some of the rows."""
        some = slice(span.start, span.end)
        dataset = dataset.isel(row=some)
        rows = rows_of(dataset, self.fitted.event, self.family, self.missing, self.run.device, self.run.dtype)
        weight = weight.isel(row=some) if weight is not None else None
        return self.scores(dataset, weight, rows, span.shard, span.together)

    def scores(
        self,
        dataset: xr.Dataset,
        weight: xr.DataArray | None,
        rows: Rows,
        shard: int = 0,
        together: int = 1,
    ) -> xr.Dataset:
        """Return the scores of rows, with their attributes.

        Shard 0 is scored alone. The kind of its scores determines how many later shards are scored together.

        Args:
            dataset: The rows, for their lengths, sizes and names.
            weight: Weights of the rows, or None.
            rows: The same rows as tensors.
            shard: Number of the first shard.
            together: Number of shards to score together, if `shard` is not 0.

        Returns:
            The scores, with the first dimension `row`.
        """
        observers = Observers(self.call())
        with told(observers, self.run) as outcome:
            outcome.result = found = self._scores(dataset, weight, rows, shard, together, observers)
        return found

    def _scores(
        self,
        dataset: xr.Dataset,
        weight: xr.DataArray | None,
        rows: Rows,
        shard: int,
        together: int,
        observers: Observers,
    ) -> xr.Dataset:
        event = self.fitted.event
        with torch.no_grad():
            self.fitted.module.to(self.run.device)
            shards = rows.chunks(self.size)  # images of any size come in smaller shards

            def each(shard: int, together: int) -> Iterator[xr.Dataset]:
                while some := list(islice(shards, together)):
                    found = self._scored(shard, _joined(some))
                    observers.tell("step", run=self.run, stage="score", step=shard, metrics={})
                    shard, together = shard + len(some), self._together(found)
                    yield found

            # concatenate in steps: many small arrays between large temporary ones would fragment the memory
            some = _some(each(shard, 1 if shard == 0 else together), 64)
            scores = _concatenated([_concatenated(few) for few in some])
        real = [column.name for column in event.columns if column.support == "real"]
        facts = {
            "units": "nat",
            "event_size": event.size,
            "given": " ".join(event.given),
            "observed": "some" if self.missing else "all",
            "rows": self.digest,
            **({"lebesgue": ", ".join(real)} if event.measure == "mixed" else {}),
        }
        for variable in scores.data_vars.values():
            if "kind" in variable.attrs:
                variable.attrs.update(facts)
        if "length" in dataset:
            long_name = "length of the row in time"
            scores["length"] = ("row", dataset["length"].values, {"long_name": long_name})
        if event.any_size:
            scores["length"] = ("row", sizes_of(dataset).prod(1), {"long_name": "pixels"})
        if "row" in dataset.coords:
            scores = scores.assign_coords(row=dataset["row"].values)
        if weight is not None:
            long_name = "weight of the row in means"
            scores["weight"] = ("row", weight.values.astype(np.float64), {"long_name": long_name})
        scores.attrs = {**stamp(self.family, self.seed), **self.named}
        return scores

    def _scored(self, shard: int, data: dict[str, Tensor]) -> xr.Dataset:
        found = seeded(
            (self.seed, "score", shard), self.family, "score", fitted=self.fitted, data=data, options=self.options, run=self.run
        )  # fmt: skip
        where = f"family {self.family.name!r} ({self.family.origin}), score"
        with numbers_that_square(data["x"], self.run.dtype):
            return scores_of(found, where, len(data["x"]), lebesgue=self.fitted.event.measure == "lebesgue")

    def _together(self, scores: xr.Dataset) -> int:
        """Return how many shards are scored together. For exact scores, this changes only the last bits."""
        return max(1, AT_ONCE // self.size) if _exact(scores) and not self.fitted.event.any_size else 1


def _exact(scores: xr.Dataset) -> bool:
    return "log_prob" in scores and scores["log_prob"].attrs.get("kind") == "exact"


def _some(each: Iterator[xr.Dataset], n: int) -> Iterator[list[xr.Dataset]]:
    """Yield lists of n Datasets."""
    while some := list(islice(each, n)):
        yield some


def _concatenated(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, "row", data_vars="all", combine_attrs="override")


def _joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate chunks into new arrays, because the alignment of rows in memory can change the order of sums."""
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
