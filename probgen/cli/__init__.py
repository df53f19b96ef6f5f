"""The command line: one command per file, with heavy imports inside the functions."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from probgen.cli import (
    analyses,
    analyze,
    compare,
    data,
    datasets,
    diagnose,
    explore,
    families,
    fit,
    plugins,
    recipes,
    report,
    run,
    sample,
    score,
    search,
    show,
)
from probgen.cli.common import complain, open_streams, writing
from probgen.cli.common import report as reporting
from probgen.cli.misplaced import Command
from probgen.errors import ProbgenError

app = typer.Typer(
    name="probgen",
    help="Fit, sample and score generative models, with the same commands for all families.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # in Rich markup, a word in brackets would be a style and would not be printed
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run,
    search,
    fit,
    sample,
    score,
    compare,
    analyze,
    diagnose,
    explore,
    report,
    show,
    data,
    families,
    datasets,
    analyses,
    recipes,
):
    kind = Command if command in (fit, sample, score, analyze) else None  # these have --set
    app.command(command.__name__.rpartition(".")[2], cls=kind)(reporting(command.command))
app.add_typer(plugins.app, name="plugins")


def _version(wanted: bool) -> None:
    if wanted:
        from probgen import __version__

        typer.echo(f"probgen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
    traceback: bool = typer.Option(False, "--traceback", help="Print the traceback of an error."),
) -> None:
    if traceback:
        os.environ["PROBGEN_TRACEBACK"] = "1"


def main() -> None:
    """Run the command line.

    It exits with an error if standard output cannot be written. A closed pipe (`| head`) ends it without a message.
    """
    if "stdout" in open_streams():
        complain("standard output is closed. Redirect it, e.g. > /dev/null.")
        sys.exit(2)
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
    try:
        with writing():
            app()
    except ProbgenError as error:  # output outside of commands: help or the version
        complain(str(error))
        sys.exit(error.exit_code)
