"""TOML to a checked plan. A recipe names registered families and data sets; it cannot run a stranger's code."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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
ANALYZED = "models"  # in the table of an analysis: of which models it is


class Data(Options):
    """Which rows: a registered data set or a file."""

    name: str | None = Field(None, description="a name that `probgen datasets` lists")
    path: str | None = Field(None, description="a file or folder, from where the command is run")
    split: str | None = Field(None, description="the part to fit to; `train` where there is one")
    valid: str | None = Field(None, description="the part to choose by; `valid` where there is one")
    rate: int | None = Field(None, ge=1, description="samples a second that sounds are resampled to")
    size: int | tuple[int, int] | None = Field(
        None, description="of images: (height, width), or both in one number, that they are scaled to"
    )
    crop: Literal["center"] | None = Field(
        None, description="of images: cut off what is beside the middle where the shape is not that of size"
    )
    gray: bool = Field(False, description="of images: colors become gray")
    scale: int | None = Field(
        None, ge=2, description="of images: with `low`, the same made so many times smaller"
    )
    columns: tuple[str, ...] | None = Field(
        None, description="of tables: names of columns; none numbers them, header takes the first line"
    )
    drop: tuple[str, ...] = Field((), description="of tables: columns that are left out")
    label: str | None = Field(None, description="of tables: the column that is the label")
    weight: str | None = Field(None, description="of tables: the column that weighs rows")
    index: str | None = Field(None, description="of tables: the column that names rows")
    rare: int | None = Field(
        None, ge=1, description="of tables: classes of fewer rows are one, as are those that are new later"
    )
    kind: dict[str, str] = Field(
        {}, description="of tables: what columns are: real, binary, count, integer, category, 'low < high'"
    )
    na: tuple[str, ...] = Field((), description="of tables: marks of missing values")
    sep: str | None = Field(None, description="of tables: what parts columns")
    decimal: str | None = Field(None, description="of tables: the decimal mark")
    encoding: str | None = Field(None, description="of tables: of the text")
    rows: int | None = Field(None, ge=1, description="of each part at most so many, evenly spaced")

    @model_validator(mode="after")
    def _one(self) -> Data:
        if (self.name is None) == (self.path is None):
            raise ValueError("give one of 'name' and 'path'")
        return self

    @property
    def source(self) -> str | Path:
        """What to load."""
        return self.name if self.name is not None else Path(self.path or "")

    @property
    def reading(self) -> dict[str, Any]:
        """How files are read."""
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
        """The parts that the data have."""
        return datasets.find_set(self.name).splits if self.name is not None else ()

    def part(self, wanted: str | None, usual: str) -> str | None:
        """The split that is asked for, or the usual one where there is one."""
        return wanted if wanted is not None else usual if usual in self.splits else None


class Model(BaseModel):
    """A family, and its options beside it."""

    model_config = ConfigDict(extra="allow", strict=True)
    family: str

    @property
    def options(self) -> dict[str, Any]:
        """The options of the family."""
        return dict(self.model_extra or {})


def located(values: Any, folder: Path, models: Collection[str], where: str = "") -> Any:
    """Options with the run of each model of the recipe that they name as `{ model = "NAME" }`. Errors: `InputError` for one that is unknown."""
    if isinstance(values, Mapping):
        if set(values) == {"model"}:
            if values["model"] not in models:
                hint = did_you_mean(str(values["model"]), models) if models else "there is no model before it"
                raise InputError(f"{where}model = {values['model']!r}: {hint}")
            return str(folder / values["model"])
        return {name: located(value, folder, models, where) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(located(value, folder, models, where) for value in values)
    return values


class Draw(BaseModel):
    """What to draw, and the family's options of it beside."""

    model_config = ConfigDict(extra="allow", strict=True)
    n: int = Field(default=64, ge=1)
    prompt: str | None = Field(default=None, description="what texts begin with")
    given: dict[str, tuple[int | str, ...]] = Field(
        default_factory=dict,
        description="conditions, n draws of each, texts where they are; for the models that have them",
    )


class Score(BaseModel):
    """What to score, and the family's options of it beside."""

    model_config = ConfigDict(extra="allow", strict=True)
    split: str | None = None


class Bound(Options):
    """What a figure is expected to be."""

    at_least: float | None = None
    at_most: float | None = None
    source: str = ""

    @model_validator(mode="after")
    def _some(self) -> Bound:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give 'at_least' or 'at_most'")
        return self


class Search(Options):
    """What `probgen search` chooses, by the validation rows."""

    model: str | None = Field(None, description="which one; may be left out where there is one")
    trials: int = Field(20, ge=1, description="fits, the first of them with the recipe's own options")
    prune: bool = Field(
        True, description="whether fits end early whose validation is worse than that of half of the others"
    )
    options: dict[str, Any] = Field(
        description="of each option a range { low, high, log }, or a list of values"
    )


class Recipe(Options):
    """A plan: data, models, what to draw and score, what to expect; and beside these a table for each analysis, by its name."""

    model_config = ConfigDict(extra="allow")

    title: str = ""
    reference: str = ""
    seed: int = Field(0, ge=0)
    data: Data
    models: dict[str, Model] = Field(min_length=1)
    sample: Draw = Field(default_factory=Draw)
    score: Score = Field(default_factory=Score)
    expect: dict[str, dict[str, Bound]] = Field(default_factory=dict)
    search: Search | None = Field(None, description="of `probgen search` alone")

    @property
    def analyses(self) -> dict[str, dict[str, Any]]:
        """The options of each analysis that is asked for, by its name."""
        tables = {name: table for name, table in (self.model_extra or {}).items() if table is not None}
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise InputError(f"{name}: a table of options is needed, not {table!r}")
        return {name: {k: v for k, v in table.items() if k != ANALYZED} for name, table in tables.items()}

    def analyzed(self, analysis: str) -> Collection[str]:
        """The models that an analysis is of: all, or those that its table names. Errors: `InputError` for an unknown one."""
        names = (self.model_extra or {})[analysis].get(ANALYZED)
        if names is None:
            return list(self.models)
        texts = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        if not texts or not names or len(set(names)) < len(names):
            raise InputError(
                f"{analysis}.{ANALYZED} = {names!r}: a list of different models of the recipe is needed, by name"
            )
        for name in names:
            if name not in self.models:
                raise InputError(f"{analysis}.{ANALYZED}: {did_you_mean(str(name), self.models)}")
        return list(names)

    def traveling(self, data_dir: str | None) -> tuple[str, str | None]:
        """As plain values, for processes that stand elsewhere: the recipe as JSON, and the folder of data sets."""
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
        for name in self.models:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"models.{name!r}: a name of letters, digits, '-' and '_' is needed")
        return self


def check(recipe: Recipe) -> None:
    """Everything that can be known before the work begins: families, options, data set. Errors: `InputError`, `PluginError`."""
    check_names(recipe)
    from probgen.plugins.family import (
        family as find_family,
    )  # it imports torch: what is refused by name comes first

    asked = {"sample": recipe.sample.model_extra or {}, "score": recipe.score.model_extra or {}}
    known = {"sample": set(Draw.model_fields), "score": set(Score.model_fields)}
    names = list(recipe.models)
    for i, (name, model) in enumerate(recipe.models.items()):
        definition = find_family(model.family)
        # a model can be told of those that are fitted before it
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
                raise InputError(f"{table} is told of model {name!r}: put [models.{name}] before the others")
    for hook, options in asked.items():
        for option in options:
            if option not in known[hook]:
                raise InputError(f"{hook}: unknown option {option!r}; {did_you_mean(option, known[hook])}")
    for split in (recipe.data.split, recipe.data.valid, recipe.score.split):
        if split is not None and recipe.data.splits and split not in recipe.data.splits:
            raise InputError(f"split = {split!r}: {did_you_mean(split, recipe.data.splits)}")


def check_search(recipe: Recipe) -> tuple[str, dict[str, Range | Choice]]:
    """The model that is searched, and what may be chosen of its options. Errors: `InputError`, `NotOffered`."""
    search = recipe.search
    if search is None:
        raise InputError(
            "the recipe does not say what to search: add a table, e.g. [search.options] with the line hidden = { low = 16, high = 512 }"
        )
    if search.model is None and len(recipe.models) > 1:
        raise InputError(f"search.model is missing: say which of the models, {', '.join(recipe.models)}")
    name = search.model or next(iter(recipe.models))
    model, space = recipe.models[name], space_of(search.options, "search.options")
    valid, fitted = recipe.data.part(recipe.data.valid, "valid"), recipe.data.part(recipe.data.split, "train")
    if valid is None or fitted in (None, valid):  # a fit to all rows is one to these as well
        raise InputError(
            "a search chooses by validation rows, and the recipe has none: in [data] give valid = 'NAME', and another one as split = 'NAME'"
        )
    if named_in(model.options):
        raise InputError(
            f"search.model = {name!r}: it builds on another model; one that stands alone is needed"
        )
    from probgen.plugins.family import family as find_family  # it imports torch

    definition = find_family(model.family)
    definition.require("score")
    return name, fitting_space(space, definition.options("fit"), model.options, "search.options")


def check_names(recipe: Recipe) -> None:
    """Families and data set are registered; nothing is imported. Errors: `InputError`, `PluginError`."""
    for model in recipe.models.values():
        find("families", model.family)
    if recipe.data.name is not None and recipe.data.name not in registered("datasets"):
        raise InputError(
            f"data.name = {recipe.data.name!r}: {did_you_mean(recipe.data.name, registered('datasets'))}"
        )


def named_in(values: Any) -> set[str]:
    """The models of the recipe that options name."""
    if isinstance(values, Mapping):
        if set(values) == {"model"}:
            return {str(values["model"])}
        values = list(values.values())
    return set().union(*map(named_in, values)) if isinstance(values, list | tuple) else set()


def conditioned_on(model: Model, models: Collection[str]) -> tuple[str, ...]:
    """What a model is conditioned on, by its options or those that the family has without a word."""
    from probgen.contract.definition import conditions_of
    from probgen.plugins.family import family as find_family

    told = located(model.options, Path(), models)
    options = checked(find_family(model.family).options("fit"), told, f"family {model.family!r}")
    return conditions_of(options)


def needed_in(recipe: Recipe) -> list[str]:
    """What its models are conditioned on."""
    return sorted({name for model in recipe.models.values() for name in conditioned_on(model, recipe.models)})


def own_options(asked: Mapping[str, Any], definition: Definition, hook: str) -> dict[str, Any]:
    """Those options of a hook that a family has: models of one recipe may be drawn from and scored in different ways."""
    fields = definition.options(hook).model_fields
    return {name: value for name, value in asked.items() if name in fields}
