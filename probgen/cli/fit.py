"""The command `probgen fit`: fit one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import (
    RESERVED,
    Data,
    DataDir,
    Device,
    Json,
    Quiet,
    Seed,
    Set,
    place,
    print_table,
    progress,
    put,
    settings,
    words_of,
)
from probgen.cli.launching import launched
from probgen.cli.reading import with_reading
from probgen.cli.tables import number


@with_reading
def command(
    family: Annotated[
        str, typer.Argument(autocompletion=completion.families, help="Name of a family (probgen families).")
    ],
    data: Data,
    out: Annotated[Path, typer.Option("--out", parser=place, help="Folder for the run.")],
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Part of the data. Default: train of a named data set with splits; all rows of a file.",
        ),
    ] = None,
    how: Any = None,
    set_: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the fit in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in --out.")] = False,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="Type of the parameters: float32 or float64. Default: set by the family."
        ),
    ] = None,
    parts: Annotated[
        int | None,
        typer.Option(
            "--parts",
            min=1,
            help="Parts of each batch; fewer processes give the same result. Default: one per process.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", min=1, help="Number of processes on this machine that share the fit."),
    ] = 1,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a model p(x) to data.

    Example: probgen fit mixture --data iris --set components=3 --out runs/iris

    Example: probgen fit vae --data digits --out runs/vae --processes 2
    """
    from probgen.cli.loading import check_source, loaded
    from probgen.plugins.registry import find
    from probgen.store.folder import check_folder

    # checks that need no torch come before its import
    options = settings(set_, RESERVED - {"given"})  # an option of some families
    find("families", family)
    check_source(data)
    check_folder(out)
    code = launched(processes)
    if code is not None:
        raise typer.Exit(code)
    from probgen.api.fitting import fit
    from probgen.contract.world import World
    from probgen.data.tables import told

    rows, valid = loaded(data, split, "train", data_dir, how)
    fitted = fit(
        family, rows, valid=valid, seed=seed, device=device, dtype=dtype, out=out, resume=resume, force=force,
        progress=progress(quiet), parts=parts, **options,
    )  # fmt: skip
    steps = {str(name): v[-1] for name, v in fitted.history.data_vars.items() if v.sizes.get("step")}
    criteria = {str(k): v for g in fitted.groups.values() for k, v in g.data_vars.items() if v.ndim == 0}
    if not World.joined().first:
        return  # process 0 alone prints the result
    last, figures = ({name: float(v) for name, v in each.items()} for each in (steps, criteria))
    result = {
        "run": str(out),
        "family": family,
        "event": str(fitted.event),
        "steps": fitted.history.sizes["step"],
        "converged": fitted.provenance.get("converged", {}),
        "notes": fitted.notes,
    }
    means = {
        part: {name: said for name, v in each.items() if (said := words_of(v))}
        for part, each in (("last_step", steps), ("figures", criteria))
    }
    columns = told(fitted.event.columns)
    if columns and not json and not quiet:
        print_table(columns, list(columns[0]))
    put(
        {
            **result,
            "last_step": last,
            "figures": figures,
            "meaning": means,
            **({"columns": columns} if columns else {}),
        },
        json,
        lambda: typer.echo(
            f"{family} fitted to {rows.sizes['row']} rows of {fitted.event} in {result['steps']} steps: {out}\n"
            + "".join(f"  {note}\n" for note in fitted.notes)
            + "\n".join(
                f"  {name} {number(float(v), '.6g')}{f' ({words_of(v)})' if words_of(v) else ''}"
                for name, v in (criteria or steps).items()
            )
        ),
    )
