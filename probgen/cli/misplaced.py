"""Options of a family or an analysis that are written as options of a command: the error names `--set`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from probgen.cli.common import complain
from probgen.errors import ProbgenError

if TYPE_CHECKING:
    from pydantic import BaseModel


class Command(TyperCommand):
    """A command that recognizes options of the family or the analysis that its arguments name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. For a misplaced option, print the form with `--set` and exit with 2."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.Exit:  # of --help
            raise
        except Exception:  # typer has its own classes of click's errors
            hint = _hint(str(self.name), given, {name for param in self.params for name in param.opts})
            if hint is None:
                raise
        complain(hint)
        raise typer.Exit(2)


def _hint(command: str, args: Sequence[str], own: set[str]) -> str | None:
    """Return the error for the first unknown option that a family or an analysis has, or None."""
    unknown = [i for i, arg in enumerate(args) if arg.startswith("--") and arg.partition("=")[0] not in own]
    if not unknown:
        return None
    try:
        owners = list(_owners(command, args))
    except ProbgenError:
        return None
    for i in unknown:
        option, equals, value = args[i].partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not equals and i + 1 < len(args) and not args[i + 1].startswith("--"):
            value = args[i + 1]
        for owner, options in owners:
            if name in options.model_fields:
                return f"{option}: this is an option of {owner}. Use --set {name}={value or 'VALUE'}."
    return None


def _owners(command: str, args: Sequence[str]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the family or the analysis that the arguments name, and its options for the command."""
    from probgen.plugins.analysis import analysis
    from probgen.plugins.family import family
    from probgen.plugins.registry import registered

    words = [arg for arg in args if not arg.startswith("-")]
    if command == "analyze":
        yield from ((f"analysis {w}", analysis(w).options) for w in words if w in registered("analyses"))
    elif command == "fit":
        yield from ((f"family {w}", family(w).options("fit")) for w in words if w in registered("families"))
    else:
        names = [name for word in words for name in _families_of(Path(word))]
        yield from ((f"family {name}", family(name).options(command)) for name in names)


def _families_of(run: Path) -> list[str]:
    """Return the family of a run folder, by its request."""
    from probgen.store.files import read_request
    from probgen.store.folder import REQUEST

    models = read_request(run / REQUEST).get("models", {}) if (run / REQUEST).is_file() else {}
    return [str(model["family"]) for model in models.values()]
