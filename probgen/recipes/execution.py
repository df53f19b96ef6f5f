"""A plan carried out: fit, draw, score, and what is to be looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import evaluation
from probgen.api import fit, score
from probgen.data import as_dataset, event_of, in_symbols_of
from probgen.errors import InputError, RunError, did_you_mean
from probgen.event import Event
from probgen.fitted import Fitted
from probgen.recipes.looks import Looks, hidden, some
from probgen.recipes.plan import Recipe, check, conditioned_on, own_options
from probgen.scores import mean_bits_per_dim
from probgen.store.files import read_request, without_none, write_request
from probgen.store.folder import MODEL, REQUEST, SCORES
from probgen.store.trees import write_dataset
from probgen.symbols import encode_all


@dataclass
class Result:
    """What came of one model of a recipe."""

    model: str
    family: str
    run: Path
    fitted: Fitted = field(repr=False)
    scores: xr.Dataset | None = field(repr=False)
    looks: Looks = field(repr=False)
    seconds: float

    @property
    def pictures(self) -> list[Path]:
        """Where they are."""
        return self.looks.pictures

    @property
    def texts(self) -> list[str]:
        """What was drawn, where it is a text."""
        return self.looks.texts

    def figures(self) -> dict[str, float]:
        """The figures that can be expected something of: mean scores, single numbers of the fit's groups and of looks."""
        found = dict(self.looks.figures)
        for group in self.fitted.groups.values():
            found |= {str(name): float(v) for name, v in group.data_vars.items() if v.ndim == 0}
        if self.scores is not None:
            found |= {
                str(name): float(v.mean())
                for name, v in self.scores.data_vars.items()
                if v.dims == ("row",) and name != "length"
            }
            if "log_prob" in self.scores:
                found["bits_per_dim"] = mean_bits_per_dim(self.scores)
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

    def part(split: str | None) -> xr.Dataset:
        return some(as_dataset(recipe.data.source, split, data_dir, recipe.data.rate), recipe.data.rows)

    data = part(recipe.data.part(recipe.data.split, "train"))
    valid_split = recipe.data.part(recipe.data.valid, "valid")
    valid = part(valid_split) if valid_split is not None else None
    scored = part(recipe.data.part(recipe.score.split, "test"))
    _check_looks(recipe, data)
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
        again: dict[str, Any] = {"seed": recipe.seed, "device": device}
        looks = Looks(fitted, run, f"{recipe.title or name}: {name}", again)
        own, seen = (in_symbols_of(fitted.event, rows) for rows in (data, scored))  # as the fit writes them
        looks.history()
        if fitted.definition.offers("sample"):
            given: dict[str, Any] = {
                k: list(v) for k, v in recipe.sample.given.items() if k in fitted.event.given
            }
            if recipe.sample.prompt is not None:
                given["x"] = recipe.sample.prompt
            looks.draws(recipe.sample.n, given, data, progress, recipe.sample.model_extra or {})
            if recipe.translate is not None:
                looks.translations(seen, recipe.translate, progress)
            if recipe.complete is not None:
                looks.completions(seen, recipe.complete)
            if recipe.latent is not None:
                looks.latent(seen, recipe.latent)
            if recipe.diagnose is not None:
                looks.diagnosis(own, seen, recipe.diagnose, progress)
        looks.own(own)
        scores = None
        if fitted.definition.offers("score"):
            options = own_options(recipe.score.model_extra or {}, fitted.definition, "score")
            scores = score(fitted, scored, progress=progress, **again, **options)
            write_dataset(run / SCORES, "scores", scores)
            if recipe.conditionals is not None:
                looks.conditionals(seen, recipe.conditionals)
        yield Result(name, model.family, run, fitted, scores, looks, time.monotonic() - begun)


def _check_looks(recipe: Recipe, data: xr.Dataset) -> None:
    """What is drawn and looked at suits the data and the models: known before the first fit. Errors: `InputError`."""
    if recipe.complete is not None:
        hidden(event_of(data), recipe.complete.hide)
    if recipe.sample.prompt is not None and not event_of(data).symbols:
        raise InputError(f"sample.prompt = {recipe.sample.prompt!r}: x is no text, but {event_of(data)}")
    if any(name.startswith("bleu") for bounds in recipe.expect.values() for name in bounds):
        evaluation.bleu(["a"], ["a"])  # is it there?
    needed = {name for model in recipe.models.values() for name in conditioned_on(model)}
    wanted = recipe.sample.given
    for name in sorted(needed ^ wanted.keys()):
        if name in needed:
            raise InputError(
                f"sample.given.{name} is missing: a model is conditioned on it; say what to draw"
            )
        raise InputError(f"sample.given.{name}: {did_you_mean(name, needed)}")
    for name, event in event_of(data, needed).given.items():
        _check_given(name, wanted[name], event)
    if len({len(values) for values in wanted.values()}) > 1:
        raise InputError("sample.given: all conditions need equally many values")


def _check_given(name: str, values: Sequence[int | str], event: Event) -> None:
    if event.dims:
        if not (event.symbols and values and all(isinstance(value, str) and value for value in values)):
            raise InputError(f"sample.given.{name} = {list(values)}: texts are needed, for {event}")
        try:
            encode_all([str(value) for value in values], event.symbols)
        except InputError as error:
            raise InputError(f"sample.given.{name}, {error}") from None
    elif not values or not all(isinstance(v, int) and 0 <= v < (event.levels or 0) for v in values):
        raise InputError(f"sample.given.{name} = {list(values)}: whole numbers from 0 to {event.levels} - 1")


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
