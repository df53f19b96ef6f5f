"""Calls of third-party code: changes of global state are undone, and an error message names the plugin."""

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
    """Undo the changes of global state by a plugin, and name the plugin in errors.

    Argument validation is off within the context, because the data were checked before the call. Pyro's
    parameters are local to their modules.

    Args:
        where: The plugin and its function, for messages.
        gradients: Whether gradients are recorded.

    Raises:
        PluginError: When the plugin raises an error that is not probgen's own; the original error is the
            cause.
    """
    with _global_state_kept(where), _settings(), _named(where), torch.set_grad_enabled(gradients):
        yield


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Name the plugin in every error that is not probgen's own."""
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
        # `run.train` reports values that are not finite
        warnings.filterwarnings("ignore", "Encountered (NaN|.inf)", UserWarning)
        yield


@contextmanager
def _global_state_kept(where: str) -> Iterator[None]:
    """Restore the global state that a plugin changed.

    A plugin that uses NumPy's or Python's global generator, or changes torch's default dtype, causes a
    warning. A parameter in Pyro's global store raises `PluginError`.
    """
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
        warnings.warn(f"{where} changed {' and '.join(changed)}; the old state was restored", stacklevel=5)
    if left:
        raise PluginError(f"{where} left {min(left)!r} in Pyro's global store. Use nn.Parameter instead.")
