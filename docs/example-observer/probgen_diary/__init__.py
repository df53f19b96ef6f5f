"""The observer `diary`: one line for each call, in the file that the environment variable PROBGEN_DIARY names."""

from __future__ import annotations

import os
from pathlib import Path

from probgen import hookimpl
from probgen.contract.hookspecs import ObservedCall

PLACE = "PROBGEN_DIARY"  # without it, the observer does nothing


@hookimpl
def ended(hook: str, call: ObservedCall, error: BaseException | None, seconds: float) -> None:
    """Append the hook, the family, the outcome and the time of a call.

    Args:
        hook: "fit", "sample" or "score".
        call: What is known of the call.
        error: The error that ended the call, or None.
        seconds: Duration of the call.
    """
    if PLACE in os.environ:
        outcome = "done" if error is None else type(error).__name__
        with Path(os.environ[PLACE]).open("a") as file:
            file.write(f"{hook} {call.family} {outcome} {seconds:.1f} s\n")
