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
from probgen.readers.words import words as words_of_reading
from probgen.store.files import read_request, seal_of
from probgen.store.folder import ANALYSES, MODEL, PICTURES, REQUEST, ROWS, SAMPLES, SCORES
from probgen.store.trees import from_json, read_dataset, read_tree

TEXTS = 5  # texts of an analysis that are shown
PARTS = "recipes"  # the table of a request that consists of recipes
JUDGED, MEASURES = (
    "diagnose",
    ("coverage", "precision", "recall", "accuracy"),
)  # of samples, beside likelihoods


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
class Source:
    """Data that models were fitted to.

    Attributes:
        about: Name, split, number of rows and SHA-256.
        event: The description of a row.
        models: The names of the models.
    """

    about: dict[str, Any]
    event: Event
    models: list[str]

    @property
    def called(self) -> str:
        """The name of the data, or that of their file, with the split."""
        name = str(self.about.get("name") or Path(self.about.get("path", "")).name or "Data without a name")
        return f"{name}, split {self.about['split']}" if self.about.get("split") else name


@dataclass(frozen=True)
class Gathered:
    """The content of a report.

    Attributes:
        title: The title.
        reference: The source that the recipe names.
        recipes: The request of each recipe or single run.
        command: The commands that make the runs again, one in each line.
        sources: The data of the fits.
        rows: Some rows of the first data, if the runs have them.
        models: The runs.
        missing: The models of the recipes without a fitted model.
        table: A row for each model with a likelihood, best first.
        over: The rows that means are over, in words.
        apart: The reason why scores are not compared, or "".
        expected: A row for each expectation of the recipe.
        found: The results of analyses of several models.
        parts: The content of each part, if the recipe consists of recipes; the other results are in the parts then.
    """

    title: str
    reference: str
    recipes: list[dict[str, Any]]
    command: str
    sources: list[Source]
    rows: xr.Dataset | None
    models: list[Model]
    missing: list[str] = field(default_factory=list)
    table: list[dict[str, Any]] = field(default_factory=list)
    over: str = ""
    apart: str = ""
    expected: list[dict[str, Any]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    parts: dict[str, Gathered] = field(default_factory=dict)

    @property
    def created(self) -> str:
        """The time of the last fit, as its file has it."""
        return max(str(model.provenance.get("created", "")) for model in self.models)

    @property
    def overview(self) -> list[dict[str, Any]]:
        """A row for each model of images in any part: its likelihood with its kind, and the measures of its samples.

        Rows of the same data follow one another: first by the measure of the likelihood, then by its value.
        """
        rows = [
            {
                "model": model.name,
                "data": _called(model.provenance["data"]),
                **_likelihood(model),
                **_judged(model),
            }
            for model in self.models
            if model.event.is_image
        ]
        order = list(dict.fromkeys(row["data"] for row in rows))
        told = [row for row in rows if "log_prob" in row or any(name in row for name in MEASURES)]
        return sorted(
            told,
            key=lambda row: (
                order.index(row["data"]),
                row.get("measure", "~"),
                -row.get("log_prob", -math.inf),
            ),
        )

    @property
    def result(self) -> str:
        """One sentence: the best model, and how much better it is than the second one."""
        if len(self.table) < 2 or self.apart:
            return ""
        best, second = self.table[0], self.table[1]
        less, error = -second["difference"], second["difference_se"]
        if second["rank"] == 1:
            return f"{best['model']} has the largest mean, and {second['model']} is not certainly worse: their kinds of score do not decide it."
        if not math.isfinite(less):
            return (
                f"{best['model']} has the largest mean: that of {second['model']} is not finite."
                if math.isfinite(best["log_prob"])
                else ""
            )
        more = f"{less:.3f} ± {error:.3f} nats" if math.isfinite(error) else f"{less:.3f} nats"
        return f"{best['model']} is {more} per row better than {second['model']} (paired difference and its standard error)."


def gather(folders: Sequence[Path], title: str | None = None) -> Gathered:
    """Read run folders.

    Args:
        folders: Folders of recipes or of single runs, or one folder of a recipe that consists of recipes.
        title: The title of the report; by default that of the first recipe.

    Returns:
        The content of a report.

    Raises:
        InputError: For a folder that is not a run, or two runs of one name.
        FileError: For a damaged file, or a run without a fitted model.
    """
    models: list[Model] = []
    requests, commands, missing, shared = [], list[str](), list[str](), list[Found]()
    if len(folders) == 1 and (request := _request(folders[0])).get(PARTS):
        return _joined(folders[0], request, title)
    for folder in folders:
        request, inside = _inside(folder)
        own = [_model(each, request if each != folder else {}) for each in inside]
        several = [] if inside == [folder] else [_result(file) for file in _analysis_files(folder)]
        own = [_with_shared(model, several) for model in own]
        requests.append(request)
        again = "again" if len(folders) == 1 else f"again-{len(commands) + 1}"
        commands.append(_command(folder, own, again))
        missing += _missing(folder, request, inside)
        shared += _analyses(folder) if inside != [folder] else []
        models += own
    first, recipe = folders[0], requests[0]
    models = _named(models)
    whole = Gathered(
        title or str(recipe.get("title") or f"{models[0].family}: {first.resolve().name}"),
        str(recipe.get("reference", "")),
        requests,
        "\n".join(commands),
        _sources(models),
        read_dataset(first / ROWS, "rows") if (first / ROWS).is_file() else None,
        models,
        missing,
        expected=_expected(requests, folders, models),
        found=shared,
    )
    return _compared(whole)


def _joined(folder: Path, request: dict[str, Any], title: str | None) -> Gathered:
    """The parts of a recipe that consists of recipes, those that have begun."""
    for path in (folder / part for part in request[PARTS]):
        if path.is_symlink() and not path.exists():
            raise FileError(
                f"{path} links to a run that no longer exists. Run the recipe again with --resume."
            )
    begun = [part for part in request[PARTS] if (folder / part / REQUEST).is_file()]
    if not begun:
        raise FileError(f"{folder}: no part has begun. Continue it with --resume.")
    parts = {part: gather([folder / part]) for part in begun}
    models = [
        replace(model, name=f"{part}/{model.name}") for part, each in parts.items() for model in each.models
    ]
    return Gathered(
        title or str(request.get("title") or folder.resolve().name),
        str(request.get("reference", "")),
        [request],
        _again(folder),
        [],
        None,
        models,
        [part for part in request[PARTS] if part not in begun],
        parts=parts,
    )


def _called(data: Mapping[str, Any]) -> str:
    """The name of a data set: the registered one, that of the file, or the beginning of the SHA-256."""
    return str(data.get("name") or Path(data.get("path", "")).name or data.get("sha256", "")[:8])


def _request(folder: Path) -> dict[str, Any]:
    """The request of a folder."""
    if not folder.is_dir() or not (folder / REQUEST).is_file():
        raise InputError(
            f"{folder}: not a run, it has no {REQUEST}. Give a folder that probgen run or probgen fit has written."
        )
    return read_request(folder / REQUEST)


def _inside(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The request of a folder, and the runs in it: itself, or those of a recipe in the recipe's order."""
    request = _request(folder)
    if request.get(PARTS):
        raise InputError(f"{folder} consists of recipes. Give it alone, or give the folders of its parts.")
    if (folder / MODEL).exists():
        return request, [folder]
    names = [name for name in request.get("models", {}) if (folder / name / MODEL).is_file()]
    if not names:
        raise FileError(f"{folder}: no fitted model. If the run was interrupted, continue it with --resume.")
    return request, [folder / name for name in names]


def _missing(folder: Path, request: Mapping[str, Any], inside: Sequence[Path]) -> list[str]:
    """The models of a recipe that have no fitted model."""
    return [] if inside == [folder] else [name for name in request["models"] if folder / name not in inside]


def _sources(models: Sequence[Model]) -> list[Source]:
    """The different data of the fits, in the order of the models."""
    found: dict[str, Source] = {}
    for model in models:
        about = model.provenance.get("data", {})
        key = f"{about} {model.event}"
        found.setdefault(key, Source(about, model.event, [])).models.append(model.name)
    return list(found.values())


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


def _analysis_files(folder: Path) -> list[Path]:
    return sorted((folder / ANALYSES).glob("*.h5"))


def _analyses(folder: Path) -> Iterator[Found]:
    for file in _analysis_files(folder):
        result = _result(file)
        figures = numbers_of(result)
        meanings = {name: str(result[name].attrs.get("long_name", "")) for name in figures}
        joined = ["\n".join(each) for each in zip(*texts_of_rows(result).values(), strict=True)][:TEXTS]
        notes = [str(result.attrs[name]) for name in ("summary", "note") if result.attrs.get(name)]
        yield Found(
            file.stem, figures, meanings, joined, sorted(file.parent.glob(f"{file.stem}.*.png")), notes
        )


def _with_shared(model: Model, results: Sequence[xr.Dataset]) -> Model:
    """A model with its numbers in the results of several models."""
    numbers: dict[str, float] = {}
    for result in results:
        if "model" in result.indexes and model.name in result.indexes["model"]:
            numbers |= numbers_of(result.sel(model=model.name))
    return replace(model, figures=model.figures | numbers)


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
        table = [{"model": name} for name in scored]
        over = ", ".join(dict.fromkeys(rows_of(scores) for scores in scored.values()))
    named = {model.name: model for model in whole.models}
    table = [_likelihood(named[row["model"]]) | row for row in table]
    return replace(whole, table=table, over=over, apart=apart)


def _likelihood(model: Model) -> dict[str, Any]:
    """The mean log-likelihood of a model with its kind, if it has one."""
    if model.scores is None or "log_prob" not in model.scores:
        return {}
    values = model.scores["log_prob"]
    value, error = mean(values, weights_of(model.scores))
    return {
        "log_prob": value,
        "log_prob_se": error,
        "bits_per_dim": mean_bits_per_dim(model.scores),
        **{name: str(values.attrs.get(name, "")) for name in ("kind", "estimator", "measure")},
    }


def _judged(model: Model) -> dict[str, float]:
    """The measures of the samples of a model, if they were compared with rows."""
    figures = next((found.figures for found in model.found if found.name == JUDGED), {})
    return {name: figures[name] for name in MEASURES if name in figures}


def _expected(
    recipes: Sequence[Mapping[str, Any]], folders: Sequence[Path], models: Sequence[Model]
) -> list[dict[str, Any]]:
    """A row for each expectation of the recipe of a model."""
    of = dict(zip(folders, recipes, strict=True))
    lines = []
    for model in models:
        recipe = of.get(model.folder.parent, {})
        for name, bound in recipe.get("expect", {}).get(model.folder.name, {}).items():
            value = model.figures.get(name)
            if value is not None:
                met = bound.get("at_least", -math.inf) <= value <= bound.get("at_most", math.inf)
                lines.append({"model": model.name, "figure": name, "value": value, "met": met, **bound})
    return lines


def _command(folder: Path, models: Sequence[Model], out: str) -> str:
    """The command that makes the same numbers again."""
    if models[0].folder != folder:
        return _again(folder, out)
    model = models[0]
    data = model.provenance.get("data", {})
    words = ["probgen", "fit", model.family, "--data", str(data.get("name") or data.get("path") or "DATA")]
    words += ["--split", str(data["split"])] if data.get("split") else []
    how = data.get("reading", {})
    words += words_of_reading({**how, **how.get("table", {})})
    words += ["--seed", str(model.provenance.get("seed", 0)), "--dtype", str(model.provenance["dtype"])]
    for name, usual in (("device", "cpu"), ("parts", 1)):
        if (value := model.provenance.get(name, usual)) != usual:
            words += [f"--{name}", str(value)]
    for key, value in model.options.items():
        words += ["--set", f"{key}={inline_toml(value)}"] if value is not None else []
    return shlex.join([*words, "--out", out])


def _again(folder: Path, out: str = "again") -> str:
    return shlex.join(["probgen", "run", f"{folder.resolve().name}/{REQUEST}", "--out", out])
