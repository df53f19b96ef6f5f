"""score: check the data once, go through them shard by shard, say what kind of number comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from probgen.api.common import SHARD, run_for, seeded, shown, told
from probgen.data import as_dataset, check, in_symbols_of
from probgen.errors import PluginError
from probgen.fitted import Fitted
from probgen.observers import Observers
from probgen.options import checked
from probgen.plugins import Family
from probgen.provenance import stamp
from probgen.rows import Rows, numpy_dtype
from probgen.seeds import checked_seed

AT_ONCE = 16 * SHARD  # rows of an exact score that go over together


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
    called; of rows of several lengths also `length (row)`, where `event_size` counts time once. Errors: `InputError`, `NotOffered`, `PluginError`.
    """
    family = fitted.definition
    family.require("score")
    seed = checked_seed(seed)
    wanted = checked(family.options("score"), options, f"family {family.name!r}, score")
    run = run_for(fitted, seed, device)
    dataset = in_symbols_of(fitted.event, as_dataset(data))
    for_the_fit = {"weight", "label"} - fitted.event.given.keys()
    dataset = dataset.drop_vars(for_the_fit, errors="ignore")
    missing, digest = check(dataset, fitted.event, family.accepts, family.name, numpy_dtype(run.dtype))
    rows = Rows(dataset, fitted.event, missing=missing, device=run.device, dtype=run.dtype)
    parts: list[xr.Dataset] = []
    observers = Observers()
    with shown(progress), told(observers, "score", family, run), torch.no_grad():
        fitted.module.to(run.device)
        for shard, chunk in enumerate(_shards(rows, parts)):
            part = seeded(
                (seed, "score", shard), family, "score", fitted=fitted, data=chunk, options=wanted, run=run
            )
            parts.append(_checked_scores(part, family, len(chunk["x"])))
            observers.tell("step", run=run, stage="score", step=shard, metrics={})
    scores = xr.concat(parts, "row", data_vars="all", combine_attrs="override")
    facts = {
        "units": "nat",
        "event_size": fitted.event.size,
        "given": " ".join(fitted.event.given),
        "observed": "some" if missing or "observed" in dataset else "all",
        "rows": digest,
    }
    for variable in scores.data_vars.values():
        if "kind" in variable.attrs:
            variable.attrs.update(facts)
    if "length" in dataset:
        long_name = "how much of the dimension time counts"
        scores["length"] = ("row", dataset["length"].values, {"long_name": long_name})
    scores.attrs = {
        **stamp(family, seed),
        **{k: dataset.attrs[k] for k in ("name", "split") if k in dataset.attrs},
    }
    return scores


def _shards(rows: Rows, parts: list[xr.Dataset]) -> Iterator[dict[str, Tensor]]:
    """The rows in shards; once the first has shown that scores are exact, many shards at a time."""
    first = True
    held: list[dict[str, Tensor]] = []
    for chunk in rows.chunks(SHARD):
        if first:
            yield chunk
            first = False
            continue
        exact = parts[0].get("log_prob", xr.DataArray()).attrs.get("kind") == "exact"
        if not exact:
            yield chunk
            continue
        held.append(chunk)
        if len(held) * SHARD >= AT_ONCE:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _checked_scores(part: Any, family: Family, n: int) -> xr.Dataset:
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
