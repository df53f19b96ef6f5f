"""search: options of a family, chosen by the mean log-probability of validation rows."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from probgen.api.common import checked_device
from probgen.api.loading import load
from probgen.api.proposing import begin, end, proposal, receipts_of, require_optuna, study_in, values_of
from probgen.api.trials import Job, Receipt, attempt, check_alike, medians_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.ranges import Choice, Range, Space, fitting_space, space_of
from probgen.contract.seeds import checked_seed
from probgen.contract.world import refuse_several
from probgen.data import as_dataset
from probgen.data.intake import prepare
from probgen.errors import InputError, RunError
from probgen.plugins.family import family as find_family
from probgen.store.claim import Claim
from probgen.store.files import checked_path, read_request, without_none, write_request
from probgen.store.folder import REQUEST, check_folder

if TYPE_CHECKING:
    import optuna

STUDY, TRIALS, TABLE, BEST = "study.db", "trials", "trials.tsv", "best"  # in the folder of a search
RECIPE, HISTORY, IMPORTANCE = "best.toml", "history.png", "importance.png"

# jobs to receipts, in any order: the place of the job among them, and what came of it
Each = Callable[[Iterator[Job]], Iterator[tuple[int, Receipt]]]


@dataclass(frozen=True)
class Found:
    """What a search found.

    fitted   of the best trial
    best     its number
    options  those of its options that were searched
    trials   a row a trial: `options.NAME`, `value` (nats a row; NaN where there is none), `state`, `steps_done`, `seconds`, `note`
    """

    fitted: Fitted
    best: int
    options: dict[str, Any]
    trials: xr.Dataset


def search(
    family: str | type | Any,
    data: Any,
    *,
    valid: Any,
    options: Mapping[str, Any],
    trials: int = 20,
    seed: int = 0,
    device: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    prune: bool = True,
    progress: bool = False,
    **given: Any,
) -> Found:
    """Choose options of a family by the mean log-probability of validation rows, or a bound of it, in nats a row.

    family   a registered name, or a definition of the script's own
    data     rows to fit to; valid: rows to choose by. Whatever `probgen.data.as_dataset` takes
    options  of each option a range, {"low": 16, "high": 512, "log": True}, or a list of values
    trials   fits; the first one has the options that are given, or those that the family has by default
    seed     of all fits and scores, and of the proposals
    out      a folder to keep the search in: resume goes on with it, force replaces it
    prune    whether fits end early whose validation is worse than the median of those before
    given    further options of the family, of all trials

    Errors: `InputError`, `NotOffered` for a family without a log-probability, `RunError`, and those of `fit` and `score`.
    """
    refuse_several("search")
    definition, seed, device = find_family(family), checked_seed(seed), checked_device(device)
    definition.require("score")
    where, kind = f"search, family {definition.name!r}", definition.options("fit")
    space = fitting_space(space_of(options, where), kind, given, where)
    usual = checked(kind, given, where).model_dump(mode="json")
    given = {name: usual[name] for name in given}
    asked = {
        name: part.model_dump() if isinstance(part, Range) else list(part.ends)
        for name, part in space.items()
    }
    request: dict[str, Any] = {
        "family": definition.name,
        "options": given,
        "seed": seed,
        "search": {"options": asked, "prune": prune},
    }
    rows, chosen_by = as_dataset(data), as_dataset(valid)
    taken = prepare(rows, definition, options=checked(kind, given, where))
    request["data"] = {
        "sha256": taken.digest,
        "valid_sha256": prepare(chosen_by, definition, event=taken.event).digest,
    }

    def each(jobs: Iterator[Job]) -> Iterator[tuple[int, Receipt]]:
        return (
            (i, attempt(family, rows, chosen_by, seed, device, progress, *job)) for i, job in enumerate(jobs)
        )

    with tempfile.TemporaryDirectory() as beside:
        place = Path(beside) if out is None else checked_path(out, "out")
        with opened(place, request, resume=resume, force=force) as study:
            receipts = tried(place, study, space, usual, given, trials, seed, prune, each)
            best = best_of(receipts)
            keep_best(place, best)
        fitted = load(place / BEST, None if isinstance(family, str) else family)
    return Found(fitted, best, chosen(space, receipts[best]), table_of(space, receipts))


@contextmanager
def opened(place: Path, request: Mapping[str, Any], *, resume: bool, force: bool) -> Iterator[optuna.Study]:
    """The study in the folder of a search, which is held. Errors: `RunError`, `InputError` for a folder that holds something else."""
    require_optuna()
    check_folder(place)
    with Claim(place) as claim:
        asked, known = place / REQUEST, (place / STUDY).exists()
        if asked.exists() and not known:
            raise InputError(f"{place} holds a run that is no search: choose another folder")
        if known and not (resume or force):
            raise InputError(
                f"{place} holds a search already: go on with it (--resume), replace it (--force), or choose another folder"
            )
        if known and force:
            _erase(place)
        elif known and asked.exists() and read_request(asked) != without_none(dict(request)):
            raise InputError(
                f"{place} was begun with another search, {asked}: ask for the same, or choose another folder"
            )
        with study_in(place / STUDY) as study:
            write_request(asked, dict(request))  # after the study: a request without one is somebody else's
            try:
                yield study
            except InputError:
                if not receipts_of(study):
                    _erase(place)
                    claim.leave_nothing()
                raise


def _erase(place: Path) -> None:
    """Remove a search: its files and folders, and nothing else that may lie there."""
    for folder in (TRIALS, BEST):
        shutil.rmtree(place / folder, ignore_errors=True)
    for name in (TABLE, RECIPE, HISTORY, IMPORTANCE, REQUEST, STUDY):
        (place / name).unlink(missing_ok=True)


def tried(
    place: Path,
    study: optuna.Study,
    space: Space,
    usual: Mapping[str, Any],
    given: Mapping[str, Any],
    trials: int,
    seed: int,
    prune: bool,
    each: Each,
    told: Callable[[int, Receipt], None] | None = None,
) -> dict[int, Receipt]:
    """What came of all trials by number: of those that are there already, and of those that are done now, up to `trials` of them.

    usual  options of the first trial, among them those that are searched; given: of all trials
    each   does the jobs that it is given, one after the other or side by side. Options that were tried are not fitted again
    told   is told of every trial that is done, first of earlier ones

    Errors: `InputError` for scores that cannot be compared, and for data that are others than before.
    """
    if type(trials) is not int or trials < 1:
        raise InputError(f"trials = {trials!r}: a whole number from 1 is needed")
    receipts, numbers = receipts_of(study), list[int]()

    if told is not None:
        for earlier in receipts.items():
            told(*earlier)

    def done(number: int, receipt: Receipt) -> None:
        check_alike(receipts, receipt, number)
        end(study, number, receipt)
        receipts[number] = receipt
        if told is not None:
            told(number, receipt)

    def jobs() -> Iterator[Job]:
        begun = {trial.number: trial for trial in study.get_trials()}
        for number in range(max(trials, len(begun))):
            if number in receipts:
                continue
            if number in begun:  # it was being done when the search was interrupted
                values = values_of(space, begun[number].params)
            elif number:
                values = proposal(space, study.get_trials(), receipts, seed)
            else:
                values = {name: usual[name] for name in space}
            if number not in begun:
                begin(study, space, values)
            options = json.dumps({**given, **values})
            same = [
                r
                for n, r in receipts.items()
                if n < number and (r["options"], r["state"]) == (options, "done")
            ]
            if same:  # it would have the same bits
                done(number, same[0] | {"seconds": 0.0})
                continue
            medians = json.dumps(medians_of(receipts, number) if prune else {})
            numbers.append(number)
            yield number, options, medians, str(place / TRIALS / str(number))

    for i, receipt in each(jobs()):
        done(numbers[i], receipt)
    return dict(sorted(receipts.items()))


def best_of(receipts: Mapping[int, Receipt]) -> int:
    """The number of the best trial; of equal ones the first. Errors: `RunError` where none came to its end."""
    values = {number: each["value"] for number, each in receipts.items() if each["state"] == "done"}
    if not values:
        raise RunError(f"no trial came to its end; of the first: {receipts[0]['note']}")
    return max(values, key=lambda number: values[number])


def chosen(space: Space, receipt: Receipt) -> dict[str, Any]:
    """Those options of a trial that are searched."""
    options = json.loads(receipt["options"])
    return {name: options[name] for name in space}


def keep_best(place: Path, best: int) -> None:
    """The run of the best trial as `best/`."""
    shutil.rmtree(place / BEST, ignore_errors=True)
    shutil.copytree(place / TRIALS / str(best), place / BEST, ignore=shutil.ignore_patterns(".*"))


def table_of(space: Space, receipts: Mapping[int, Receipt]) -> xr.Dataset:
    """A row a trial: see `Found`. Options that are chosen of a list are JSON."""
    columns: dict[str, Any] = {}
    for name, part in space.items():
        values = [chosen(space, each)[name] for each in receipts.values()]
        texts = isinstance(part, Choice)
        columns[f"options.{name}"] = np.array([json.dumps(v) for v in values] if texts else values)
    kept = {"value": float, "state": str, "steps": int, "seconds": float, "note": str}
    for name, dtype in kept.items():
        columns[name] = np.array([each[name] for each in receipts.values()], dtype=dtype)
    columns["steps_done"] = columns.pop("steps")
    found = xr.Dataset({name: ("trial", column) for name, column in columns.items()}, {"trial": [*receipts]})
    found["value"].attrs = {"units": "nat", "long_name": "mean log-probability of the validation rows"}
    found["seconds"].attrs = {"units": "s"}
    return found
