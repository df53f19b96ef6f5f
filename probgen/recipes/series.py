"""The execution of a recipe that consists of recipes: each part as if it were run alone, and none twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probgen.api.loading import load
from probgen.errors import RunError
from probgen.recipes.execution import Result, begin, beside, execute, refuse, same_request
from probgen.recipes.parts import SINGLE, Whole
from probgen.recipes.plan import Recipe, check
from probgen.report import gather, write
from probgen.store.folder import COMPLETE, REPORT

KEPT = "the fit, samples, scores and analyses were kept: the request is the same"


def execute_whole(
    whole: Whole, out: Path, *, resume: bool = False, force: bool = False, **how: Any
) -> Iterator[tuple[str, Result]]:
    """Run a recipe, or each part of it in its own folder.

    A part is complete if `execute` has come to its end. A complete part with the same request is read and not run again: in `out`,
    or next to `out` in the folder that it has if it is run alone, which is then linked.

    Args:
        whole: The recipe.
        out: The folder for the runs.
        resume: Resume the runs in `out`.
        force: Replace the runs in `out`.
        **how: The device, workers and other arguments of `execute`.

    Yields:
        The name of the part and the result of each model.

    Raises:
        InputError: When a recipe or its data is invalid, or `out` contains another run.
        PluginError: When a plugin is not installed, or returns an invalid result.
        RunError: When a folder cannot be written, or a worker fails.
        DivergedError: When a parameter or the loss is no longer finite.
    """
    if not whole.has_parts:
        for result in execute(whole.parts[SINGLE], out, resume=resume, force=force, **how):
            yield SINGLE, result
        return
    for recipe in whole.parts.values():
        check(recipe)
    refuse(whole.request, out, resume, force)
    for part, recipe in whole.parts.items():
        if force or not _is_complete(recipe, out / part):
            refuse(recipe.request, out / part, resume, force)
    begin(whole.request, out, resume, force)
    for part, recipe in whole.parts.items():
        run = out / part
        _link(recipe, run, out.parent / whole.usual[part], force)
        if not force and _is_complete(recipe, run):
            yield from ((part, result) for result in _read(run))
            continue
        for result in execute(recipe, run, resume=resume, force=force, **how):
            yield part, result
        write(gather([run]), run / REPORT)


def _is_complete(recipe: Recipe, run: Path) -> bool:
    return (run / COMPLETE).is_file() and same_request(recipe.request, run)


def _link(recipe: Recipe, run: Path, beside: Path, force: bool) -> None:
    """Link a complete part that was run alone; a part that is replaced is unlinked, so that its other user keeps it."""
    try:
        if run.is_symlink() and (force or not run.exists()):
            run.unlink()
        if not force and not run.exists() and _is_complete(recipe, beside):
            run.symlink_to(os.path.relpath(beside.resolve(), run.parent.resolve()))
    except OSError as error:
        raise RunError(f"{run} cannot be written: {error.strerror}") from None


def _read(run: Path) -> Iterator[Result]:
    """Return the results of a complete part from its files."""
    more = beside(run)
    for model in gather([run]).models:
        result = Result(
            model.name,
            model.family,
            model.folder,
            load(model.folder),
            model.scores,
            model.figures,
            **more.get(model.name, {}),
        )
        result.notes.append(KEPT)
        yield result
