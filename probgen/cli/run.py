"""The command `probgen run`: run a recipe from data to tables."""

from __future__ import annotations

from collections.abc import Mapping
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
    print_lines,
    print_table,
    progress,
    put,
    settings,
    words_of,
)
from probgen.cli.tables import number, with_error
from probgen.errors import ProbgenError

SHOWN = 3  # number of printed texts of each model


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.recipes, help="Name of a recipe (probgen recipes), or a .toml file."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=place, help="Folder for the runs. Default: runs/RECIPE."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value of the recipe, e.g. --set models.mixture.components=20. Repeatable.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the runs in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the runs in --out.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Run the short variant of the recipe, as a quick check.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe without running it.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Fail if a result is outside its expected bounds.")
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
    """Run a recipe: fit, sample, score, compare.

    Example: probgen run quickstart --out runs/quickstart
    """
    from probgen import recipes
    from probgen.store.folder import REPORT, check_folder

    changes = settings(set_) | ({"seed": seed} if seed is not None else {})
    out = out or Path("runs") / (Path(recipe).stem + ("-fast" if fast else ""))
    check_folder(out)
    workers = cluster_of(cluster)
    plan = recipes.read(recipe, changes, fast=fast)
    recipes.check(plan)
    if dry_run:
        resolved = plan.model_dump(mode="json", exclude_defaults=True)
        put(
            resolved,
            json,
            lambda: typer.echo(f"{recipe}: {len(plan.models)} models, no errors"),
        )
        return
    results = []
    from probgen.api.pools import pool_of
    from probgen.plugins.observers import belonging, made
    from probgen.report import write

    with pool_of(workers) as pool:
        for result in recipes.execute(
            plan, out, resume=resume, force=force, device=device,
            data_dir=str(data_dir) if data_dir else None, progress=progress(quiet), pool=pool,
        ):  # fmt: skip
            results.append(result)
            if not quiet:
                for note in (*result.fitted.notes, *result.notes):
                    typer.echo(f"{result.model}: {note}", err=True)
                typer.echo(f"{result.model}: done in {result.seconds:.1f} s, {result.run}", err=True)
    page = write([out], out / REPORT)
    with belonging(folder=out, recipe=plan.title):
        made("report", page)
    notes = {result.model: result.notes for result in results if result.notes}
    said = {result.model: result.fitted.notes for result in results if result.fitted.notes}
    rows = recipes.table(results)
    groups = (group for result in results for group in result.fitted.groups.values())
    meaning = {
        str(k): words_of(v)
        for group in groups
        for k, v in group.data_vars.items()
        if v.ndim == 0 and words_of(v)
    }
    expected = recipes.expectations(plan, results)
    pictures = [str(picture) for result in results for picture in result.pictures]
    drawn = {result.model: (len(result.pictures), result.run) for result in results if result.pictures}
    texts = {result.model: result.texts[:SHOWN] for result in results if result.texts}
    whole = {
        "title": plan.title,
        "out": str(out),
        "models": rows,
        "expected": expected,
        "pictures": pictures,
        "report": str(page),
    }
    put(
        whole
        | ({"texts": texts} if texts else {})
        | ({"left_out": notes} if notes else {})
        | ({"notes": said} if said else {}),
        json,
        lambda: _show(plan, rows, meaning, expected, drawn, texts, page),
    )
    failed = [line for line in expected if not line["met"]]
    if check and failed:
        first = failed[0]
        raise ProbgenError(
            f"{len(failed)} of {len(expected)} figures are outside their expected bounds, "
            f"e.g. {first['figure']} = {first['value']:.5f} of {first['model']}"
        )


def _beside(rows: list[dict[str, Any]], meaning: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the numbers that are not in the first table: one row per number, one column per model."""
    told = {"log_prob", "log_prob_se", "difference", "difference_se", "rank", "bits_per_dim", "seconds"}
    names = [k for row in rows for k, v in row.items() if isinstance(v, int | float) and k not in told]
    return [
        {"figure": name}
        | {row["model"]: number(row[name], ".4g") if name in row else "" for row in rows}
        | {"meaning": meaning.get(name)}
        for name in dict.fromkeys(names)
    ]


def _show(
    plan: Any,
    rows: list[dict[str, Any]],
    meaning: Mapping[str, str],
    expected: list[dict[str, Any]],
    pictures: dict[str, tuple[int, Path]],
    texts: dict[str, list[str]],
    page: Path,
) -> None:
    for model, drawn in texts.items():
        for text in drawn:
            typer.echo(f"--- {model}\n{text}")
    scored = [row for row in rows if "log_prob" in row]
    if scored:
        lines = [
            {
                "model": row["model"],
                "family": row["family"],
                "log_prob": with_error(row["log_prob"], row.get("log_prob_se")),
                "difference": with_error(row.get("difference"), row.get("difference_se")),
                "bits/dim": row.get("bits_per_dim"),
                "kind": row.get("kind"),
            }
            for row in scored
        ]
        title = f"{plan.title}: mean over {scored[0].get('over', 'rows')} in nats, larger is better"
        print_table(lines, list(lines[0]), title, ("family",))
    if without := [f"{row['model']} ({row['family']})" for row in rows if "log_prob" not in row]:
        print_lines(f"{plan.title}: no likelihood for {', '.join(without)}")
    beside = _beside(rows, meaning)
    if beside:
        print_table(beside, list(beside[0]), "Other figures", ("meaning",))
    if expected:
        shown = [{**line, "met": "yes" if line["met"] else "NO"} for line in expected]
        print_table(shown, ["model", "figure", "value", "at_least", "at_most", "met"], "Expected")
    for model, (n, run) in pictures.items():
        print_lines(f"{model}: {n} picture{'s' * (n > 1)} in {run}")
    typer.echo(f"report: {page}")
