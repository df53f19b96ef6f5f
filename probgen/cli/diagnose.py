"""probgen diagnose: what is wrong with the draws of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli.common import DataDir, Device, Json, Quiet, Seed, print_table, progress, put


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model.h5.")],
    data: Annotated[str, typer.Option("--data", help="A data set (probgen datasets) or a file.")],
    split: Annotated[str | None, typer.Option("--split", help="By default test, where there is one.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", help="The part that says where the modes are; by default half of the rows."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Draws; by default as many as rows.")] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbours of precision, recall, density, coverage.")] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="By default RUN/diagnosis.h5.")] = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold draws against real rows: modes, precision and recall, distances, each with an interval, and a verdict.

    Example: probgen diagnose runs/ring --data ring
    """
    from probgen import pictures
    from probgen.api import diagnose
    from probgen.cli.data import loaded
    from probgen.errors import InputError
    from probgen.fitted import load
    from probgen.store.folder import DIAGNOSIS
    from probgen.store.trees import write_dataset

    target = out if out is not None else run / DIAGNOSIS if run.is_dir() else None
    if target is not None and not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    fitted = load(run)
    rows, _ = loaded(data, split, "test", data_dir)
    others = loaded(data, reference, "train", data_dir)[0] if reference is not None else None
    found = diagnose(
        fitted, rows, reference=others, n=n, k=k, seed=seed, device=device, progress=progress(quiet)
    )
    if target is not None:
        write_dataset(target, "diagnosis", found)
        pictures.save(pictures.diagnosis(found), target.with_suffix(".png"))
    names = ("value", "low", "high")
    lines = [
        {"measure": str(m)} | {name: float(found[name].sel(measure=m)) for name in names}
        for m in found["measure"].values
    ]
    verdict = found.attrs["verdict"]
    title = f"{found.attrs['n']} draws against {found.attrs['rows']} rows; written to {target or 'no file'}"

    def show() -> None:
        print_table(lines, list(lines[0]), title)
        typer.echo(verdict)

    put({"written": str(target) if target else None, "verdict": verdict, "measures": lines}, json, show)
