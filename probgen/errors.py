"""The errors of probgen. A message names the thing, the value and the next step.

`exit_code` is the exit status of the command line; `docs/design.md` lists the codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 20  # names in a message, at most


class ProbgenError(Exception):
    """The base class of the errors of probgen."""

    exit_code = 1


class InputError(ProbgenError, ValueError):
    """Data, an option, a recipe or a path that cannot be used; nothing was written."""

    exit_code = 2


class NotOffered(InputError):
    """A request for something that a family does not offer."""


class FileError(ProbgenError):
    """A file that is damaged, hostile, or not in a format that probgen reads."""

    exit_code = 2


class RunError(ProbgenError):
    """A run folder that cannot be written, because it is in use, full or read-only."""


class PeerError(RunError):
    """Another process of a fit that has ended or does not answer."""


class PluginError(ProbgenError):
    """A plugin that is missing, broken or blocked, or whose name is not unique."""

    exit_code = 3


class DivergedError(ProbgenError):
    """A number of the fit that is no longer finite; the last good checkpoint is kept."""

    exit_code = 4


class Interrupted(KeyboardInterrupt):
    """A fit that a signal ended after a step, with everything saved.

    `Interrupted` is a `KeyboardInterrupt`, so `except Exception` does not catch it.

    Args:
        message: The message.
        signal: The number of the signal.

    Attributes:
        signal: The number of the signal.
        exit_code: The exit status of the command line: 128 plus the number of the signal.
    """

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal


def of_all(where: str, problems: Sequence[ProbgenError], most: int = 8) -> ProbgenError:
    """Return one error for all problems of a file, on one line.

    Args:
        where: The file or folder.
        problems: The errors, at least one.
        most: Number of problems in the message.

    Returns:
        The only error; or an error of the type of the first, with the number of problems and the first of them.
    """
    first = problems[0]
    if len(problems) == 1:
        return first
    texts = [
        str(each).removeprefix(f"{where}, ").removeprefix(f"{where}: ").rstrip(".")
        for each in problems[:most]
    ]
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return type(first)(f"{where} has {len(problems)} problems: {'; '.join(texts)}{more}.")


def did_you_mean(name: str, known: Iterable[str], then: str = "") -> str:
    """Return a hint for the end of a message: the nearest known name, or the known names.

    Of more than 20 names without a near one, the first 20 are listed.

    Args:
        name: The unknown name.
        known: The known names.
        then: A sentence that follows the hint.

    Returns:
        The hint, then a question mark or a period, then the sentence.
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"did you mean {nearest[0]!r}? {then}".rstrip()
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    hint = f"known: {', '.join(known[:LISTED])}{more}" if known else "known: none"
    return f"{hint}. {then}" if then else hint
