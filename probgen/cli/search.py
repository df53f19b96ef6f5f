"""The command `probgen search`: choose options of a model by validation rows."""

from __future__ import annotations

import json as jsons
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import (
    Cluster,
    DataDir,
    Device,
    Json,
    Quiet,
    cluster_of,
    place,
    print_table,
    progress,
    put,
    settings,
)
from probgen.cli.tables import number, with_error


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.recipes,
            help="Name of a recipe with a search table, or a .toml file.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=place, help="Folder for the search. Default: runs/search-RECIPE."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, help="Number of trials, with earlier ones. Default: set by the recipe."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value of the recipe, e.g. --set search.prune=false. Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the search in --out, possibly with more trials.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the search in --out.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Search with the short variant of the recipe.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of all random numbers. Default: the seed of the recipe."),
    ] = None,
    device: Device = None,
    data_dir: DataDir = None,
    cluster: Cluster = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the options of a recipe's model.

    Options are chosen by the score of validation rows. Test rows are scored once, at the end.

    Example: probgen search dna --out runs/search-dna
    """
    from probgen import recipes
    from probgen.store.folder import check_folder

    changes = settings(set_) | ({"seed": seed} if seed is not None else {})
    plan = recipes.read(
        recipe, changes | ({"search.trials": trials} if trials is not None else {}), fast=fast
    )
    out = out or Path("runs") / f"search-{Path(recipe).stem}{'-fast' if fast else ''}"
    check_folder(out)
    recipes.check_search(plan)  # before `recipes.search`, which imports torch
    best = -math.inf

    def told(trial: int, receipt: dict[str, Any]) -> None:
        nonlocal best
        value = receipt["value"]
        said = receipt["state"] if value is None else f"{value:.4f} nats per row"
        if value is not None and value > best:
            best, said = value, f"{said}, the best so far"
        typer.echo(f"trial {trial}: {said}, {receipt['steps']} steps, {receipt['seconds']:.1f} s", err=True)

    from probgen.api.pools import pool_of

    with pool_of(cluster_of(cluster)) as pool:
        found = recipes.search(
            plan, out, resume=resume, force=force, device=device, data_dir=str(data_dir) if data_dir else None,
            progress=progress(quiet), pool=pool, told=None if quiet else told,
        )  # fmt: skip
    if not quiet:
        for note in found.notes:
            typer.echo(note, err=True)
    rows = _rows(found)
    whole = {
        "title": plan.title, "out": str(out), "model": found.model, "best": found.best, "options": found.options,
        "rows": rows, "trials": found.trials.to_dataframe().reset_index().to_dict("records"),
        "pictures": [str(picture) for picture in found.pictures], "notes": found.notes,
    }  # fmt: skip
    put(whole, json, lambda: _show(found, rows))


def _rows(found: Any) -> list[dict[str, Any]]:
    """Return two rows, for the options of the recipe and the best options, with validation and test scores."""
    rows = []
    for name, trial in {"recipe": 0, "best": found.best}.items():
        value = float(found.trials["value"].sel(trial=trial))
        row = {"options": name, "trial": trial, **found.options[name], "validation": value}
        at = name if found.test is not None and name in found.test["model"].values else "best"
        if found.test is not None and (at == name or not found.best):
            test = found.test.sel(model=at)
            row |= {
                label: float(test[figure])
                for label, figure in (("test", "log_prob"), ("test_se", "log_prob_se"))
            }
        rows.append(row)
    return rows


def _show(found: Any, rows: list[dict[str, Any]]) -> None:
    lines = []
    for row in rows:
        line = {k: jsons.dumps(v) if isinstance(v, list) else v for k, v in row.items() if k != "test_se"}
        if "test" in row:
            line["test"] = with_error(row["test"], row["test_se"], ".4f")
        lines.append(line)
    states = found.trials["state"].values.tolist()
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    columns = list(dict.fromkeys(name for line in lines for name in line))
    print_table(
        lines,
        columns,
        f"{found.model}, {len(states)} trials ({counts}): mean log-probability in nats per row",
    )
    if found.test is not None and found.test.sizes["model"] == 2:
        last = found.test.isel(model=1)
        typer.echo(
            f"test rows: {last['model'].item()} minus {found.test['model'].values[0]}: "
            f"{number(float(last['difference']), '.4f')} ± {number(float(last['difference_se']), '.4f')} nats per row"
        )
    if found.pictures:
        typer.echo(f"{len(found.pictures)} pictures in {found.out}")
    typer.echo(f"the recipe with the best options: probgen run {found.out / 'best.toml'}")
