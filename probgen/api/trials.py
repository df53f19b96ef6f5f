"""One trial of a search: a fit and the mean log-probability of validation rows. It ends early where it does worse than other fits."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.api.fitting import fit
from probgen.api.scoring import score
from probgen.contract.hookspecs import hookimpl
from probgen.contract.run import Run
from probgen.errors import DivergedError, InputError, NotOffered
from probgen.evaluation.means import mean, weights_of
from probgen.plugins.observers import observing
from probgen.store.folder import REQUEST

LEAST = 5  # fits that came to their end before one ends early
WARM = (
    1 / 3
)  # of the steps of a stage, in which no fit ends: the first validations say little of learning rates and batches

# what a trial is told, in plain values: its number, its options and its medians as JSON, its folder
Job = tuple[int, str, str, str]
# what comes of it, in plain values: options, state, value, steps, seconds, note, curve, numbers, data
Receipt = dict[str, Any]


class Pruned(BaseException):
    """Ends a fit from where its steps are told. Like an interrupt it passes through `except Exception`: it is no failure of an observer."""


class Pruning:
    """An observer that ends a fit when, after a third of its steps, its best validation is worse than the median of other fits after as many.

    medians  of each stage, in nats a row, larger is better
    """

    def __init__(self, medians: Mapping[str, list[float]]):
        self.medians = medians
        self.curve: dict[str, list[float]] = {}
        self.steps = 0

    @hookimpl
    def step(self, run: Run, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Errors: `Pruned`."""
        if "valid_loss" not in metrics:
            return
        if stage in self.curve:
            self.curve[stage].append(-metrics["valid_loss"])
        else:  # a fit that goes on was validated before
            self.curve[stage] = validations(run.history())[stage]
        seen, medians = self.curve[stage], self.medians.get(stage, [])
        if (
            WARM * run.steps <= step + 1 < run.steps
            and len(seen) <= len(medians)
            and max(seen) < medians[len(seen) - 1]
        ):
            self.steps = run.history().sizes["step"]
            raise Pruned


def attempt(
    family: str | type | Any,
    data: xr.Dataset,
    valid: xr.Dataset,
    seed: int,
    device: Any,
    progress: bool,
    number: int,
    options: str,
    medians: str,
    folder: str,
) -> Receipt:
    """One trial: a fit, which goes on where it was, and the mean log-probability of the validation rows, by one seed for all trials.

    A fit that diverges, or options that the family refuses together, are a state of the trial; of the first trial, which has the options that
    are given, a refusal is an error. Errors: `InputError`, `NotOffered`, and those of `fit` and `score`.
    """
    begun, observer = time.monotonic(), Pruning(json.loads(medians))
    receipt: Receipt = {"options": options, "value": None, "steps": 0, "note": "", "curve": {}}
    try:
        with observing(observer):
            fitted = fit(
                family, data, valid=valid, seed=seed, device=device, out=folder, resume=True, progress=progress,
                **json.loads(options),
            )  # fmt: skip
        scores = score(fitted, valid, seed=seed, device=device)
    except Pruned:
        receipt |= {"state": "pruned", "steps": observer.steps, "curve": observer.curve}
    except DivergedError as error:
        receipt |= {"state": "diverged", "note": str(error)}
    except InputError as error:
        if number == 0 or (Path(folder) / REQUEST).exists():  # of the data, or of another fit in the folder
            raise
        receipt |= {"state": "refused", "note": str(error)}
    else:
        if "log_prob" not in scores:
            raise NotOffered(
                f"family {fitted.family!r} scores {', '.join(map(str, scores.data_vars))}, and no log-probability, which a search chooses by"
            )
        value, told = mean(scores["log_prob"], weights_of(scores))[0], scores["log_prob"].attrs
        receipt |= {
            "state": "diverged" if math.isnan(value) else "done",
            "value": None if math.isnan(value) else value,
            "note": "log_prob of validation rows is not a number" if math.isnan(value) else "",
            "steps": fitted.history.sizes["step"],
            "curve": validations(fitted.history),
            "numbers": {name: str(told[name]) for name in ("kind", "measure")},
            "data": {k: v for k, v in fitted.provenance["data"].items() if k.endswith("sha256")},
        }
    return receipt | {"seconds": round(time.monotonic() - begun, 3)}


def validations(history: xr.Dataset) -> dict[str, list[float]]:
    """What was validated, of each stage, in nats a row, larger is better."""
    if "valid_loss" not in history:
        return {}
    values, stages = -history["valid_loss"].values, history["stage"].values
    measured = np.isfinite(values)
    return {stage: values[measured & (stages == stage)].tolist() for stage in map(str, dict.fromkeys(stages))}


def medians_of(receipts: Mapping[int, Receipt], number: int) -> dict[str, list[float]]:
    """Of each stage, after each validation, the median over the fits before a trial that came to their end and were validated as often.

    (Golovin et al. 2017, "Google Vizier", 3.3.2, with the value of the moment in the place of its running mean, as Optuna has it.)
    """
    done = [each["curve"] for n, each in receipts.items() if n < number and each["state"] == "done"]
    found = {}
    for stage in dict.fromkeys(stage for curve in done for stage in curve):
        curves = sorted((curve[stage] for curve in done if stage in curve), key=len, reverse=True)
        longest = len(curves[LEAST - 1]) if len(curves) >= LEAST else 0
        found[stage] = [float(np.median([c[i] for c in curves if len(c) > i])) for i in range(longest)]
    return found


def check_alike(receipts: Mapping[int, Receipt], receipt: Receipt, number: int) -> None:
    """Errors: `InputError` for a trial whose score is another kind of number than that of the others, or whose rows are others."""
    for other, earlier in receipts.items():
        if receipt["state"] != "done" or earlier["state"] != "done":
            continue
        if receipt["numbers"] != earlier["numbers"]:
            one, two = (" of measure ".join(each["numbers"].values()) for each in (receipt, earlier))
            raise InputError(
                f"trial {number} scores {one}, trial {other} {two}: they cannot be compared; leave out the option that makes them so"
            )
        if receipt["data"] != earlier["data"]:
            raise InputError(
                f"trial {number} has other rows than trial {other}: begin anew (--force), or choose another folder"
            )
