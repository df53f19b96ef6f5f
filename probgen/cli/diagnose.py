"""probgen diagnose: short for `probgen analyze diagnose`, with the intervals in its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli.analyze import analyzed
from probgen.cli.common import DataDir, Device, Json, Quiet, Seed, print_table, progress, put


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model.h5.")],
    data: Annotated[str, typer.Option("--data", help="A data set (probgen datasets) or a file.")],
    split: Annotated[str | None, typer.Option("--split", help="By default test, where there is one.")] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="The part that defines the modes; by default half of the rows."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Number of samples; by default as many as rows.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbours of precision, recall, density, coverage.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder for the results; by default RUN.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare samples with real data: modes, precision and recall, distances, with intervals, and a verdict.

    Example: probgen diagnose runs/ring --data ring
    """
    found, files = analyzed(
        "diagnose", [run], data, split, reference, out, data_dir,
        seed=seed, device=device, progress=progress(quiet), n=n, k=k,
    )  # fmt: skip
    names = ("value", "low", "high")
    lines = [
        {"measure": str(m)} | {name: float(found[name].sel(measure=m)) for name in names}
        for m in found["measure"].values
    ]
    verdict, written = found.attrs["verdict"], str(files[0]) if files else None
    title = (
        f"{found.attrs['n']} samples against {found.attrs['rows']} rows; written to {written or 'no file'}"
    )

    def show() -> None:
        print_table(lines, list(lines[0]), title)
        typer.echo(verdict)

    put({"written": written, "verdict": verdict, "measures": lines}, json, show)
