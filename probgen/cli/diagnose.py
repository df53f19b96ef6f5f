"""The command `probgen diagnose`: `probgen analyze diagnose` with intervals in its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli.analyze import analyzed
from probgen.cli.common import (
    Data,
    DataDir,
    Device,
    Json,
    Quiet,
    Run,
    Seed,
    Split,
    place,
    print_table,
    progress,
    put,
)
from probgen.cli.reading import with_reading


@with_reading
def command(
    run: Run,
    data: Data,
    split: Split = None,
    how: Any = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Part of the data set, or a file, that defines the modes. Default: half of the rows.",
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Number of samples. Default: the number of rows.")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", help="Number of neighbors for precision, recall, density and coverage.")
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=place, help="Run folder for the results. Default: the run."),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare samples with real data.

    The table has mode coverage, precision and recall, and distances, each with a 95% interval. The last line is a verdict.

    Example: probgen diagnose runs/ring --data ring
    """
    found, files = analyzed(
        "diagnose", [run], data, split, reference, out, data_dir, how, quiet,
        seed=seed, device=device, progress=progress(quiet), n=n, k=k,
    )  # fmt: skip
    names = ("value", "low", "high")
    lines = [
        {"measure": str(m)}
        | {name: float(found[name].sel(measure=m)) for name in names}
        | {"meaning": found["meaning"].sel(measure=m).item()}
        for m in found["measure"].values
    ]
    verdict, written = found.attrs["verdict"], str(files[0]) if files else None
    note = {"note": found.attrs["note"]} if "note" in found.attrs else {}
    title = f"{found.attrs['n']} samples compared with {found.attrs['rows']} rows; written to {written or 'no file'}"

    def show() -> None:
        print_table(lines, list(lines[0]), title)
        typer.echo("\n".join([*note.values(), verdict]))

    put({"written": written, "verdict": verdict, **note, "measures": lines}, json, show)
