"""Isolation of a call: modes of torch, NumPy and Pyro are set aside, and restored after the call.

During the call, torch's default dtype is float32 and its default device is the CPU. Gradients are recorded,
autocast and inference mode are off, and products of float32 are computed in float32. Pyro's stack of
handlers, its plates and its parameter store are empty. torch's defaults and Pyro's stack belong to the whole
process, so only one call runs at a time: calls of other threads wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pyro
import torch

# Pyro has no public function that sets aside its stack of handlers and the dimensions of its plates
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.RLock()


class _Within(threading.local):
    """The depth of nested calls in this thread."""

    depth = 0


_within = _Within()


def _renew() -> None:
    """Replace the lock in a child process, in which the threads of the parent do not exist."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


@contextmanager
def alone() -> Iterator[None]:
    """Isolate the context from ambient modes and from the calls of other threads."""
    if _within.depth:  # a nested call: the outer call has set the modes aside
        yield
        return
    with _lock, ExitStack() as stack:
        _within.depth = 1
        stack.callback(setattr, _within, "depth", 0)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            if torch.is_autocast_enabled(device):
                # the cache of an outer autocast would keep casts of weights from one step to the next
                stack.enter_context(torch.autocast(device, enabled=False, cache_enabled=False))
        stack.enter_context(_torch_defaults())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_pyro_is_empty())
        yield


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, called within `alone`.

    Args:
        function: A function of probgen's interface.

    Returns:
        The isolated function.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with alone():
            return function(*args, **kwargs)

    return called


@contextmanager
def _torch_defaults() -> Iterator[None]:
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    with ExitStack() as stack:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if precision != "highest":
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, precision)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def _pyro_is_empty() -> Iterator[None]:
    handlers, plates, store = list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack), pyro.get_param_store()
    state: Any = store.get_state() if len(store) else None
    if state is not None:
        store.clear()
    _PYRO_STACK.clear()
    _DIM_ALLOCATOR._stack.clear()
    try:
        yield
    finally:
        _PYRO_STACK[:] = handlers
        _DIM_ALLOCATOR._stack[:] = plates
        if state is not None:
            store.set_state(state)
