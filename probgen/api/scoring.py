"""score: check the data once, go through them shard by shard, say what kind of number comes out; in memory, or into a folder of parts."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence
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

from probgen.api.common import run_for, seeded, shard_rows, shown, told
from probgen.api.loading import Packed, packed, unpacked
from probgen.api.parting import PART, fill
from probgen.api.provenance import stamp
from probgen.contract.definition import Definition
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.seeds import checked_seed
from probgen.contract.sizes import shards_of, sizes_of
from probgen.contract.state import digest_of
from probgen.contract.surroundings import isolated
from probgen.data.check import checked_weights
from probgen.data.ingest import as_dataset
from probgen.data.intake import Prepared, arranged, prepare, rows_of
from probgen.datasets import path_of
from probgen.errors import InputError, PluginError
from probgen.plugins.observers import Observers
from probgen.store.files import checked_path
from probgen.store.parts import Parts, write_part
from probgen.store.trees import dataset_content, dataset_of

if TYPE_CHECKING:
    from distributed import Client

AT_ONCE = 4096  # rows of an exact score that go over together, at least
SHARDS = 16  # that are a part at most where each may take long
OPENED = (
    ".h5",
    ".hdf5",
    ".nc",
    ".npy",
    ".parquet",
    ".pq",
)  # files of which rows are read where they are scored


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
    """Say how likely each row is, in nats, and what kind of number that is.

    Returns `log_prob (row)` with attributes `kind`, `estimator`, `units`, `measure`, `event_size`, `given`,
    `observed`, `rows`; `log_prob_se (row)` where it is a Monte Carlo number; or what else the family's number is
    called; of rows of several lengths also `length (row)`, where `event_size` counts time once; of rows
    with weights also `weight (row)`: means are by these, and the scores themselves do not depend on them. Errors: `InputError`, `NotOffered`, `PluginError`.
    """
    scoring, taken = _asked(fitted, data, seed, device, options)
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
    """Score into a folder of parts, each of the scores of 16 MiB of x or so, or of 16 shards where scores are no exact ones.

    data    as for `score`. A path to HDF5, netCDF, Parquet or .npy is opened by each worker; other rows are sent, part by part
    client  workers that share the work: a `distributed.Client`, the address of a scheduler, or a number of processes to start here.
            They write to the folder, and need the file system of this process

    The same scores as those of `score`, to the bit, whoever works them out. Parts that are there already are kept, so that the same call
    goes on after an interruption; a folder with other scores is refused. Returns the files; each holds `/probgen/scores` of some of the
    rows, in order; `open_parts` reads them as one. Errors: as for `score`, and `RunError`.
    """
    path = checked_path(folder, "folder")
    scoring, taken = isolated(_asked)(fitted, data, seed, device, options)
    spans = isolated(scoring.spans)(taken)
    source = _source(data)
    beside = {name: taken.dataset[name].values for name in ("row",) if name in taken.dataset.coords}
    beside |= {"weight": taken.weight.values} if taken.weight is not None else {}
    request = {
        "family": scoring.family.name,
        "state_sha256": digest_of(fitted.state),
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
            parts, client, here, _score_part, lambda: (*scoring.packed(), source), job, "score", scoring.family,
            scoring.run,
        )  # fmt: skip
        return parts.files


class _Span(NamedTuple):
    """Rows `start` to `end` of a part; shard: the number of the first one; together: how many shards go over at once."""

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
    """What a worker does for a part; its checksum. content: the rows, where they have not to be read."""
    scoring, of = _Scoring.unpacked(model, about), _Span(*span)
    if content is None:
        assert source is not None
        dataset, weight = _opened(model, source)
    else:
        dataset, weight = _weighed(dataset_of(content, "rows"), scoring.fitted)
        of = of._replace(start=0, end=of.end - of.start)
    return write_part(place, "scores", i, scoring.part(dataset, weight, of))


def _source(data: Any) -> Source | None:
    """The file that workers open by themselves, where it is such a one."""
    path = path_of(data) if isinstance(data, str | Path) else None
    if path is None or not path.is_file() or path.suffix.lower() not in OPENED:
        return None
    path = path.resolve()
    return (str(path), path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(model: Packed, source: Source) -> tuple[xr.Dataset, xr.DataArray | None]:
    """The rows of a file, and their weights. Errors: `InputError` for another file than the one that was checked."""
    path, fitted = Path(source[0]), unpacked(model)
    if not path.is_file() or _source(path) != source:
        raise InputError(
            f"{path} on {platform.node()} is not the file that was checked, or has changed since"
        )
    dataset = arranged(as_dataset(path, like=fitted.event.columns), fitted.definition, fitted.event)
    return _weighed(dataset, fitted)


def _weighed(dataset: xr.Dataset, fitted: Fitted) -> tuple[xr.Dataset, xr.DataArray | None]:
    """Rows without what a score has no use for, and their weights."""
    unused = {"weight", "label"} - fitted.event.given.keys()
    return dataset.drop_vars(unused, errors="ignore"), dataset.get("weight")


def _sent(taken: Prepared, rows: slice) -> xr.Dataset:
    """Some rows as they travel, without what is said of them."""
    part = taken.dataset.isel(row=rows)
    variables = {name: part[name].variable for name in (*taken.rows.names, "size") if name in part}
    variables |= {"weight": taken.weight.isel(row=rows).variable} if taken.weight is not None else {}
    plain = {name: (v.dims, v.values) for name, v in variables.items()}
    coords = {"row": part["row"].values} if "row" in part.coords else {}
    return xr.Dataset(plain, coords)


def _asked(
    fitted: Fitted, data: Any, seed: int, device: str | torch.device | None, options: Mapping[str, Any]
) -> tuple[_Scoring, Prepared]:
    """Check a request for scores, and the data."""
    family = fitted.definition
    family.require("score")
    seed = checked_seed(seed)
    wanted = checked(family.options("score"), options, f"family {family.name!r}, score")
    run = run_for(fitted, seed, device)
    taken = prepare(
        data, family, event=fitted.event, without=("weight", "label"), device=run.device, dtype=run.dtype
    )
    if taken.weight is not None:
        checked_weights(taken.weight)
    named = {k: taken.dataset.attrs[k] for k in ("name", "split") if k in taken.dataset.attrs}
    return _Scoring(fitted, seed, wanted, run, taken.digest, taken.missing, named), taken


@dataclass(frozen=True)
class _Scoring:
    """A checked request for scores.

    digest   of all rows
    missing  whether values of some row are missing
    named    attributes of the data that scores keep
    """

    fitted: Fitted
    seed: int
    options: BaseModel
    run: Run
    digest: str
    missing: bool
    named: dict[str, str]

    @property
    def family(self) -> Definition:
        return self.fitted.definition

    @property
    def size(self) -> int:
        """Rows of a shard."""
        return shard_rows(self.fitted.event)

    def packed(self) -> tuple[Packed, dict[str, Any]]:
        """As it travels: the model, and what is asked for."""
        about = {
            "seed": self.seed, "device": str(self.run.device), "digest": self.digest, "missing": self.missing, "named": self.named,
            "options": self.options.model_dump(mode="json"),
        }  # fmt: skip
        return packed(self.fitted), about

    @classmethod
    def unpacked(cls, model: Packed, about: Mapping[str, Any]) -> Self:
        """The inverse."""
        fitted = unpacked(model)
        options = fitted.definition.options("score").model_validate(about["options"])
        run = run_for(fitted, about["seed"], about["device"])
        return cls(fitted, about["seed"], options, run, about["digest"], about["missing"], about["named"])

    def spans(self, taken: Prepared) -> list[_Span]:
        """The parts of all rows, at the borders of what goes over at once. One row is scored here, to learn of what kind its number is."""
        n, event = taken.rows.n, self.fitted.event
        with torch.no_grad():
            self.fitted.module.to(self.run.device)
            known = self._scored(0, next(taken.rows.chunks(1)))
        together = self._together(known)
        each = PART // (4 * math.prod(taken.dataset["x"].shape[1:]) * self.size * together)
        each = max(1, each if _exact(known) else min(each, SHARDS))
        rows: Sequence[int] = range(0, n, self.size)  # the first one of each shard
        if event.any_size:
            rows = [shard.start for shard in shards_of(sizes_of(taken.dataset), event.channels, self.size)]
        firsts = [0, *range(1 + (each - 1) * together, len(rows), each * together)]
        ends = [*(rows[first] for first in firsts[1:]), n]
        return [_Span(first, rows[first], end, together) for first, end in zip(firsts, ends, strict=True)]

    @isolated
    def part(self, dataset: xr.Dataset, weight: xr.DataArray | None, span: _Span) -> xr.Dataset:
        """Scores of some of the rows."""
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
        """Scores of rows; shard: the number of the first one; together: how many go over at once.

        Shard 0 goes over alone, and says how many of those after it go over together.
        """
        observers, event = Observers(), self.fitted.event
        with told(observers, "score", self.family, self.run), torch.no_grad():
            self.fitted.module.to(self.run.device)
            shards = rows.chunks(self.size)  # of images of any size it makes them smaller by itself

            def each(shard: int, together: int) -> Iterator[xr.Dataset]:
                while some := list(islice(shards, together)):
                    found = self._scored(shard, _joined(some))
                    observers.tell("step", run=self.run, stage="score", step=shard, metrics={})
                    shard, together = shard + len(some), self._together(found)
                    yield found

            # put together as they come: many small arrays, between large ones that come and go, would keep these from being used again
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
            long_name = "how much of the dimension time counts"
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
        return _checked_scores(found, self.family, len(data["x"]))

    def _together(self, scores: xr.Dataset) -> int:
        """How many shards go over at once; exact scores do not depend on it but for the last bits."""
        return max(1, AT_ONCE // self.size) if _exact(scores) and not self.fitted.event.any_size else 1


def _exact(scores: xr.Dataset) -> bool:
    return "log_prob" in scores and scores["log_prob"].attrs.get("kind") == "exact"


def _some(each: Iterator[xr.Dataset], n: int) -> Iterator[list[xr.Dataset]]:
    """They, n at a time."""
    while some := list(islice(each, n)):
        yield some


def _concatenated(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, "row", data_vars="all", combine_attrs="override")


def _joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """As arrays of their own: where in memory rows lie may decide how products are added up."""
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _checked_scores(part: Any, family: Definition, n: int) -> xr.Dataset:
    where = f"family {family.name!r} ({family.origin}), score"
    if not isinstance(part, xr.Dataset):
        raise PluginError(f"{where}: returned {type(part).__name__}, not a Dataset; use probgen.log_prob()")
    if part.sizes.get("row") != n:
        raise PluginError(
            f"{where}: returned {dict(part.sizes)} for {n} rows; the first dimension must be 'row'"
        )
    if "log_prob" in part and "kind" not in part["log_prob"].attrs:
        raise PluginError(
            f"{where}: 'log_prob' does not say what kind of number it is; use probgen.log_prob()"
        )
    return part
