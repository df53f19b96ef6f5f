"""score: check the data once, go through them shard by shard, say what kind of number comes out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from probgen.api.common import run_for, seeded, shard_rows, shown, told
from probgen.api.provenance import stamp
from probgen.contract.definition import Definition
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.seeds import checked_seed
from probgen.contract.sizes import sizes_of
from probgen.contract.surroundings import isolated
from probgen.data.check import checked_weights
from probgen.data.intake import prepare
from probgen.errors import PluginError
from probgen.plugins.observers import Observers

AT_ONCE = 4096  # rows of an exact score that go over together, at least


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
    family = fitted.definition
    family.require("score")
    seed = checked_seed(seed)
    wanted = checked(family.options("score"), options, f"family {family.name!r}, score")
    run = run_for(fitted, seed, device)
    taken = prepare(
        data, family, event=fitted.event, without=("weight", "label"), device=run.device, dtype=run.dtype
    )
    dataset = taken.dataset
    weight = checked_weights(taken.weight) if taken.weight is not None else None
    observers = Observers()

    def scored(number: int, shard: dict[str, Tensor]) -> xr.Dataset:
        part = seeded(
            (seed, "score", number), family, "score", fitted=fitted, data=shard, options=wanted, run=run
        )
        observers.tell("step", run=run, stage="score", step=number, metrics={})
        return _checked_scores(part, family, len(shard["x"]))

    with shown(progress), told(observers, "score", family, run), torch.no_grad():
        fitted.module.to(run.device)
        size = shard_rows(fitted.event)
        shards = taken.rows.chunks(size)  # of images of any size it makes them smaller by itself
        parts = [scored(0, next(shards))]
        together = max(1, AT_ONCE // size) if _exact(parts[0]) and not fitted.event.any_size else 1
        parts += [scored(number, _joined(some)) for number, some in enumerate(_some(shards, together), 1)]
    scores = xr.concat(parts, "row", data_vars="all", combine_attrs="override")
    real = [column.name for column in fitted.event.columns if column.support == "real"]
    facts = {
        "units": "nat",
        "event_size": fitted.event.size,
        "given": " ".join(fitted.event.given),
        "observed": "some" if taken.missing else "all",
        "rows": taken.digest,
        **({"lebesgue": ", ".join(real)} if fitted.event.measure == "mixed" else {}),
    }
    for variable in scores.data_vars.values():
        if "kind" in variable.attrs:
            variable.attrs.update(facts)
    if "length" in dataset:
        long_name = "how much of the dimension time counts"
        scores["length"] = ("row", dataset["length"].values, {"long_name": long_name})
    if fitted.event.any_size:
        long_name = "pixels"
        scores["length"] = ("row", sizes_of(dataset).prod(1), {"long_name": long_name})
    if "row" in dataset.coords:
        scores = scores.assign_coords(row=dataset["row"].values)
    if weight is not None:
        scores["weight"] = ("row", weight, {"long_name": "weight of the row in means"})
    scores.attrs = {
        **stamp(family, seed),
        **{k: dataset.attrs[k] for k in ("name", "split") if k in dataset.attrs},
    }
    return scores


def _exact(scores: xr.Dataset) -> bool:
    return "log_prob" in scores and scores["log_prob"].attrs.get("kind") == "exact"


def _some(shards: Iterator[dict[str, Tensor]], n: int) -> Iterator[list[dict[str, Tensor]]]:
    """The shards, n at a time."""
    while some := list(islice(shards, n)):
        yield some


def _joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
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
