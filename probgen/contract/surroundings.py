"""What surrounds a call does not change it: ambient modes of torch, NumPy and Pyro are set aside and put back.

Inside, torch's default dtype is float32 and its default device the processor; gradients are recorded, autocast and inference mode
are off, products of float32 are in float32; Pyro's stack of handlers, its plates and its parameter store are empty. One call
works at a time: torch's defaults and Pyro's stack are of the whole process, so calls of other threads wait.
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

# Pyro has no public way to set its stack of handlers and the dimensions of its plates aside
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.RLock()


class _Within(threading.local):
    """How deep this thread is in calls."""

    depth = 0


_within = _Within()


def _renew() -> None:
    """A child process has the threads of its parent no more, and must not wait for them."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


@contextmanager
def alone() -> Iterator[None]:
    """Nothing that surrounds the call reaches inside, and no other thread's call works meanwhile."""
    if _within.depth:  # a call of a call: what is set aside is set aside
        yield
        return
    with _lock, ExitStack() as stack:
        _within.depth = 1
        stack.callback(setattr, _within, "depth", 0)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            if torch.is_autocast_enabled(device):
                # nested in it, casts of weights would be kept from one step to the next
                stack.enter_context(torch.autocast(device, enabled=False, cache_enabled=False))
        stack.enter_context(_torch_defaults())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_pyro_is_empty())
        yield


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """The function, called `alone`."""

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
