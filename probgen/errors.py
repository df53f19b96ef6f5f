"""One small tree of errors. A message names the thing, the value and the next step.

`exit_code` is what the command line ends with; `docs/design.md` lists the codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProbgenError(Exception):
    """Whatever probgen refuses or could not do."""

    exit_code = 1


class InputError(ProbgenError, ValueError):
    """Data, an option, a recipe or a path that cannot be used; nothing was written."""

    exit_code = 2


class NotOffered(InputError):
    """A family was asked for something that it does not offer."""


class FileError(ProbgenError):
    """A file that is damaged, hostile, or not one that probgen reads."""

    exit_code = 2


class RunError(ProbgenError):
    """A run folder that cannot be written: in use, full, or not writable."""


class PeerError(RunError):
    """Another process of a fit is gone, or does not answer."""


class PluginError(ProbgenError):
    """A plugin that is missing, broken, blocked, or shares its name with another."""

    exit_code = 3


class DivergedError(ProbgenError):
    """A number of the fit is no longer finite; the last good checkpoint is kept."""

    exit_code = 4


class Interrupted(KeyboardInterrupt):
    """A fit that a signal ended after a step, with everything saved.

    Like the `KeyboardInterrupt` that it is, it passes through `except Exception`.
    """

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal


def did_you_mean(name: str, known: Iterable[str], then: str = "") -> str:
    """A hint for the end of a message: the nearest known name, or all of them.

    then  a sentence that follows the hint, after a question mark or a full stop
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"did you mean {nearest[0]!r}? {then}".rstrip()
    hint = f"known: {', '.join(known)}" if known else "there is none"
    return f"{hint}. {then}" if then else hint
