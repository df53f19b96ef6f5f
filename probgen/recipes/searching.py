"""The execution of the table `[search]` of a recipe.

Options of one model are chosen by validation rows; the best model is scored on test rows at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import xarray as xr

from probgen import evaluation, figures
from probgen.api import searching
from probgen.api.loading import load
from probgen.api.pools import Pool
from probgen.api.proposing import importances
from probgen.api.scoring import score
from probgen.api.trials import Job, Receipt, attempt
from probgen.contract.options import checked
from probgen.contract.ranges import Choice, Range, Space
from probgen.contract.world import refuse_several
from probgen.errors import InputError
from probgen.plugins.family import family as find_family
from probgen.plugins.observers import belonging, made
from probgen.recipes.execution import rows_of_split
from probgen.recipes.plan import Recipe, check, check_search, own_options
from probgen.store.files import without_none, write_whole
from probgen.store.folder import SCORES
from probgen.store.trees import write_dataset

OWN = "recipe"  # name of the options of the recipe; the others are `best`


@dataclass
class Searched:
    """The result of a search.

    Attributes:
        model: The name of the model in the recipe.
        out: The folder of the search.
        best: The number of the best trial. Trial 0 has the options of the recipe.
        options: The searched options of trial 0 and of the best trial: {"recipe": {...}, "best": {...}}.
        trials: One row per trial, as in `probgen.api.searching.Found`.
        test: The result of `probgen.compare` for both trials on test rows, by `model`. It is None without test rows.
        pictures: The paths of PNG files.
        notes: Steps that were left out, with reasons.
    """

    model: str
    out: Path
    best: int
    options: dict[str, dict[str, Any]]
    trials: xr.Dataset = field(repr=False)
    test: xr.Dataset | None = field(default=None, repr=False)
    pictures: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def search(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    data_dir: str | None = None,
    progress: bool = False,
    pool: Pool | None = None,
    told: Callable[[int, Receipt], None] | None = None,
) -> Searched:
    """Search options of one model of a recipe.

    The folder `out` stores the study, all trials, and a run and a recipe with the best options. Fits and choices use the
    rows of the fit and the validation rows. The test rows are read after the last trial.

    Args:
        recipe: A recipe with a table `[search]`.
        out: The folder for the search.
        resume: Resume the search in `out`, possibly with more trials.
        force: Replace the search in `out`.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        data_dir: The folder with data sets.
        progress: Show progress bars on stderr.
        pool: Workers that can also write to `out`. They do trials concurrently. The proposed options then depend on the
            order in which trials end, so that the search is not reproducible.
        told: Receives the number and the receipt of each completed trial, earlier trials first.

    Returns:
        The result of the search.

    Raises:
        InputError: When the recipe or the data is invalid, or `out` contains something else.
        NotOffered: When the family has no log-probability.
        PluginError: When the family is not installed, or returns an invalid result.
        RunError: When the folder cannot be written, or no trial is complete.
    """
    refuse_several("search")
    name, space = check_search(recipe)
    check(recipe)
    asked, model = recipe.search, recipe.models[name]
    assert asked is not None
    usual = checked(find_family(model.family).options("fit"), model.options, name).model_dump(mode="json")
    request = recipe.model_dump(mode="json", exclude_defaults=True) | {"seed": recipe.seed}
    request["search"].pop("trials", None)  # a search can be resumed with more trials
    if pool is None:
        rows = _rows(recipe, data_dir)

        def each(jobs: Iterator[Job]) -> Iterator[tuple[int, Receipt]]:
            shared = (model.family, *rows, recipe.seed, device, progress)

            def one(job: Job) -> Receipt:
                with _named(recipe, name):
                    return attempt(*shared, *job)

            return ((i, one(job)) for i, job in enumerate(jobs))
    else:
        shared = (*recipe.traveling(data_dir), name, device)

        def each(jobs: Iterator[Job]) -> Iterator[tuple[int, Receipt]]:
            return pool.each(trial, jobs, shared=shared, spare=0)  # each proposal uses the earlier receipts

    place = out.resolve()
    with searching.opened(place, request, resume=resume, force=force) as study:
        receipts = searching.tried(
            place, study, space, usual, model.options, asked.trials, recipe.seed, asked.prune, each, told
        )
        best = searching.best_of(receipts)
        searching.keep_best(place, best)
        found = Searched(
            name,
            out,
            best,
            {OWN: searching.chosen(space, receipts[0]), "best": searching.chosen(space, receipts[best])},
            searching.table_of(space, receipts),
        )
        with _named(recipe, name, out):
            _write_table(found)
            _write_recipe(recipe, found)
            _draw(found, space, importances(study), f"{recipe.title or name}: {name}")
            _test(recipe, found, device, data_dir)
            made("search", out / searching.TABLE, out / searching.RECIPE)
            made("picture", *found.pictures)
    return found


def trial(
    text: str,
    data_dir: str | None,
    name: str,
    device: str | None,
    number: int,
    options: str,
    medians: str,
    folder: str,
) -> Receipt:
    """Do one trial on a worker, which receives plain values: the recipe as JSON, the name of the model, and a `Job`."""
    recipe = checked(Recipe, json.loads(text), "the recipe of the search")
    rows = _rows(recipe, data_dir)
    family = recipe.models[name].family
    with _named(recipe, name):
        return attempt(family, *rows, recipe.seed, device, False, number, options, medians, folder)


def _named(recipe: Recipe, model: str, folder: Path | None = None) -> AbstractContextManager[None]:
    return belonging(folder=folder, model=model, family=recipe.models[model].family, recipe=recipe.title)


def _rows(recipe: Recipe, data_dir: str | None) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the rows to fit to, and the validation rows."""
    return _split(recipe, data_dir, recipe.data.split, "train"), _split(
        recipe, data_dir, recipe.data.valid, "valid"
    )


def _split(recipe: Recipe, data_dir: str | None, wanted: str | None, usual: str) -> xr.Dataset:
    return rows_of_split(recipe, data_dir, recipe.data.part(wanted, usual))


def _write_table(found: Searched) -> None:
    text = found.trials.to_dataframe().to_csv(sep="\t")
    write_whole(found.out / searching.TABLE, text.encode())


def _write_recipe(recipe: Recipe, found: Searched) -> None:
    """Write the recipe with the best options. It has no checksum, because users run and change it."""
    values = without_none(recipe.model_dump(mode="json", exclude_defaults=True))
    values["models"][found.model] |= without_none(found.options["best"])
    write_whole(found.out / searching.RECIPE, tomli_w.dumps(values).encode())


def _draw(found: Searched, space: Space, mattering: dict[str, float], title: str) -> None:
    value, options = found.trials["value"].values, {n: found.trials[f"options.{n}"].values for n in space}
    logs = [name for name, part in space.items() if isinstance(part, Range) and part.log]
    texts = {name: part.texts for name, part in space.items() if isinstance(part, Choice)}
    for name, figure in (
        (searching.HISTORY, figures.search_history(found.trials["trial"].values, value, title)),
        (searching.IMPORTANCE, figures.importance(mattering, options, value, logs, texts, title)),
    ):
        found.pictures.append(found.out / name)
        figures.save(figure, found.pictures[-1])
    if not mattering:
        found.notes.append(
            "importances were left out: too few trials are complete, or all have the same value"
        )


def _test(recipe: Recipe, found: Searched, device: str | None, data_dir: str | None) -> None:
    """Score the best model, and the model with the options of the recipe, on rows that no choice has used."""
    seen = recipe.data.part(recipe.data.split, "train"), recipe.data.part(recipe.data.valid, "valid")
    if recipe.data.part(recipe.score.split, "test") in (None, *seen):
        found.notes.append(
            "there are no test rows. Set split = 'NAME' in [score] to rows that the search does not use."
        )
        return
    rows = _split(recipe, data_dir, recipe.score.split, "test")

    def scored(run: Path) -> xr.Dataset:
        fitted = load(run)
        options = own_options(recipe.score.model_extra or {}, fitted.definition, "score")
        return score(fitted, rows, seed=recipe.seed, device=device, **options)

    scores = {"best": scored(found.out / searching.BEST)}
    write_dataset(found.out / searching.BEST / SCORES, "scores", scores["best"])
    made("scores", found.out / searching.BEST / SCORES)
    if found.best and str(found.trials["state"].values[0]) == "done":
        scores[OWN] = scored(found.out / searching.TRIALS / "0")
    try:
        found.test = evaluation.compare(scores)
    except InputError as error:
        found.notes.append(f"test rows: {error}")
