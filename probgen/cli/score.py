"""probgen score: how likely data are under a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli.common import DataDir, Device, Json, Quiet, Seed, Set, print_table, progress, put, settings


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model.h5.")],
    data: Annotated[str, typer.Option("--data", help="A data set (probgen datasets) or a file.")],
    split: Annotated[str | None, typer.Option("--split", help="By default test, where there is one.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="By default RUN/scores.h5.")] = None,
    set_: Set = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how likely each row is, and what kind of number that is.

    Example: probgen score runs/iris --data iris
    """
    from probgen.api.loading import load
    from probgen.api.scoring import score
    from probgen.cli.data import loaded
    from probgen.contract.scores import summary
    from probgen.errors import InputError
    from probgen.store.folder import SCORES
    from probgen.store.trees import write_dataset

    target = out if out is not None else run / SCORES if run.is_dir() else None
    if target is not None and not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    fitted = load(run)
    rows, _ = loaded(data, split, "test", data_dir)
    scores = score(fitted, rows, seed=seed, device=device, progress=progress(quiet), **settings(set_))
    if target is not None:
        write_dataset(target, "scores", scores)
    lines = summary(scores)
    put(
        {"written": str(target) if target else None, "scores": lines},
        json,
        lambda: print_table(
            lines, list(lines[0]), f"{rows.sizes['row']} rows; written to {target or 'no file'}"
        ),
    )
