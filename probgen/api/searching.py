"""The call `search`: choose options of a family by the mean log-probability of validation rows."""

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

# from jobs to pairs in any order: the index of the job, and its receipt
Each = Callable[[Iterator[Job]], Iterator[tuple[int, Receipt]]]


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        fitted: The fitted model of the best trial.
        best: The number of the best trial.
        options: The searched options, with the values of the best trial.
        trials: One row per trial: `options.NAME`, `value` (nats per row; NaN if there is none), `state`, `steps_done`,
            `seconds`, `note`.
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
    """Choose options of a family by the mean log-probability of validation rows, or by a bound on it.

    Args:
        family: A registered name, or a definition in your script.
        data: The rows to fit to, in any form that `probgen.data.as_dataset` accepts.
        valid: The validation rows, in the same forms.
        options: The searched options. Each has a range, e.g. {"low": 16, "high": 512, "log": True}, or a list of values.
        trials: Number of trials. The first trial has the given options, and the defaults of the family for the rest.
        seed: Seed of all fits, scores and proposals.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        out: A folder to store the search in. By default, only the result is returned.
        resume: Resume the search in `out`.
        force: Replace the search in `out`.
        prune: End a fit early if its validation is worse than the median of earlier fits.
        progress: Show progress bars on stderr.
        **given: Fixed options of the family, for all trials.

    Returns:
        The best model, its options, and a table of all trials.

    Raises:
        InputError: When the rows, an option or another argument is invalid, or `out` contains something else.
        NotOffered: When the family has no log-probability.
        PluginError: When the family is not installed, or returns an invalid result.
        RunError: When the folder cannot be written, or no trial is complete.
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
    """Claim the folder of a search, and open its study.

    Args:
        place: The folder.
        request: The request of the search, as plain values. A search with another request is not resumed.
        resume: Resume the search in the folder.
        force: Replace the search in the folder.

    Yields:
        The study of Optuna.

    Raises:
        InputError: When the folder contains another search or another run.
        RunError: When the folder is in use or cannot be written.
    """
    require_optuna()
    check_folder(place)
    with Claim(place) as claim:
        asked, known = place / REQUEST, (place / STUDY).exists()
        if asked.exists() and not known:
            raise InputError(f"{place} contains a run that is not a search. Choose another folder.")
        if known and not (resume or force):
            raise InputError(
                f"{place} already contains a search. Resume it (--resume), replace it (--force), or choose another folder."
            )
        if known and force:
            _erase(place)
        elif known and asked.exists() and read_request(asked) != without_none(dict(request)):
            raise InputError(
                f"{place} was started with another search, see {asked}. Request the same search, or choose another folder."
            )
        with study_in(place / STUDY) as study:
            write_request(
                asked, dict(request)
            )  # after the study: a request without a study belongs to another run
            try:
                yield study
            except InputError:
                if not receipts_of(study):
                    _erase(place)
                    claim.leave_nothing()
                raise


def _erase(place: Path) -> None:
    """Remove the files and folders of a search, and no other file in the folder."""
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
    """Do the missing trials of a search, and return the receipts of all trials by number.

    If an earlier trial has the same options, its receipt is copied instead of a new fit.

    Args:
        place: The folder of the search.
        study: The study of Optuna.
        space: The ranges and choices of the searched options.
        usual: The options of the first trial, including the searched options.
        given: The fixed options of all trials.
        trials: Number of trials, including earlier trials.
        seed: Seed of the proposals.
        prune: End a fit early if its validation is worse than the median of earlier fits.
        each: Does the given jobs, one after the other or concurrently.
        told: Receives the number and the receipt of each completed trial, earlier trials first.

    Returns:
        The receipts of all trials, by number.

    Raises:
        InputError: When scores of two trials cannot be compared, or the data has changed.
    """
    if type(trials) is not int or trials < 1:
        raise InputError(f"trials = {trials!r}: a whole number of at least 1 is needed")
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
            if number in begun:  # the search was interrupted during this trial
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
            if same:  # a new fit would be bit-identical
                done(number, same[0] | {"seconds": 0.0})
                continue
            medians = json.dumps(medians_of(receipts, number) if prune else {})
            numbers.append(number)
            yield number, options, medians, str(place / TRIALS / str(number))

    for i, receipt in each(jobs()):
        done(numbers[i], receipt)
    return dict(sorted(receipts.items()))


def best_of(receipts: Mapping[int, Receipt]) -> int:
    """Return the number of the best trial, or the first of equal trials. Raise `RunError` if no trial is complete."""
    values = {number: each["value"] for number, each in receipts.items() if each["state"] == "done"}
    if not values:
        raise RunError(f"no trial is complete; note of trial 0: {receipts[0]['note']}")
    return max(values, key=lambda number: values[number])


def chosen(space: Space, receipt: Receipt) -> dict[str, Any]:
    """Return the searched options of a trial."""
    options = json.loads(receipt["options"])
    return {name: options[name] for name in space}


def keep_best(place: Path, best: int) -> None:
    """Copy the run of the best trial to the folder `best`."""
    shutil.rmtree(place / BEST, ignore_errors=True)
    shutil.copytree(place / TRIALS / str(best), place / BEST, ignore=shutil.ignore_patterns(".*"))


def table_of(space: Space, receipts: Mapping[int, Receipt]) -> xr.Dataset:
    """Return a table with one row per trial, as in `Found`. Options that are chosen from a list are JSON."""
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
