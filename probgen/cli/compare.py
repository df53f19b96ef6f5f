"""The command `probgen compare`: the scores of several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli import completion
from probgen.cli.common import Json, place, print_table, put
from probgen.cli.tables import with_error
from probgen.errors import InputError


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=place,
            autocompletion=completion.runs,
            help="Run folders with scores.h5, or files of scores.",
        ),
    ],
    json: Json = False,
) -> None:
    """Compare the scores of runs on equal rows.

    The table has the mean of each model and its paired difference to the best model, with standard errors.

    Example: probgen compare runs/quickstart/*
    """
    from probgen.evaluation import compare
    from probgen.store.folder import SCORES
    from probgen.store.trees import read_dataset

    names = [run.stem if run.is_file() else run.name for run in runs]
    labels = names if len(set(names)) == len(names) else [str(run) for run in runs]
    files = [run / SCORES if run.is_dir() else run for run in runs]
    for run, file in zip(runs, files, strict=True):
        if not file.exists():
            raise InputError(f"{run}: there are no scores. Run probgen score {run} --data DATA first.")
    table = compare({label: read_dataset(file, "scores") for label, file in zip(labels, files, strict=True)})
    rows = [
        {"model": str(name)} | {str(k): v.sel(model=name).item() for k, v in table.data_vars.items()}
        for name in table["model"].values
    ]
    lines = [
        {
            "model": row["model"],
            "log_prob": with_error(row["log_prob"], row["log_prob_se"]),
            "difference": with_error(row["difference"], row["difference_se"]),
            "rank": row["rank"],
            "kind": row["kind"],
            "estimator": row["estimator"] if row["estimator"] != row["kind"] else None,
        }
        for row in rows
    ]
    title = f"nats per row over {table.attrs['over']}, {table.attrs['measure']} measure; rank: 1 + the number of certainly better models"
    put({"models": rows, **table.attrs}, json, lambda: print_table(lines, list(lines[0]), title, ("rank",)))
