"""One trial of a search: a fit, and the mean log-probability of validation rows.

A fit can end early if its validation is worse than that of earlier fits.
"""

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
from probgen.contract.hookspecs import ObservedRun, hookimpl
from probgen.errors import DivergedError, InputError, NotOffered
from probgen.evaluation.means import mean, weights_of
from probgen.plugins.observers import observing
from probgen.store.folder import REQUEST

LEAST = 5  # minimum number of complete fits before a fit ends early
# no fit ends early in this first part of a stage: early validations are misleading for learning rates and batch sizes
WARM = 1 / 3

# the input of a trial as plain values: its number, its options and its medians as JSON, its folder
Job = tuple[int, str, str, str]
# the result of a trial as plain values: options, state, value, steps, seconds, note, curve, numbers, data
Receipt = dict[str, Any]


class Pruned(BaseException):
    """The end of a pruned fit, raised by an observer.

    Like an interrupt, it passes through `except Exception`, because it is not a failure of the observer.
    """


class Pruning:
    """An observer that ends a fit early.

    After a third of the steps, it ends the fit as soon as its best validation is worse than the median of other fits after
    the same number of validations.

    Args:
        medians: The medians of each stage, one per validation, in nats per row. Larger is better.
    """

    def __init__(self, medians: Mapping[str, list[float]]):
        self.medians = medians
        self.curve: dict[str, list[float]] = {}
        self.steps = 0

    @hookimpl
    def step(self, run: ObservedRun, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Record a validation, and raise `Pruned` if the fit is to end."""
        if "valid_loss" not in metrics:
            return
        if stage in self.curve:
            self.curve[stage].append(-metrics["valid_loss"])
        else:  # a resumed fit has earlier validations
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
    """Do one trial: fit a model, or resume its fit, and score the validation rows.

    All trials have the same seed. A divergence, or a combination of options that the family refuses, is a state of the
    trial. In the first trial, refused options are an error.

    Args:
        family: A registered name, or a definition in the script.
        data: The rows to fit to.
        valid: The validation rows.
        seed: Seed of the fit and of the scores.
        device: The device to compute on.
        progress: Show a progress bar on stderr.
        number: Number of the trial.
        options: All options of the family, as JSON.
        medians: The medians for `Pruning`, as JSON.
        folder: The folder of the run.

    Returns:
        The receipt of the trial.

    Raises:
        InputError: When the rows are invalid, the folder contains another fit, or the first options are refused.
        NotOffered: When the score is not a log-probability.
        PluginError: When the family returns an invalid result.
        RunError: When the folder cannot be written.
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
        if (
            number == 0 or (Path(folder) / REQUEST).exists()
        ):  # the data or another fit in the folder is the cause
            raise
        receipt |= {"state": "refused", "note": str(error)}
    else:
        if "log_prob" not in scores:
            raise NotOffered(
                f"family {fitted.family!r} scores {', '.join(map(str, scores.data_vars))}, but a search needs a log-probability"
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
    """Return the validations of each stage in nats per row. Larger is better."""
    if "valid_loss" not in history:
        return {}
    values, stages = -history["valid_loss"].values, history["stage"].values
    measured = np.isfinite(values)
    return {stage: values[measured & (stages == stage)].tolist() for stage in map(str, dict.fromkeys(stages))}


def medians_of(receipts: Mapping[int, Receipt], number: int) -> dict[str, list[float]]:
    """Return the medians of each stage after each validation, over earlier complete fits with as many validations.

    This is the rule of Golovin et al. 2017, "Google Vizier", 3.3.2. As in Optuna, the current value replaces the
    running mean.
    """
    done = [each["curve"] for n, each in receipts.items() if n < number and each["state"] == "done"]
    found = {}
    for stage in dict.fromkeys(stage for curve in done for stage in curve):
        curves = sorted((curve[stage] for curve in done if stage in curve), key=len, reverse=True)
        longest = len(curves[LEAST - 1]) if len(curves) >= LEAST else 0
        found[stage] = [float(np.median([c[i] for c in curves if len(c) > i])) for i in range(longest)]
    return found


def check_alike(receipts: Mapping[int, Receipt], receipt: Receipt, number: int) -> None:
    """Raise `InputError` if a trial has another kind of score, or other rows, than the other trials."""
    for other, earlier in receipts.items():
        if receipt["state"] != "done" or earlier["state"] != "done":
            continue
        if receipt["numbers"] != earlier["numbers"]:
            one, two = (" of measure ".join(each["numbers"].values()) for each in (receipt, earlier))
            raise InputError(
                f"trial {number} scores {one}, but trial {other} scores {two}, so they cannot be compared. "
                "Leave out the option that changes the kind of score."
            )
        if receipt["data"] != earlier["data"]:
            raise InputError(
                f"trial {number} has other rows than trial {other}. Start again (--force), or choose another folder."
            )
