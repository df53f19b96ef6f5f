"""The content of a report, read from run folders: requests, fitted models, samples, scores, analyses, pictures."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from probgen import evaluation
from probgen.codecs.toml import inline_toml
from probgen.contract.event import Event
from probgen.errors import FileError, InputError
from probgen.evaluation.means import (
    mean,
    mean_bits_per_dim,
    means_of,
    numbers_of,
    rows_of,
    texts_of_rows,
    weights_of,
)
from probgen.store.files import read_request, seal_of
from probgen.store.folder import ANALYSES, MODEL, PICTURES, REQUEST, ROWS, SAMPLES, SCORES
from probgen.store.trees import from_json, read_dataset, read_tree

TEXTS = 5  # texts of an analysis that are shown


@dataclass(frozen=True)
class Found:
    """The results of one analysis.

    Attributes:
        name: The name of the analysis.
        figures: Numbers without dimensions.
        meanings: A description of each number.
        texts: One text for each row, of the first rows.
        pictures: PNG files.
        notes: Sentences of the analysis, for example a verdict.
    """

    name: str
    figures: dict[str, float]
    meanings: dict[str, str]
    texts: list[str]
    pictures: list[Path]
    notes: list[str]


@dataclass(frozen=True)
class Model:
    """One run.

    Attributes:
        name: The name of the model, that of its folder.
        folder: The folder of the run.
        family: The name of the family.
        event: The event of the model.
        options: All options.
        chosen: Names of the options that the recipe sets.
        provenance: The provenance of the fit.
        parameters: The number of numbers in the state.
        history: The metrics of all steps.
        samples: The samples, or None.
        scores: The scores, or None.
        figures: All single numbers: mean scores, results of analyses, and groups of the fit.
        found: The results of analyses.
        pictures: PNG files of the family.
        files: The SHA-256 of each file of the run.
    """

    name: str
    folder: Path
    family: str
    event: Event
    options: dict[str, Any]
    chosen: list[str]
    provenance: dict[str, Any]
    parameters: int
    history: xr.Dataset
    samples: xr.Dataset | None
    scores: xr.Dataset | None
    figures: dict[str, float]
    found: list[Found]
    pictures: list[Path]
    files: dict[str, str]

    @property
    def warnings(self) -> list[str]:
        """Sentences that a reader should know before the figures: notes of the fit, and verdicts of analyses."""
        return [*self.provenance.get("notes", []), *(note for found in self.found for note in found.notes)]


@dataclass(frozen=True)
class Gathered:
    """The content of a report.

    Attributes:
        title: The title.
        reference: The source that the recipe names.
        recipe: The request of the recipe, or that of the single run.
        command: The command that makes the runs again.
        data: Name, split, number of rows and SHA-256 of the data of the fit.
        rows: Some rows of the data, if the runs have them.
        models: The runs.
        table: A row for each model with a likelihood, best first.
        over: The rows that means are over, in words.
        apart: The reason why scores are not compared, or "".
        expected: A row for each expectation of the recipe.
        found: The results of analyses of several models.
    """

    title: str
    reference: str
    recipe: dict[str, Any]
    command: str
    data: dict[str, Any]
    rows: xr.Dataset | None
    models: list[Model]
    table: list[dict[str, Any]] = field(default_factory=list)
    over: str = ""
    apart: str = ""
    expected: list[dict[str, Any]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    @property
    def created(self) -> str:
        """The time of the last fit, as its file has it."""
        return max(str(model.provenance.get("created", "")) for model in self.models)

    @property
    def result(self) -> str:
        """One sentence: the best model, and how much better it is than the second one."""
        if len(self.table) < 2 or self.apart:
            return ""
        best, second = self.table[0], self.table[1]
        less, error = -second["difference"], second["difference_se"]
        if second["rank"] == 1:
            return f"{best['model']} has the largest mean, and {second['model']} is not certainly worse: their kinds of score do not decide it."
        more = f"{less:.3f} ± {error:.3f} nats" if math.isfinite(error) else f"{less:.3f} nats"
        return f"{best['model']} is {more} per row better than {second['model']} (paired difference and its standard error)."


def gather(folders: Sequence[Path], title: str | None = None) -> Gathered:
    """Read run folders.

    Args:
        folders: Folders of recipes or of single runs.
        title: The title of the report; by default that of the first recipe.

    Returns:
        The content of a report.

    Raises:
        InputError: For a folder that is not a run, or two runs of one name.
        FileError: For a damaged file, or a run without a fitted model.
    """
    models: list[Model] = []
    requests = []
    for folder in folders:
        request, inside = _inside(folder)
        requests.append(request)
        models += [_model(each, request if each != folder else {}) for each in inside]
    models = _named(models)
    first, recipe = folders[0], requests[0]
    whole = Gathered(
        title or str(recipe.get("title") or f"{models[0].family}: {first.resolve().name}"),
        str(recipe.get("reference", "")),
        recipe,
        _command(first, models),
        models[0].provenance.get("data", {}),
        read_dataset(first / ROWS, "rows") if (first / ROWS).is_file() else None,
        models,
        expected=_expected(recipe, models),
        found=[*_analyses(first)] if first != models[0].folder else [],
    )
    return _compared(whole)


def _inside(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The request of a folder, and the runs in it: itself, or those of a recipe in the recipe's order."""
    if not folder.is_dir() or not (folder / REQUEST).is_file():
        raise InputError(
            f"{folder}: not a run, it has no {REQUEST}. Give a folder that probgen run or probgen fit has written."
        )
    request = read_request(folder / REQUEST)
    if (folder / MODEL).exists():
        return request, [folder]
    names = [name for name in request.get("models", {}) if (folder / name / MODEL).is_file()]
    if not names:
        raise FileError(f"{folder}: no fitted model. If the run was interrupted, continue it with --resume.")
    return request, [folder / name for name in names]


def _model(folder: Path, recipe: Mapping[str, Any]) -> Model:
    tree = read_tree(folder / MODEL)
    where = str(folder / MODEL)
    try:
        about = tree["/probgen"].attrs
        state, history = tree["/probgen/state"].to_dataset(), tree["/probgen/history"].to_dataset()
        event = Event.from_dict(from_json(about["event"], where))
        options, provenance = from_json(about["options"], where), from_json(about["provenance"], where)
        family = str(about["family"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{where} is not a fitted model: {type(error).__name__} {error}") from None
    groups = _below(tree, "/probgen/groups/")
    scores = read_dataset(folder / SCORES, "scores") if (folder / SCORES).is_file() else None
    figures = means_of(scores) if scores is not None else {}
    found = [*_analyses(folder)]
    for numbers in (*map(numbers_of, groups), *(each.figures for each in found)):
        figures |= numbers
    files = {
        file.relative_to(folder).as_posix(): seal_of(file)
        for file in sorted(folder.rglob("*.h5"))
        if "checkpoints" not in file.parts
    }
    asked = recipe.get("models", {}).get(folder.name, {})
    return Model(
        folder.resolve().name,
        folder,
        family,
        event,
        options,
        [name for name in asked if name in options],
        provenance,
        sum(v.size for v in state.data_vars.values()),
        history,
        read_dataset(folder / SAMPLES, "samples") if (folder / SAMPLES).is_file() else None,
        scores,
        figures,
        found,
        sorted((folder / PICTURES).glob("*.png")),
        {name: seal for name, seal in files.items() if seal},
    )


def _below(tree: xr.DataTree, path: str) -> list[xr.Dataset]:
    """The groups below a path."""
    return [node.to_dataset() for node in tree.subtree if node.path.startswith(path)]


def _analyses(folder: Path) -> Iterator[Found]:
    for file in sorted((folder / ANALYSES).glob("*.h5")):
        result = _result(file)
        figures = numbers_of(result)
        meanings = {name: str(result[name].attrs.get("long_name", "")) for name in figures}
        joined = ["\n".join(each) for each in zip(*texts_of_rows(result).values(), strict=True)][:TEXTS]
        notes = [str(result.attrs[name]) for name in ("summary", "note") if result.attrs.get(name)]
        yield Found(
            file.stem, figures, meanings, joined, sorted(file.parent.glob(f"{file.stem}.*.png")), notes
        )


def _result(file: Path) -> xr.Dataset:
    """The results of an analysis, whatever its group is called."""
    return next((group for group in _below(read_tree(file), "/probgen/") if group.data_vars), xr.Dataset())


def _named(models: list[Model]) -> list[Model]:
    """Models by names that differ: those of folders, and where two are equal with the folder above."""
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        models = [
            replace(model, name=f"{model.folder.resolve().parent.name}/{model.name}") for model in models
        ]
    if len({model.name for model in models}) < len(models):
        raise InputError("two runs have the same name; give each run once")
    return models


def _compared(whole: Gathered) -> Gathered:
    """The same with the table of scores."""
    scored = {
        model.name: model.scores
        for model in whole.models
        if model.scores is not None and "log_prob" in model.scores
    }
    if not scored:
        return whole
    apart, table, over = "", [], ""
    try:
        compared = evaluation.compare(scored)
        over = str(compared.attrs["over"])
        table = [
            {"model": str(name), **{str(k): v.sel(model=name).item() for k, v in compared.data_vars.items()}}
            for name in compared["model"].values
        ]
    except InputError as error:
        apart = str(error)
        for name, scores in scored.items():
            value, se = mean(scores["log_prob"], weights_of(scores))
            table.append({"model": name, "log_prob": value, "log_prob_se": se})
        over = ", ".join(dict.fromkeys(rows_of(scores) for scores in scored.values()))
    for row in table:
        values = scored[row["model"]]["log_prob"]
        row |= {name: str(values.attrs.get(name, "")) for name in ("kind", "estimator", "measure")}
        row["bits_per_dim"] = mean_bits_per_dim(scored[row["model"]])
    return replace(whole, table=table, over=over, apart=apart)


def _expected(recipe: Mapping[str, Any], models: Sequence[Model]) -> list[dict[str, Any]]:
    lines = []
    for model in models:
        for name, bound in recipe.get("expect", {}).get(model.folder.name, {}).items():
            value = model.figures.get(name)
            if value is not None:
                met = bound.get("at_least", -math.inf) <= value <= bound.get("at_most", math.inf)
                lines.append({"model": model.name, "figure": name, "value": value, "met": met, **bound})
    return lines


def _command(folder: Path, models: Sequence[Model]) -> str:
    """The command that makes the same numbers again."""
    name = folder.resolve().name
    if models[0].folder != folder:
        return f"probgen run {name}/{REQUEST} --out again"
    model = models[0]
    data = model.provenance.get("data", {})
    words = ["probgen", "fit", model.family, "--data", data.get("name", "DATA")]
    words += ["--seed", str(model.provenance.get("seed", 0))]
    for key, value in model.options.items():
        words += ["--set", f"{key}={inline_toml(value)}"] if value is not None else []
    return shlex.join([*words, "--out", "again"])
