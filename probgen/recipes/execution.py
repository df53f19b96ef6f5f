"""The execution of a recipe: fit, sample, score, analyze."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import evaluation, figures
from probgen.api.analyzing import analyze, save_analysis
from probgen.api.fitting import fit
from probgen.api.pools import Pool
from probgen.api.sampling import sample
from probgen.api.scoring import score
from probgen.codecs.texts import encode_all, texts_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.rows import evenly
from probgen.contract.sizes import shards_of, sizes_of
from probgen.contract.world import refuse_several
from probgen.data import as_dataset
from probgen.data.attributes import with_conditions
from probgen.data.describe import event_of
from probgen.data.vocabulary import in_symbols_of
from probgen.errors import FileError, InputError, NotOffered, RunError, did_you_mean
from probgen.evaluation.means import mean, means_of, numbers_of, rows_of, texts_of_rows, weights_of
from probgen.figures import heading, source
from probgen.plugins.analysis import analysis as find_analysis
from probgen.plugins.family import family as find_family
from probgen.plugins.observers import belonging, made
from probgen.recipes.draws import COLUMNS, history, names_of, picture_of, real_rows, write_sounds
from probgen.recipes.plan import Recipe, check, conditioned_on, located, named_in, needed_in, own_options
from probgen.store.files import read_file, read_request, without_none, write_file, write_request
from probgen.store.folder import COMPLETE, MODEL, PICTURES, REPORT, REQUEST, ROWS, SAMPLES, SCORES
from probgen.store.trees import from_json, to_json, write_dataset

SHOWN = 5  # maximum number of rows of an analysis among the texts
KEPT = 64  # scored rows that are kept for the report
SEEN = (
    "the scored rows are the rows of the fit, so their scores do not apply to other rows. To divide a table, set "
    "split = 'train' and valid = 'valid' in [data], and split = 'test' in [score]"
)


@dataclass
class Result:
    """The result of one model of a recipe.

    Attributes:
        model: The name of the model.
        family: The family of the model.
        run: The run folder.
        fitted: The fitted model.
        scores: The scores of the rows, or None.
        figures: Single numbers: mean scores, results of analyses, and results of the fit.
        pictures: The paths of PNG files.
        texts: Samples and results of analyses that are texts.
        notes: Steps that were left out, with reasons.
        seconds: The duration in seconds.
    """

    model: str
    family: str
    run: Path
    fitted: Fitted = field(repr=False)
    scores: xr.Dataset | None = field(default=None, repr=False)
    figures: dict[str, float] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def keep(self, drawn: Mapping[str, Any], folder: Path) -> None:
        """Save figures to a folder, and record the paths of the files.

        Args:
            drawn: Matplotlib figures by name.
            folder: The folder. It is created if there is a figure.
        """
        if drawn:
            folder.mkdir(exist_ok=True)
        for name, figure in drawn.items():
            self.pictures.append(folder / f"{name}.png")
            figures.save(figure, self.pictures[-1])
            made("picture", self.pictures[-1])


def execute(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    data_dir: str | None = None,
    progress: bool = False,
    pool: Pool | None = None,
) -> Iterator[Result]:
    """Fit, sample, score and analyze each model of a recipe; each model has its own run in `out`.

    Analyses of several models come last, and are written to `out` itself. Their numbers are added to the results of
    the models after the last result was yielded.

    Args:
        recipe: The recipe.
        out: The folder for the runs.
        resume: Resume the runs in `out`.
        force: Replace the runs in `out`.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        data_dir: The folder with data sets.
        progress: Show progress bars on stderr.
        pool: Workers that can also write to `out`. They fit the models concurrently first, with the same results.

    Yields:
        The result of each model, in the order of the recipe.

    Raises:
        InputError: When the recipe or the data is invalid, or `out` contains another run.
        PluginError: When a plugin is not installed, or returns an invalid result.
        RunError: When a folder cannot be written, or a worker fails.
        DivergedError: When a parameter or the loss is no longer finite.
    """
    refuse_several("a recipe")
    check(recipe)

    data, valid = _rows_of_fit(recipe, data_dir)
    scored_split, fit_split = (
        recipe.data.part(recipe.score.split, "test"),
        recipe.data.part(recipe.data.split, "train"),
    )
    scored = rows_of_split(recipe, data_dir, scored_split)
    seen = recipe.data.path is not None and scored_split == fit_split
    _check_data(recipe, data, set(needed_in(recipe)))
    begin(recipe.request, out, resume, force)
    whole = {"folder": out, "recipe": recipe.title}
    write_dataset(out / ROWS, "rows", evenly(scored, KEPT).drop_vars("weight", errors="ignore"))
    with belonging(**whole):
        made("rows", out / ROWS)
    common: dict[str, Any] = {"seed": recipe.seed, "device": device, "progress": progress}
    several = {name for name in recipe.analyses if find_analysis(name).several}
    results: list[Result] = []
    spent = dict.fromkeys(recipe.models, 0.0)
    if pool is not None:
        spent = _fitted_by(pool, recipe, out, resume, force, device, data_dir)
        resume, force = True, False
    single = [analysis for analysis in recipe.analyses if analysis not in several]
    for name, model in recipe.models.items():
        begun, run = time.monotonic(), out / name
        # not around `yield`: the caller would be within the context, too
        with belonging(folder=run, model=name, family=model.family, recipe=recipe.title):
            options = located(model.options, out, recipe.models)
            fitted = fit(
                model.family, data, valid=valid, out=run, resume=resume, force=force, **common, **options
            )
            result = Result(name, model.family, run, fitted)
            if seen:
                result.notes.append(SEEN)
            _continue(recipe, result, (data, scored), single, common)
        result.seconds = spent[name] + time.monotonic() - begun
        results.append(result)
        yield result
    for analysis in sorted(several):
        some = [result for result in results if result.model in recipe.analyzed(analysis)]
        models = {result.model: result.fitted for result in some}
        with belonging(**whole):
            _analyze(recipe, analysis, models, (data, scored), some, out, recipe.title, common)
    write_file(out / COMPLETE, to_json({each.model: _beside(each, out) for each in results}).encode())


def _beside(result: Result, out: Path) -> dict[str, Any]:
    """Return what the other files of a run do not have of a result."""
    pictures = [os.path.relpath(picture, out) for picture in result.pictures]
    return {
        "texts": result.texts,
        "notes": result.notes,
        "pictures": pictures,
        "seconds": result.seconds,
    }


def beside(out: Path) -> dict[str, dict[str, Any]]:
    """Return what a complete recipe stores of each result in addition to its runs.

    Args:
        out: The folder of the recipe.

    Returns:
        By model, the arguments `texts`, `notes`, `pictures` and `seconds` of `Result`.

    Raises:
        FileError: When the file is damaged.
    """
    found = from_json(read_file(out / COMPLETE), str(out / COMPLETE))
    try:
        return {
            str(model): {**of, "pictures": [out / picture for picture in of["pictures"]]}
            for model, of in found.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise FileError(f"{out / COMPLETE} is damaged. Run the recipe again with --resume.") from None


def _continue(
    recipe: Recipe,
    result: Result,
    rows: tuple[xr.Dataset, xr.Dataset],
    analyses: Sequence[str],
    common: dict[str, Any],
) -> None:
    """Sample, score and analyze a fitted model, and draw its figures."""
    name, run, fitted = result.model, result.run, result.fitted
    data, scored = rows
    title = f"{recipe.title or name}: {name}"
    result.keep(history(fitted, title), run)
    if fitted.definition.offers("sample"):
        _draw(recipe, result, data, scored, title, common)
    with suppress(InputError):  # the family has no figure for this event
        own = in_symbols_of(fitted.event, data)
        pictures = fitted.definition.pictures(fitted, own, seed=recipe.seed, device=common["device"])
        result.keep(pictures, run / PICTURES)
    if fitted.definition.offers("score"):
        options = own_options(recipe.score.model_extra or {}, fitted.definition, "score")
        result.scores = score(fitted, scored, **common, **options)
        write_dataset(run / SCORES, "scores", result.scores)
        made("scores", run / SCORES)
        result.figures |= means_of(result.scores)
    for group in fitted.groups.values():
        result.figures |= numbers_of(group)
    for analysis in analyses:
        if name in recipe.analyzed(analysis):
            _analyze(recipe, analysis, fitted, rows, [result], run, title, common)


def _fitted_by(
    pool: Pool, recipe: Recipe, out: Path, resume: bool, force: bool, device: str | None, data_dir: str | None
) -> dict[str, float]:
    """Fit the models concurrently, each after the models that it builds on, and return the seconds of each fit."""
    shared = (*recipe.traveling(data_dir), str(out.resolve()), device, resume, force)
    spent: dict[str, float] = {}
    while len(spent) < len(recipe.models):
        ready = [
            name
            for name in recipe.models
            if name not in spent and named_in(recipe.models[name].options) <= spent.keys()
        ]
        for i, seconds in pool.each(fit_one, ((name,) for name in ready), shared=shared):
            spent[ready[i]] = seconds
    return spent


def fit_one(
    text: str, data_dir: str | None, out: str, device: str | None, resume: bool, force: bool, name: str
) -> float:
    """Fit one model of a recipe on a worker, which receives plain values, and return the duration in seconds."""
    begun, recipe = time.monotonic(), checked(Recipe, json.loads(text), "the recipe")
    data, valid = _rows_of_fit(recipe, data_dir)
    model, run = recipe.models[name], Path(out) / name
    with belonging(folder=run, model=name, family=model.family, recipe=recipe.title):
        fit(
            model.family, data, valid=valid, out=run, resume=resume, force=force, seed=recipe.seed, device=device,
            **located(model.options, Path(out), recipe.models),
        )  # fmt: skip
    return time.monotonic() - begun


def _rows_of_fit(recipe: Recipe, data_dir: str | None) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Return the rows to fit to, and the validation rows or None."""
    valid = recipe.data.part(recipe.data.valid, "valid")
    data = rows_of_split(recipe, data_dir, recipe.data.part(recipe.data.split, "train"))
    return data, rows_of_split(recipe, data_dir, valid) if valid is not None else None


def rows_of_split(recipe: Recipe, data_dir: str | None, split: str | None) -> xr.Dataset:
    """Return the rows of a split, with the conditions that the models need."""
    rows = as_dataset(recipe.data.source, split, data_dir, **recipe.data.reading)
    return with_conditions(evenly(rows, recipe.data.rows), needed_in(recipe))


def _draw(
    recipe: Recipe, result: Result, data: xr.Dataset, scored: xr.Dataset, title: str, common: dict[str, Any]
) -> None:
    """Sample from a model, and store the samples as a figure, as sounds or as texts.

    If the model is conditional on images, the conditions are the first scored rows of one size. A model that cannot be
    sampled is left out.
    """
    fitted, event = result.fitted, result.fitted.event
    given: dict[str, Any] = {k: list(v) for k, v in recipe.sample.given.items() if k in event.given}
    told = names_of(given, data) * recipe.sample.n
    n: int = recipe.sample.n
    condition: Any = None
    real = real_rows(fitted, scored)
    if any(part.is_image for part in event.given.values()):
        own = in_symbols_of(event, scored)
        rows = next(shards_of(sizes_of(own), event.channels, n))
        kept = [name for name in (*event.given, "size") if name in own]
        condition, n = own.isel(row=rows)[kept], 1
        real = None if real is None else own["x"].isel(row=rows).values
    elif fitted.definition.needed:
        condition = fitted.definition.of_rows(fitted.options, evenly(scored, n))
        n, real = 1, None
    if recipe.sample.prompt is not None:
        given["x"] = recipe.sample.prompt
    options = own_options(recipe.sample.model_extra or {}, fitted.definition, "sample")
    try:
        draws = sample(
            fitted, n, given=condition if condition is not None else given or None, **common, **options
        )
    except NotOffered as error:
        result.notes.append(f"samples were left out: {error}")
        return
    write_dataset(result.run / SAMPLES, "samples", draws)
    made("samples", result.run / SAMPLES)
    names = [column.name for column in event.columns]
    if condition is None and event.dims[-1:] == ("width",) and 1 < len(told) // recipe.sample.n <= COLUMNS:
        names = told[: len(told) // recipe.sample.n]  # a column of images for each condition
    if event.rate:
        made(
            "samples",
            *write_sounds(result.run, draws["x"].values.reshape(-1, draws.sizes["time"]), event.rate),
        )
        names = told
    texts = texts_of(draws["x"])
    if texts and told:
        texts = [f"{known} -> {text}" for known, text in zip(told, texts, strict=True)]
    result.texts += texts
    if not texts:
        with suppress(InputError):  # there is no figure for this event
            sizes = draws["x"].sizes
            total = sizes.get("sample", 1) * sizes.get("row", 1)
            shows = "Samples" if real is None else "Samples and rows of the data"
            said = heading(shows, title, f"{total} samples", source(scored.attrs), f"seed {recipe.seed}")
            result.keep({"samples": picture_of(fitted, draws, said, names, real)}, result.run)


def _analyze(
    recipe: Recipe,
    name: str,
    fitted: Fitted | Mapping[str, Fitted],
    rows: tuple[xr.Dataset, xr.Dataset],
    results: list[Result],
    out: Path,
    title: str,
    common: dict[str, Any],
) -> None:
    """Run one analysis, and add its numbers and texts to the results. A model that it does not apply to is left out."""
    reference, scored = rows
    last = results[-1]
    try:
        found = analyze(
            name, fitted, scored, reference=reference, title=title, folder=out, **common,
            **located(recipe.analyses[name], last.run.parent, recipe.models),
        )  # fmt: skip
    except NotOffered as error:
        last.notes.append(f"{name} was left out: {error}")
        return
    files = save_analysis(found, out)
    last.pictures += [file for file in files if file.suffix == ".png"]
    texts = texts_of_rows(found)
    rows_of_texts = ["\n  ".join(each) for each in zip(*(t[:SHOWN] for t in texts.values()), strict=True)]
    last.texts[:0] = rows_of_texts
    for result in results:
        at = found.sel(model=result.model) if "model" in found.indexes else found
        result.figures |= numbers_of(at)


def _check_data(recipe: Recipe, data: xr.Dataset, needed: set[str]) -> None:
    """Check samples and analyses against the data and the models before the first fit, or raise `InputError`."""
    event = event_of(data)
    for name, options in recipe.analyses.items():
        found = find_analysis(name)
        found.check(event, checked(found.options, located(options, Path(), recipe.models), name))
    if recipe.sample.prompt is not None and not event.is_text:
        raise InputError(f"sample.prompt = {recipe.sample.prompt!r}: x is not a text, but {event}")
    wanted = recipe.sample.given
    events = event_of(data, needed).given
    images = {name for name, part in events.items() if part.is_image}
    free: set[str] = set()  # conditions that do not come from the scored rows
    for model in recipe.models.values():
        names = set(conditioned_on(model, recipe.models))
        if not (names & images or find_family(model.family).needed):
            free |= names
    for name in sorted(free ^ wanted.keys()):
        if name in needed - free:
            raise InputError(f"sample.given.{name}: this condition comes from the scored rows. Leave it out.")
        if name in needed:
            raise InputError(
                f"sample.given.{name} is missing: a model is conditional on {name!r}. Add values for the samples."
            )
        raise InputError(f"sample.given.{name}: {did_you_mean(name, needed)}")
    for name in wanted:
        _check_given(name, wanted[name], events[name])
    if len({len(values) for values in wanted.values()}) > 1:
        raise InputError(
            "sample.given: the conditions have different numbers of values. Give equally many values."
        )


def _check_given(name: str, values: Sequence[int | str], event: Event) -> None:
    if event.dims:
        if not (event.is_text and values and all(isinstance(value, str) and value for value in values)):
            raise InputError(f"sample.given.{name} = {list(values)}: a list of texts is needed, for {event}")
        try:
            encode_all([str(value) for value in values], event.symbols)
        except InputError as error:
            raise InputError(f"sample.given.{name}, {error}") from None
    elif event.symbols and values and all(isinstance(value, str) for value in values):
        for value in values:
            if value not in event.symbols:
                raise InputError(f"sample.given.{name}: {value!r}; {did_you_mean(str(value), event.symbols)}")
    elif not values or not all(isinstance(v, int) and 0 <= v < (event.levels or 0) for v in values):
        raise InputError(
            f"sample.given.{name} = {list(values)}: whole numbers from 0 to {event.levels} - 1 are needed"
        )


def refuse(request: dict[str, Any], out: Path, resume: bool, force: bool) -> None:
    """Raise `InputError` if a folder has runs that a request may neither resume nor replace."""
    if (out / REQUEST).exists() and not (resume or force):
        raise InputError(
            f"{out} already contains a run. Resume it (--resume), replace it (--force), or choose another --out."
        )
    if (out / MODEL).exists():
        raise InputError(
            f"{out} contains the run of a single fit, but a recipe needs its own folder. Choose another --out."
        )
    if (out / REQUEST).exists() and resume and not same_request(request, out):
        raise InputError(
            f"{out} was started with another recipe, see {out / REQUEST}. Run the same recipe, or choose another --out."
        )


def same_request(request: dict[str, Any], out: Path) -> bool:
    """Return whether the runs of a folder have this request."""
    return (out / REQUEST).exists() and read_request(out / REQUEST) == without_none(request)


def begin(request: dict[str, Any], out: Path, resume: bool, force: bool) -> None:
    """Create the folder of a recipe, and write its request."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}") from None
    refuse(request, out, resume, force)
    for result in (COMPLETE, REPORT):  # of an earlier run: until the end there is none
        (out / result).unlink(missing_ok=True)
    write_request(out / REQUEST, request)


def table(results: list[Result]) -> list[dict[str, Any]]:
    """Return a table with one row per model.

    A row has the mean log-likelihood with its standard error, the difference to the best model, the bits per dimension
    and the other numbers of the model.

    Args:
        results: The results of the models.

    Returns:
        One dictionary per model.
    """
    scored = {r.model: r.scores for r in results if r.scores is not None and "log_prob" in r.scores}
    compared = None
    if scored:
        try:
            compared = evaluation.compare(scored)
        except InputError:
            compared = None  # the scores cannot be compared, but each model has its own numbers
    rows = []
    for result in results:
        row: dict[str, Any] = {"model": result.model, "family": result.family, **result.figures}
        if result.model in scored:
            values = scored[result.model]["log_prob"]
            error = mean(values, weights_of(scored[result.model]))[1]
            row["log_prob_se"] = error if np.isfinite(error) else None
            row |= {name: values.attrs[name] for name in ("kind", "estimator", "measure")}
            row["over"] = rows_of(scored[result.model])
            if compared is not None:
                at = compared.sel(model=result.model)
                row |= {name: float(at[name]) for name in ("difference", "difference_se")}
                row["rank"] = int(at["rank"])
        rows.append(row | {"seconds": result.seconds, "run": str(result.run)})
    return rows


def expectations(recipe: Recipe, results: list[Result]) -> list[dict[str, Any]]:
    """Compare the results of a recipe with its expectations.

    Args:
        recipe: The recipe.
        results: The results of the models.

    Returns:
        One dictionary per expectation, with the result, the bounds, and whether the bounds are met.

    Raises:
        InputError: When a model has no result of the expected name.
    """
    lines = []
    for result in results:
        figures = result.figures
        for name, bound in recipe.expect.get(result.model, {}).items():
            if name not in figures:
                raise InputError(f"expect.{result.model}.{name}: {did_you_mean(name, figures)}")
            value = figures[name]
            met = (bound.at_least is None or value >= bound.at_least) and (
                bound.at_most is None or value <= bound.at_most
            )
            lines.append(
                {"model": result.model, "figure": name, "value": value, **bound.model_dump(), "met": met}
            )
    return lines
