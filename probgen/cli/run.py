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
MEASURES = ("coverage", "precision", "recall", "accuracy")  # of the samples of images


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
    out = out or Path("runs") / recipes.folder_of(recipe, fast)
    check_folder(out)
    workers = cluster_of(cluster)
    whole = recipes.read_whole(recipe, changes, fast=fast)
    for plan in whole.parts.values():
        recipes.check(plan)
    if dry_run:
        resolved = {
            part: plan.model_dump(mode="json", exclude_defaults=True) for part, plan in whole.parts.items()
        }
        models = sum(len(plan.models) for plan in whole.parts.values())
        put(
            {"title": whole.title, "parts": resolved} if whole.has_parts else resolved[recipes.SINGLE],
            json,
            lambda: typer.echo(
                f"{recipe}: {f'{len(resolved)} recipes, ' if whole.has_parts else ''}{models} models, no errors"
            ),
        )
        return
    results: dict[str, list[Any]] = {part: [] for part in whole.parts}
    from probgen.api.pools import pool_of
    from probgen.plugins.observers import belonging, made
    from probgen.report import gather, write

    with pool_of(workers) as pool:
        for part, result in recipes.execute_whole(
            whole, out, resume=resume, force=force, device=device,
            data_dir=str(data_dir) if data_dir else None, progress=progress(quiet), pool=pool,
        ):  # fmt: skip
            results[part].append(result)
            if not quiet:
                name = f"{part}/{result.model}" if whole.has_parts else result.model
                for note in (*result.fitted.notes, *result.notes):
                    typer.echo(f"{name}: {note}", err=True)
                typer.echo(f"{name}: done in {result.seconds:.1f} s, {result.run}", err=True)
    gathered = gather([out])
    page = write(gathered, out / REPORT)
    with belonging(folder=out, recipe=whole.title):
        made("report", page)
    told = {part: _told(plan, results[part]) for part, plan in whole.parts.items()}
    about = {"title": whole.title, "out": str(out), "report": str(page)}
    if whole.has_parts:
        overview = gathered.overview
        put(
            about | {"parts": told, "images": overview},
            json,
            lambda: _show_all(whole, results, told, overview, page),
        )
    else:
        put(about | told[recipes.SINGLE], json, lambda: _show_all(whole, results, told, [], page))
    expected = [line for part in told.values() for line in part["expected"]]
    failed = [line for line in expected if not line["met"]]
    if check and failed:
        first = failed[0]
        raise ProbgenError(
            f"{len(failed)} of {len(expected)} figures are outside their expected bounds, "
            f"e.g. {first['figure']} = {first['value']:.5f} of {first['model']}"
        )


def _told(plan: Any, results: list[Any]) -> dict[str, Any]:
    """Return what `--json` prints of one recipe."""
    from probgen import recipes

    texts = {result.model: result.texts[:SHOWN] for result in results if result.texts}
    left = {result.model: result.notes for result in results if result.notes}
    notes = {result.model: result.fitted.notes for result in results if result.fitted.notes}
    return {
        "title": plan.title,
        "models": recipes.table(results),
        "expected": recipes.expectations(plan, results),
        "pictures": [str(picture) for result in results for picture in result.pictures],
        **({"texts": texts} if texts else {}),
        **({"left_out": left} if left else {}),
        **({"notes": notes} if notes else {}),
    }


def _beside(rows: list[dict[str, Any]], meaning: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the numbers that are not in the first table: one row per number, one column per model."""
    told = {"log_prob", "log_prob_se", "difference", "difference_se", "rank", "bits_per_dim", "seconds"}
    names = [k for row in rows for k, v in row.items() if isinstance(v, int | float) and k not in told]
    return [
        {"figure": name}
        | {row["model"]: _short(row[name]) if name in row else "" for row in rows}
        | {"meaning": meaning.get(name)}
        for name in dict.fromkeys(names)
    ]


def _short(value: float) -> str:
    """Return a number with four digits, or with all digits before the point."""
    if isinstance(value, int):
        return str(value)
    return number(value, ".4g" if not 1e4 <= abs(value) < 1e9 else ".0f")


def _show_all(
    whole: Any,
    results: dict[str, list[Any]],
    told: dict[str, Any],
    overview: list[dict[str, Any]],
    page: Path,
) -> None:
    for part, plan in whole.parts.items():
        _show(plan, results[part], told[part])
    if overview:
        lines = [
            {
                "model": row["model"],
                "data": row["data"],
                "log_prob": with_error(row.get("log_prob"), row.get("log_prob_se")),
                "bits/dim": row.get("bits_per_dim"),
                "kind": row.get("kind", "no likelihood"),
                **{name: row.get(name) for name in MEASURES},
            }
            for row in overview
        ]
        print_table(
            lines, list(lines[0]), f"{whole.title}: likelihood, and samples compared with rows of the data"
        )
    typer.echo(f"report: {page}")


def _show(plan: Any, results: list[Any], told: dict[str, Any]) -> None:
    rows, expected = told["models"], told["expected"]
    for model, drawn in told.get("texts", {}).items():
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
    groups = [group for result in results for group in result.fitted.groups.values()]
    numbers = {str(k): v for group in groups for k, v in group.data_vars.items() if v.ndim == 0}
    beside = _beside(rows, {name: words_of(v) for name, v in numbers.items() if words_of(v)})
    if beside:
        print_table(beside, list(beside[0]), "Other figures", ("meaning",))
    if expected:
        shown = [{**line, "met": "yes" if line["met"] else "NO"} for line in expected]
        print_table(shown, ["model", "figure", "value", "at_least", "at_most", "met"], "Expected")
    for result in results:
        if n := len(result.pictures):
            print_lines(f"{result.model}: {n} picture{'s' * (n > 1)} in {result.run}")
