"""The command `probgen analyze`: an analysis of fitted models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import (
    DataDir,
    Device,
    Json,
    Quiet,
    Seed,
    Set,
    Split,
    place,
    print_table,
    progress,
    put,
    settings,
)
from probgen.cli.reading import with_reading
from probgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SHOWN = 3  # number of printed texts
ARGUMENTS = {
    "analysis",
    "fitted",
    "data",
    "reference",
    "seed",
    "device",
    "progress",
    "title",
    "out",
    "folder",
}


@with_reading
def command(
    name: Annotated[
        str,
        typer.Argument(autocompletion=completion.analyses, help="Name of an analysis (probgen analyses)."),
    ],
    run: Annotated[
        list[Path],
        typer.Argument(
            parser=place,
            autocompletion=completion.runs,
            help="A run folder, or a model.h5 file. Several runs to compare models.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            autocompletion=completion.datasets,
            help="Name of a data set (probgen datasets), or a file. Some analyses need no data.",
        ),
    ] = None,
    split: Split = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Part of the data set, or another file, with the rows of the fit.",
        ),
    ] = None,
    how: Any = None,
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=place, help="Run folder for the results. Default: the first run."),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run an analysis of fitted models.

    Results are written to RUN/analyses/NAME.h5, and figures to the same folder. The command probgen analyses lists all
    analyses.

    Example: probgen analyze latent runs/vae --data digits --set clusters=10
    """
    found, files = analyzed(
        name, run, data, split, reference, out, data_dir, how, quiet,
        seed=seed, device=device, progress=progress(quiet), **settings(set_, ARGUMENTS),
    )  # fmt: skip
    show(found, files, json)


def analyzed(
    name: str,
    runs: list[Path],
    data: str | None,
    split: str | None,
    reference: str | None,
    out: Path | None,
    data_dir: Path | None,
    images: Mapping[str, Any],
    quiet: bool,
    **how: Any,
) -> tuple[xr.Dataset, list[Path]]:
    """Return the results of an analysis of runs, and the paths of the written files."""
    from probgen.cli.loading import check_source, loaded, tell_reading
    from probgen.plugins.registry import find, registered
    from probgen.store.folder import model_file

    find("analyses", name)
    for run in runs:
        model_file(run)
    if data is None:
        for option, value in (("--split", split), ("--reference", reference)):
            if value is not None:
                raise InputError(f"{option} {value}: this option needs --data. Give --data.")
        read = {**images, **images.get("table", {})}
        if said := [option for option, value in read.items() if value and option != "table"]:
            raise InputError(f"--{said[0]}: this option needs --data. Give --data.")
    else:
        check_source(data)
    target = out if out is not None else runs[0] if runs[0].is_dir() else None
    if target is not None and not target.is_dir():
        raise InputError(f"--out {target}: there is no such folder. Give an existing run folder.")
    from probgen.api.analyzing import analyze, save_analysis
    from probgen.api.loading import load
    from probgen.plugins.analysis import analysis
    from probgen.plugins.observers import belonging

    loaded_analysis = analysis(name)  # an import error comes before a model is read
    if data is None and not loaded_analysis.rowless:
        raise InputError(f"analysis {name!r} needs rows to analyze. Give --data.")
    models = {str(run): load(run) for run in runs}
    first = next(iter(models.values()))
    how_read = (data_dir, images, first)
    if data is not None and not quiet:
        tell_reading(first, data, images)
    rows = loaded(data, split, "test", *how_read)[0] if data is not None else None
    fitted_to = None
    if data is not None and reference is not None:
        of_file = data not in registered("datasets") and Path(reference).is_file()
        source, part = (reference, None) if of_file else (data, reference)
        fitted_to = loaded(source, part, "train", *how_read)[0]
    fitted: Any = models if len(models) > 1 else first
    folder = out or (runs[0] if runs[0].is_dir() else runs[0].parent)
    with belonging(folder=folder):
        found = analyze(name, fitted, rows, reference=fitted_to, folder=folder, **how)
        return found, save_analysis(found, target) if target is not None else []


def show(found: xr.Dataset, files: list[Path], json: bool) -> None:
    """Print the results: single numbers, the first texts, the note and summary, and the files."""
    from probgen.evaluation.means import numbers_of, texts_of_rows

    numbers, texts = numbers_of(found), texts_of_rows(found)
    said = {name: found.attrs[name] for name in ("note", "summary") if found.attrs.get(name)}
    told: dict[str, Any] = {
        "analysis": found.attrs["analysis"], "figures": numbers, "written": [str(file) for file in files],
    }  # fmt: skip
    told |= said

    def write() -> None:
        if numbers:
            lines = [
                {"figure": name, "value": value, **_said(found[name])} for name, value in numbers.items()
            ]
            print_table(lines, ["figure", "value", "units", "meaning"], found.attrs["analysis"])
        _show_rows(found, texts)
        for line in [*said.values(), *map(str, files)]:
            typer.echo(line)

    put(told, json, write)


def _said(variable: xr.DataArray) -> dict[str, str | None]:
    return {"units": variable.attrs.get("units"), "meaning": variable.attrs.get("long_name")}


def _show_rows(found: xr.Dataset, texts: Mapping[str, Sequence[str]]) -> None:
    """Print the texts and numbers of the first rows, and what each of them is."""
    if not texts:
        return
    dim, n = found[next(iter(texts))].dims[0], len(next(iter(texts.values())))
    beside = [
        str(name)
        for name, value in found.data_vars.items()
        if name in texts or (dim == "row" and value.dims == (dim,) and "long_name" in value.attrs)
    ]
    rows = [{name: found[name].values[i].item() for name in beside} for i in range(min(n, SHOWN))]
    print_table(rows, beside, f"the first {len(rows)} of {n}" if n > SHOWN else "")
    meanings = [{"column": name.replace("_", " "), **_said(found[name])} for name in beside]
    if any(line["meaning"] for line in meanings):
        print_table(meanings, ["column", "units", "meaning"])
