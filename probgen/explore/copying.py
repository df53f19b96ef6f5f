"""A call of `sample` as text: the Python and the command that give what the page shows."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from probgen.codecs.toml import inline_toml
from probgen.explore.calls import Call


def python(call: Call, run: Path) -> str:
    """Return a script that makes the samples of a call.

    Args:
        call: The call.
        run: The folder or file of the model.

    Returns:
        The script; its variable `x` is what the page shows.
    """
    lines = [
        "fitted",
        str(call.n),
        *([f"given={_literal(call.given)}"] if call.given else []),
        f"seed={call.seed}",
    ]
    lines += [f"device={call.device!r}"] if call.device else []
    lines += [f"{name}={_literal(value)}" for name, value in call.options.items()]
    arguments = "".join(f"    {line},\n" for line in lines)
    nan = "from math import nan\n\n" if _unknown(call.given) else ""
    return (
        f"{nan}import probgen\n\nfitted = probgen.load({str(run)!r})\n"
        f'x = probgen.sample(\n{arguments})["x"].values\n'
    )


def command(call: Call, run: Path) -> str:
    """Return a command that writes the samples of a call to `draws.h5`.

    Args:
        call: The call.
        run: The folder or file of the model.

    Returns:
        One line for a POSIX shell.
    """
    words = ["probgen", "sample", str(run), "-n", str(call.n), "--seed", str(call.seed)]
    words += ["--device", call.device] if call.device else []
    for name, value in {**call.given, **call.options}.items():
        words += ["--set", f"{name}={inline_toml(value)}"]
    return shlex.join([*words, "--out", "draws.h5"])


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_literal(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)  # of a float: the shortest text that is read as the same number


def _unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_unknown, value.values()))
    return (
        any(map(_unknown, value))
        if isinstance(value, list)
        else isinstance(value, float) and math.isnan(value)
    )
