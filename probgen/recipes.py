"""Recipes: TOML to a checked plan, and its execution.

A recipe names registered families and data sets; it cannot run a stranger's code.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from probgen import datasets, evaluation, pictures
from probgen.api import fit, sample, score
from probgen.data import as_dataset
from probgen.errors import FileError, InputError, RunError, did_you_mean
from probgen.fitted import Fitted
from probgen.options import Options, checked
from probgen.plugins import family as find_family
from probgen.plugins import registered
from probgen.scores import bits_per_dim
from probgen.store.folder import MODEL, REQUEST, SAMPLES, SCORES, read_request, without_none, write_request
from probgen.store.trees import write_dataset

PNG = "samples.png"
LIMIT = 1 << 20  # bytes of a recipe


class Data(Options):
    """Which rows: a registered data set or a file."""

    name: str | None = Field(None, description="a name that `probgen datasets` lists")
    path: str | None = Field(None, description="a file or folder, from where the command is run")
    split: str | None = Field(None, description="the part to fit to; `train` where there is one")
    valid: str | None = Field(None, description="the part to choose by; `valid` where there is one")

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


class Draw(Options):
    """What to draw."""

    n: int = Field(default=64, ge=1)


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


class Recipe(Options):
    """A plan: data, models, what to draw and score, what to expect."""

    title: str = ""
    reference: str = ""
    seed: int = Field(0, ge=0)
    data: Data
    models: dict[str, Model] = Field(min_length=1)
    sample: Draw = Field(default_factory=Draw)
    score: Score = Field(default_factory=Score)
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
    here = Path(__file__).parent
    folder = here / "_shipped" / "recipes"
    return {
        p.stem: p for p in sorted((folder if folder.is_dir() else here.parent / "recipes").glob("*.toml"))
    }


def read(which: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by its name or path, with values set from outside: {"models.two.components": 3}.

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
    for key, value in (changes or {}).items():
        _set(values, key, value)
    return checked(Recipe, values, str(path))


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
    for name, model in recipe.models.items():
        definition = find_family(model.family)
        checked(definition.options("fit"), model.options, f"models.{name}")
        if definition.offers("score"):
            checked(definition.options("score"), recipe.score.model_extra or {}, f"score, for models.{name}")
    if recipe.data.name is not None and recipe.data.name not in registered("datasets"):
        raise InputError(
            f"data.name = {recipe.data.name!r}: {did_you_mean(recipe.data.name, registered('datasets'))}"
        )
    for split in (recipe.data.split, recipe.data.valid, recipe.score.split):
        if split is not None and recipe.data.splits and split not in recipe.data.splits:
            raise InputError(f"split = {split!r}: {did_you_mean(split, recipe.data.splits)}")


@dataclass
class Result:
    """What came of one model of a recipe."""

    model: str
    family: str
    run: Path
    fitted: Fitted = field(repr=False)
    scores: xr.Dataset | None = field(repr=False)
    picture: Path | None
    seconds: float

    def figures(self) -> dict[str, float]:
        """The figures that can be expected something of: mean scores, and single numbers of the fit's groups."""
        found: dict[str, float] = {}
        for group in self.fitted.groups.values():
            found |= {str(name): float(v) for name, v in group.data_vars.items() if v.ndim == 0}
        if self.scores is not None:
            found |= {
                str(name): float(v.mean()) for name, v in self.scores.data_vars.items() if v.dims == ("row",)
            }
            if "log_prob" in self.scores:
                found["bits_per_dim"] = float(bits_per_dim(self.scores).mean())
        return found


def execute(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    data_dir: str | None = None,
    progress: bool = False,
) -> Iterator[Result]:
    """Fit, draw from and score each model; each is a run of its own in `out`. Errors: as of `fit`."""
    check(recipe)
    data = as_dataset(recipe.data.source, recipe.data.part(recipe.data.split, "train"), data_dir)
    valid_split = recipe.data.part(recipe.data.valid, "valid")
    valid = as_dataset(recipe.data.source, valid_split, data_dir) if valid_split is not None else None
    scored = as_dataset(recipe.data.source, recipe.data.part(recipe.score.split, "test"), data_dir)
    _prepare(recipe, out, resume, force)
    for name, model in recipe.models.items():
        begun = time.monotonic()
        run = out / name
        fitted = fit(
            model.family,
            data,
            valid=valid,
            seed=recipe.seed,
            device=device,
            out=run,
            resume=resume,
            force=force,
            progress=progress,
            **model.options,
        )
        picture = None
        if fitted.definition.offers("sample"):
            draws = sample(fitted, recipe.sample.n, seed=recipe.seed, device=device, progress=progress)
            write_dataset(run / SAMPLES, "samples", draws)
            picture = _picture(fitted, draws, run / PNG, f"{recipe.title or name}: {name}", data)
        scores = None
        if fitted.definition.offers("score"):
            options = dict(recipe.score.model_extra or {})
            scores = score(fitted, scored, seed=recipe.seed, device=device, progress=progress, **options)
            write_dataset(run / SCORES, "scores", scores)
        yield Result(name, model.family, run, fitted, scores, picture, time.monotonic() - begun)


def _prepare(recipe: Recipe, out: Path, resume: bool, force: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}") from None
    if (out / REQUEST).exists() and not (resume or force):
        raise InputError(
            f"{out} holds a run already: go on with it (--resume), replace it (--force), or choose another --out"
        )
    if (out / MODEL).exists():
        raise InputError(
            f"{out} holds the run of one fit; a recipe needs a folder of its own: choose another --out"
        )
    request = recipe.model_dump(mode="json", exclude_defaults=True) | {"seed": recipe.seed}
    if (out / REQUEST).exists() and resume and read_request(out / REQUEST) != without_none(request):
        raise InputError(
            f"{out} was begun with another recipe, {out / REQUEST}: ask for the same, or choose another --out"
        )
    write_request(out / REQUEST, request)


def _picture(fitted: Fitted, draws: xr.Dataset, path: Path, title: str, data: xr.Dataset) -> Path | None:
    try:
        figure = picture_of(fitted, draws, title, data["x"].attrs.get("names"))
    except InputError:
        return None
    pictures.save(figure, path)
    return path


def picture_of(fitted: Fitted, draws: xr.Dataset, title: str = "", names: str | None = None) -> Any:
    """The figure of draws of a fitted model, with the ellipses of its Gaussians where it has some."""
    x = draws["x"].values
    x = x.reshape(-1, *x.shape[-len(fitted.event.dims) :])
    gaussians = getattr(fitted.module, "gaussians", None)
    return pictures.draw(
        x[: 100 if fitted.event.dims[-1] == "width" else 10_000],
        fitted.event,
        title=title,
        names=names.split() if names else None,
        gaussians=gaussians() if gaussians is not None else None,
    )


def table(results: list[Result]) -> list[dict[str, Any]]:
    """A row a model: mean log-likelihood with its standard error, the difference to the best, bits a dimension."""
    scored = {r.model: r.scores for r in results if r.scores is not None and "log_prob" in r.scores}
    compared = None
    if scored:
        try:
            compared = evaluation.compare(scored)
        except InputError:
            compared = None  # not to be compared; each still has its own figures
    rows = []
    for result in results:
        row: dict[str, Any] = {"model": result.model, "family": result.family, **result.figures()}
        if result.model in scored:
            values = scored[result.model]["log_prob"]
            row["log_prob_se"] = (
                float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
            )
            row |= {name: values.attrs[name] for name in ("kind", "estimator", "measure")}
            if compared is not None:
                at = compared.sel(model=result.model)
                row |= {name: float(at[name]) for name in ("difference", "difference_se")}
                row["rank"] = int(at["rank"])
        rows.append(row | {"seconds": result.seconds, "run": str(result.run)})
    return rows


def expectations(recipe: Recipe, results: list[Result]) -> list[dict[str, Any]]:
    """Every expectation, with the figure that came out and whether it is met."""
    lines = []
    for result in results:
        figures = result.figures()
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
