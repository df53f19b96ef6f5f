"""TOML to a checked plan. A recipe names registered families and data sets; it cannot run a stranger's code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from probgen import datasets
from probgen.errors import FileError, InputError, did_you_mean
from probgen.options import Options, checked
from probgen.plugins import Family, registered
from probgen.plugins import family as find_family

LIMIT = 1 << 20  # bytes of a recipe


class Data(Options):
    """Which rows: a registered data set or a file."""

    name: str | None = Field(None, description="a name that `probgen datasets` lists")
    path: str | None = Field(None, description="a file or folder, from where the command is run")
    split: str | None = Field(None, description="the part to fit to; `train` where there is one")
    valid: str | None = Field(None, description="the part to choose by; `valid` where there is one")
    rate: int | None = Field(None, ge=1, description="samples a second that WAV files are resampled to")
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


class Complete(Options):
    """What to complete: scored rows of which a half is hidden; `last` is the second half of a row that is no image."""

    rows: int = Field(default=8, ge=1)
    n: int = Field(default=6, ge=1, description="completions of each")
    hide: Literal["lower", "upper", "left", "right", "last"] = "lower"


class Conditionals(Options):
    """Scored rows of which p(x_i | x_<i) is wanted, from the models that have it."""

    rows: int = Field(default=8, ge=1)


class Latent(Options):
    """What to look at in the latent space of the models that have one: a vector of reals.

    Codes of scored rows, in the plane and coloured by label; rows beside their reconstructions; ways from code to code
    and at random; the plane itself, where it has two dimensions.
    """

    codes: int = Field(default=1000, ge=2, description="rows to encode")
    clusters: int | None = Field(default=None, ge=2, description="of the codes, by k-means, against labels")
    rows: int = Field(default=8, ge=2, description="reconstructions, interpolations and walks")
    steps: int = Field(default=10, ge=2, description="of each interpolation and walk")
    stride: float = Field(
        default=0.4, gt=0, le=1, description="of a walk, in standard deviations of the prior"
    )
    side: int = Field(default=15, ge=2, description="images of a side of the plane")


class Translate(Options):
    """Scored rows to translate, symbol by symbol the most probable and by a beam, and their BLEU; of models that are conditioned
    on a text."""

    rows: int | None = Field(default=None, ge=1, description="of the scored ones; by default all")
    beams: int = Field(default=5, ge=1, description="of the beam")


class Diagnose(Options):
    """Draws held against scored rows: modes, precision and recall, distances, a verdict."""

    n: int | None = Field(
        default=None, ge=1, description="draws; by default as many as rows they are held against"
    )
    k: int = Field(default=5, ge=1, description="neighbours of precision, recall, density and coverage")
    given: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="values of a latent, e.g. member; a diagnosis for each"
    )

    @model_validator(mode="after")
    def _even(self) -> Diagnose:
        if len({len(values) for values in self.given.values()}) > 1 or () in self.given.values():
            raise ValueError("given: equally many values of each latent are needed, and one at least")
        return self


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


class Recipe(Options):
    """A plan: data, models, what to draw, score and look at, what to expect."""

    title: str = ""
    reference: str = ""
    seed: int = Field(0, ge=0)
    data: Data
    models: dict[str, Model] = Field(min_length=1)
    sample: Draw = Field(default_factory=Draw)
    score: Score = Field(default_factory=Score)
    complete: Complete | None = None
    conditionals: Conditionals | None = None
    latent: Latent | None = None
    diagnose: Diagnose | None = None
    translate: Translate | None = None
    expect: dict[str, dict[str, Bound]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        for name in self.expect:
            if name not in self.models:
                raise ValueError(f"expect.{name}: {did_you_mean(name, self.models)}")
        for name in self.models:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"models.{name!r}: a name of letters, digits, '-' and '_' is needed")
        return self


def shipped() -> dict[str, Path]:
    """The recipes that come with probgen, by name."""
    here = Path(__file__).parent.parent
    folder = here / "_shipped" / "recipes"
    return {
        p.stem: p for p in sorted((folder if folder.is_dir() else here.parent / "recipes").glob("*.toml"))
    }


def read(which: str, changes: Mapping[str, Any] | None = None, *, fast: bool = False) -> Recipe:
    """A recipe by its name or path, with values set from outside: {"models.two.components": 3}.

    fast  the variant that ends in seconds: the recipe with what its table `[fast]` says instead

    Errors: `InputError`, which names the key and the nearest known one.
    """
    path = Path(which) if Path(which).suffix == ".toml" or "/" in which else shipped().get(which)
    if path is None:
        raise InputError(f"no recipe is called {which!r}; {did_you_mean(which, shipped())}")
    try:
        text = path.read_bytes()
        if len(text) > LIMIT:
            raise InputError(f"{path} has more than {LIMIT} bytes: not a recipe")
        values = tomllib.loads(text.decode())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not TOML: {error}") from None
    shorter = values.pop("fast", None)
    if shorter is not None:
        shorter = _merged(values, shorter)
        checked(Recipe, shorter, f"{path}, [fast]")
    if fast:
        if shorter is None:
            raise InputError(f"{path} has no table [fast]: run it as it is")
        values = shorter
    for key, value in (changes or {}).items():
        _set(values, key, value)
    return checked(Recipe, values, str(path))


def has_fast(which: str) -> bool:
    """Whether a shipped recipe has a variant that ends in seconds."""
    return "fast" in tomllib.loads(shipped()[which].read_text())


def _merged(values: dict[str, Any], changes: Any) -> dict[str, Any]:
    """Tables into tables; `expect` stands for itself, since the figures are others."""
    if not isinstance(changes, dict):
        raise InputError(f"fast = {changes!r}: a table of what differs is needed")
    new = dict(values)
    for key, value in changes.items():
        old = new.get(key)
        new[key] = (
            _merged(old, value)
            if isinstance(old, dict) and isinstance(value, dict) and key != "expect"
            else value
        )
    return new


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"{key}: {parent!r} is not a table")
    place[last] = value


def check(recipe: Recipe) -> None:
    """Everything that can be known before the work begins: families, options, data set. Errors: `InputError`."""
    asked = {"sample": recipe.sample.model_extra or {}, "score": recipe.score.model_extra or {}}
    known = {"sample": set(Draw.model_fields), "score": set(Score.model_fields)}
    for name, model in recipe.models.items():
        definition = find_family(model.family)
        checked(definition.options("fit"), model.options, f"models.{name}")
        for hook, options in asked.items():
            if definition.offers(hook):
                known[hook] |= definition.options(hook).model_fields.keys()
                checked(
                    definition.options(hook),
                    own_options(options, definition, hook),
                    f"{hook}, for models.{name}",
                )
    for hook, options in asked.items():
        for option in options:
            if option not in known[hook]:
                raise InputError(f"{hook}: unknown option {option!r}; {did_you_mean(option, known[hook])}")
    if recipe.data.name is not None and recipe.data.name not in registered("datasets"):
        raise InputError(
            f"data.name = {recipe.data.name!r}: {did_you_mean(recipe.data.name, registered('datasets'))}"
        )
    for split in (recipe.data.split, recipe.data.valid, recipe.score.split):
        if split is not None and recipe.data.splits and split not in recipe.data.splits:
            raise InputError(f"split = {split!r}: {did_you_mean(split, recipe.data.splits)}")


def conditioned_on(model: Model) -> tuple[str, ...]:
    """What a model is conditioned on, by its options or those that the family has without a word."""
    options = checked(find_family(model.family).options("fit"), model.options, f"family {model.family!r}")
    return tuple(getattr(options, "given", ()))


def own_options(asked: Mapping[str, Any], definition: Family, hook: str) -> dict[str, Any]:
    """Those options of a hook that a family has: models of one recipe may be drawn from and scored in different ways."""
    fields = definition.options(hook).model_fields
    return {name: value for name, value in asked.items() if name in fields}
