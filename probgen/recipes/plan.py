"""The checked plan of a recipe. A recipe names registered families and data sets; it contains no code."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from probgen import datasets
from probgen.contract.options import Options, checked
from probgen.contract.ranges import Choice, Range, fitting_space, space_of
from probgen.errors import InputError, did_you_mean
from probgen.plugins.registry import find, registered

if TYPE_CHECKING:
    from probgen.contract.definition import Definition


TABLE = ("columns", "drop", "label", "weight", "index", "rare", "kind", "na", "sep", "decimal", "encoding")
ANALYZED = "models"  # key in the table of an analysis that names its models


class Data(Options):
    """The rows of a recipe: a registered data set or a file."""

    name: str | None = Field(None, description="name of a data set (see probgen datasets)")
    path: str | None = Field(None, description="path of a file or folder, relative to the current folder")
    split: str | None = Field(None, description="part to fit to; default: train, if there is one")
    valid: str | None = Field(None, description="part for validation; default: valid, if there is one")
    rate: int | None = Field(None, ge=1, description="sampling rate of sounds in hertz, by resampling")
    size: int | tuple[int, int] | None = Field(
        None, description="images: size after scaling in pixels, (height, width) or one number"
    )
    crop: Literal["center"] | None = Field(
        None, description="images: crop around the center if the aspect ratio differs from size"
    )
    gray: bool = Field(False, description="images: convert colors to gray")
    scale: int | None = Field(None, ge=2, description="images: add `low`, the image at 1/scale of its size")
    columns: tuple[str, ...] | None = Field(
        None, description="tables: column names, or none for numbers, or header for the first line"
    )
    drop: tuple[str, ...] = Field((), description="tables: columns to leave out")
    label: str | None = Field(None, description="tables: column with the labels")
    weight: str | None = Field(None, description="tables: column with the row weights")
    index: str | None = Field(None, description="tables: column with the row names")
    rare: int | None = Field(
        None,
        ge=1,
        description="tables: merge classes with fewer rows, and later unknown classes, into one class",
    )
    kind: dict[str, str] = Field(
        {}, description="tables: kinds of columns: real, binary, count, integer, category, 'low < high'"
    )
    na: tuple[str, ...] = Field((), description="tables: marks of missing values")
    sep: str | None = Field(None, description="tables: column separator")
    decimal: str | None = Field(None, description="tables: decimal mark")
    encoding: str | None = Field(None, description="tables: encoding of the text")
    rows: int | None = Field(None, ge=1, description="maximum number of rows of each part, evenly spaced")

    @model_validator(mode="after")
    def _one(self) -> Data:
        if (self.name is None) == (self.path is None):
            raise ValueError("give either 'name' or 'path'")
        return self

    @property
    def source(self) -> str | Path:
        """The name or path of the data."""
        return self.name if self.name is not None else Path(self.path or "")

    @property
    def reading(self) -> dict[str, Any]:
        """The options for reading files."""
        return {
            "rate": self.rate,
            "size": self.size,
            "crop": self.crop,
            "gray": self.gray,
            "scale": self.scale,
            "table": {name: value for name in TABLE if (value := getattr(self, name))},
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts of the data set."""
        return datasets.find_set(self.name).splits if self.name is not None else ()

    def part(self, wanted: str | None, usual: str) -> str | None:
        """Return the requested part, or the usual part if the data set has it.

        Args:
            wanted: The requested part, or None.
            usual: The usual part.

        Returns:
            The name of the part, or None for all rows.
        """
        return wanted if wanted is not None else usual if usual in self.splits else None


class Model(BaseModel):
    """A model of a recipe: a family, with its options as further keys."""

    model_config = ConfigDict(extra="allow", strict=True)
    family: str

    @property
    def options(self) -> dict[str, Any]:
        """The options of the family, by name."""
        return dict(self.model_extra or {})


def located(values: Any, folder: Path, models: Collection[str], where: str = "") -> Any:
    """Return options with the path of a run for each `{ model = "NAME" }`. Raise `InputError` for an unknown model."""
    if isinstance(values, Mapping):
        if set(values) == {"model"}:
            if values["model"] not in models:
                hint = did_you_mean(str(values["model"]), models) if models else "there is no earlier model"
                raise InputError(f"{where}model = {values['model']!r}: {hint}")
            return str(folder / values["model"])
        return {name: located(value, folder, models, where) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(located(value, folder, models, where) for value in values)
    return values


class Draw(BaseModel):
    """The samples of a recipe, with the options of the families for `sample` as further keys."""

    model_config = ConfigDict(extra="allow", strict=True)
    n: int = Field(default=64, ge=1)
    prompt: str | None = Field(default=None, description="beginning of each text")
    given: dict[str, tuple[int | str, ...]] = Field(
        default_factory=dict,
        description="conditions by name, as numbers or texts; n samples for each",
    )


class Score(BaseModel):
    """The rows to score, with the options of the families for `score` as further keys."""

    model_config = ConfigDict(extra="allow", strict=True)
    split: str | None = None


class Bound(Options):
    """The expected bounds of a result, and the source of the bounds."""

    at_least: float | None = None
    at_most: float | None = None
    source: str = ""

    @model_validator(mode="after")
    def _some(self) -> Bound:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give 'at_least' or 'at_most'")
        return self


class Search(Options):
    """The table `[search]`: the options that `probgen search` chooses by validation rows."""

    model: str | None = Field(None, description="name of the model; may be left out if there is only one")
    trials: int = Field(20, ge=1, description="number of trials; the first has the options of the recipe")
    prune: bool = Field(
        True, description="end a fit early if its validation is worse than the median of the others"
    )
    options: dict[str, Any] = Field(
        description="searched options, each with a range { low, high, log } or a list of values"
    )


class Recipe(Options):
    """A checked plan: data, models, samples, scores, expectations, and one table per analysis.

    Attributes:
        title: The title of the tables and figures.
        reference: The paper or source of the recipe.
        seed: The seed of all random numbers.
        data: The rows.
        models: The models by name, in the order of the fits.
        sample: The samples of each model.
        score: The rows to score.
        expect: The expected bounds of results, by model and by name.
        search: The table of `probgen search`, or None.
    """

    model_config = ConfigDict(extra="allow")

    title: str = ""
    reference: str = ""
    seed: int = Field(0, ge=0)
    data: Data
    models: dict[str, Model] = Field(min_length=1)
    sample: Draw = Field(default_factory=Draw)
    score: Score = Field(default_factory=Score)
    expect: dict[str, dict[str, Bound]] = Field(default_factory=dict)
    search: Search | None = Field(None, description="searched options, for probgen search only")

    @property
    def analyses(self) -> dict[str, dict[str, Any]]:
        """The options of each requested analysis, by the name of the analysis."""
        tables = {name: table for name, table in (self.model_extra or {}).items() if table is not None}
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise InputError(f"{name}: a table of options is needed, not {table!r}")
        return {name: {k: v for k, v in table.items() if k != ANALYZED} for name, table in tables.items()}

    def analyzed(self, analysis: str) -> Collection[str]:
        """Return the models of an analysis: all models, or the models that its table names.

        Args:
            analysis: The name of the analysis.

        Returns:
            The names of the models.

        Raises:
            InputError: When the table names an unknown model.
        """
        names = (self.model_extra or {})[analysis].get(ANALYZED)
        if names is None:
            return list(self.models)
        texts = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        if not texts or not names or len(set(names)) < len(names):
            raise InputError(
                f"{analysis}.{ANALYZED} = {names!r}: a list of different names of models is needed"
            )
        for name in names:
            if name not in self.models:
                raise InputError(f"{analysis}.{ANALYZED}: {did_you_mean(str(name), self.models)}")
        return list(names)

    @property
    def request(self) -> dict[str, Any]:
        """What is written to `recipe.toml` of the runs, and compared when they are resumed."""
        plain = self.model_dump(mode="json", exclude_defaults=True, exclude={"search"})
        return plain | {"seed": self.seed}

    def traveling(self, data_dir: str | None) -> tuple[str, str | None]:
        """Return plain values for processes in other folders.

        Args:
            data_dir: The folder with data sets, or None.

        Returns:
            The recipe as JSON, and the absolute path of the folder or None.
        """
        plain = self.model_dump(mode="json", exclude_defaults=True)
        if self.data.path is not None:
            plain["data"]["path"] = str(Path(self.data.path).resolve())
        return json.dumps(plain), None if data_dir is None else str(Path(data_dir).resolve())

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        for name in self.expect:
            if name not in self.models:
                raise ValueError(f"expect.{name}: {did_you_mean(name, self.models)}")
        if self.search is not None and self.search.model not in (None, *self.models):
            raise ValueError(f"search.model: {did_you_mean(str(self.search.model), self.models)}")
        check_folders("models", self.models)
        return self


def check_folders(table: str, names: Iterable[str]) -> None:
    """Check names that become folders, or raise `ValueError`."""
    for name in names:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"{table}.{name!r}: a name of letters, digits, '-' and '_' is needed")


def check(recipe: Recipe) -> None:
    """Check a recipe before its work starts: families, options and data set.

    Args:
        recipe: The recipe.

    Raises:
        InputError: When a value is invalid. The message names the key.
        PluginError: When a family is not installed or is broken.
    """
    check_names(recipe)
    # imports torch, so it comes after the checks by name
    from probgen.plugins.family import family as find_family

    asked = {"sample": recipe.sample.model_extra or {}, "score": recipe.score.model_extra or {}}
    known = {"sample": set(Draw.model_fields), "score": set(Score.model_fields)}
    names = list(recipe.models)
    for i, (name, model) in enumerate(recipe.models.items()):
        definition = find_family(model.family)
        # the options of a model can name earlier models
        checked(
            definition.options("fit"),
            located(model.options, Path(), names[:i], f"models.{name}: "),
            f"models.{name}",
        )
        for hook, options in asked.items():
            if definition.offers(hook):
                known[hook] |= definition.options(hook).model_fields.keys()
                checked(
                    definition.options(hook),
                    own_options(options, definition, hook),
                    f"{hook}, for models.{name}",
                )
    for table, options in recipe.analyses.items():
        told = named_in(options) & set(names)
        first = min((names.index(name) for name in recipe.analyzed(table) if name not in told), default=0)
        for name in sorted(told):
            if names.index(name) > first:
                raise InputError(
                    f"{table}: it names the model {name!r}, which is not fitted first. Move [models.{name}] before the others."
                )
    for hook, options in asked.items():
        for option in options:
            if option not in known[hook]:
                raise InputError(f"{hook}: unknown option {option!r}; {did_you_mean(option, known[hook])}")
    for split in (recipe.data.split, recipe.data.valid, recipe.score.split):
        if split is not None and recipe.data.splits and split not in recipe.data.splits:
            raise InputError(f"split = {split!r}: {did_you_mean(split, recipe.data.splits)}")


def check_search(recipe: Recipe) -> tuple[str, dict[str, Range | Choice]]:
    """Check the table `[search]` of a recipe.

    Args:
        recipe: The recipe.

    Returns:
        The name of the searched model, and the ranges and choices of its options.

    Raises:
        InputError: When the table is missing or invalid, or the recipe has no validation rows.
        NotOffered: When the family has no scores.
    """
    search = recipe.search
    if search is None:
        raise InputError(
            "the recipe has no options to search. Add a table, e.g. [search.options] with hidden = { low = 16, high = 512 }."
        )
    if search.model is None and len(recipe.models) > 1:
        raise InputError(f"search.model is missing. Choose one of the models: {', '.join(recipe.models)}.")
    name = search.model or next(iter(recipe.models))
    model, space = recipe.models[name], space_of(search.options, "search.options")
    valid, fitted = recipe.data.part(recipe.data.valid, "valid"), recipe.data.part(recipe.data.split, "train")
    if valid is None or fitted in (None, valid):  # a fit to all rows uses the validation rows
        raise InputError(
            "the recipe has no validation rows, which a search needs. Set valid = 'NAME' and another split = 'NAME' in [data]."
        )
    if named_in(model.options):
        raise InputError(f"search.model = {name!r}: it builds on another model. Choose an independent model.")
    from probgen.plugins.family import family as find_family  # imports torch

    definition = find_family(model.family)
    definition.require("score")
    return name, fitting_space(space, definition.options("fit"), model.options, "search.options")


def check_names(recipe: Recipe) -> None:
    """Check that the families and the data set are registered, without imports."""
    for model in recipe.models.values():
        find("families", model.family)
    if recipe.data.name is not None and recipe.data.name not in registered("datasets"):
        raise InputError(
            f"data.name = {recipe.data.name!r}: {did_you_mean(recipe.data.name, registered('datasets'))}"
        )


def named_in(values: Any) -> set[str]:
    """Return the models of the recipe that options name."""
    if isinstance(values, Mapping):
        if set(values) == {"model"}:
            return {str(values["model"])}
        values = list(values.values())
    return set().union(*map(named_in, values)) if isinstance(values, list | tuple) else set()


def conditioned_on(model: Model, models: Collection[str]) -> tuple[str, ...]:
    """Return the names of the conditions of a model, by its options or their defaults."""
    from probgen.contract.definition import conditions_of
    from probgen.plugins.family import family as find_family

    told = located(model.options, Path(), models)
    options = checked(find_family(model.family).options("fit"), told, f"family {model.family!r}")
    return conditions_of(options)


def needed_in(recipe: Recipe) -> list[str]:
    """Return the names of the conditions of all models of a recipe."""
    return sorted({name for model in recipe.models.values() for name in conditioned_on(model, recipe.models)})


def own_options(asked: Mapping[str, Any], definition: Definition, hook: str) -> dict[str, Any]:
    """Return the options that a family has for a hook. Models of one recipe can have different options."""
    fields = definition.options(hook).model_fields
    return {name: value for name, value in asked.items() if name in fields}
