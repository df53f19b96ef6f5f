"""probgen report: one page on runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli import completion
from probgen.cli.common import Json, place, put

SUFFIXES = (".html", ".htm")


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=place, autocompletion=completion.runs, help="Folders of recipes or of single runs."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=place, help="HTML file of the report. Default: report.html in the first folder."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Title of the report. Default: the title of the recipe.")
    ] = None,
    no_rows: Annotated[bool, typer.Option("--no-rows", help="Leave out rows of the data.")] = False,
    json: Json = False,
) -> None:
    """Write one HTML page on runs.

    The page has data, scores, samples, analyses and provenance. It has no script and needs no network. The plugins of the runs are not needed.

    Example: probgen report runs/quickstart --out quickstart.html
    """
    from probgen.store.folder import REPORT

    file = out or runs[0] / REPORT
    if file.is_dir() or file.suffix.lower() not in SUFFIXES:  # a model would be replaced
        from probgen.errors import InputError

        what = "a folder" if file.is_dir() else "a report is HTML"
        raise InputError(f"--out {file}: {what}. Give a name that ends in .html.")
    from probgen.plugins.observers import belonging, made
    from probgen.report import gather, write

    write(gather(runs, title), file, rows=not no_rows)
    with belonging(folder=runs[0]):
        made("report", file)
    put({"report": str(file), "bytes": file.stat().st_size}, json, lambda: typer.echo(f"report: {file}"))
