"""Calling code of others: nothing that it does to global state outlives the call, and a failure names it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch

from probgen.contract.seeds import numpy_state
from probgen.errors import PluginError, ProbgenError


@contextmanager
def guarded(where: str, *, gradients: bool = False) -> Iterator[None]:
    """What a plugin does inside leaves global state as it was.

    where      the plugin and what it does, for messages
    gradients  whether gradients are recorded

    Argument validation is off inside (the data were checked once at the door) and as before afterwards; Pyro's
    parameters are local to their modules. Errors: `PluginError`, with the cause, for whatever the plugin raises that is
    not an error of probgen's own.
    """
    with _global_state_kept(where), _settings(), _named(where), torch.set_grad_enabled(gradients):
        yield


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the plugin's name to whatever it raises that is not an error of probgen's own."""
    try:
        yield
    except (ProbgenError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:400]
        raise PluginError(f"{where}: {type(error).__name__}: {reason}") from error


@contextmanager
def _settings() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        pyro.settings.context(
            validate_distributions_pyro=False,
            validate_distributions_torch=False,
            validate_infer=False,
            validate_poutine=False,
            module_local_params=True,
        ),
    ):
        # `run.train` names what is not finite
        warnings.filterwarnings("ignore", "Encountered (NaN|.inf)", UserWarning)
        yield


@contextmanager
def _global_state_kept(where: str) -> Iterator[None]:
    """Name a plugin that draws from NumPy's or Python's global generator or changes torch's defaults."""
    dtype, legacy, state = torch.get_default_dtype(), numpy_state(), random.getstate()
    stored = set(pyro.get_param_store().keys())
    try:
        yield
    finally:
        now = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        left = set(pyro.get_param_store().keys()) - stored
        for name in left:
            del pyro.get_param_store()[name]
    changed = []
    if now != dtype:
        changed.append("torch's default dtype")
    if numpy_state() != legacy:
        changed.append("NumPy's global generator (use run.numpy())")
    if random.getstate() != state:
        changed.append("Python's global generator (use run.key())")
    if changed:
        warnings.warn(f"{where} changed {' and '.join(changed)}; it was put back", stacklevel=5)
    if left:
        raise PluginError(f"{where} left {min(left)!r} in Pyro's global store: use nn.Parameter")
