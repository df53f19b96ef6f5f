"""Global modes of torch, NumPy and Pyro around a call, which must not change its results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pyro
import torch
from pyro import poutine


@contextmanager
def _default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _validation() -> Iterator[None]:
    before = pyro.settings.get()
    pyro.enable_validation(True)
    try:
        yield
    finally:
        pyro.settings.set(**before)


@contextmanager
def _parameters() -> Iterator[None]:
    store = pyro.get_param_store()
    for name in ("mu", "x", "encoder$$$net.weight"):
        pyro.param(name, torch.ones(3))
    try:
        yield
        left = set(store.keys())
        if left != {"mu", "x", "encoder$$$net.weight"}:
            raise AssertionError(
                f"Pyro's parameter store has {sorted(left)} after the call. A call must not change this store."
            )
    finally:
        store.clear()


@contextmanager
def _warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


AMBIENT: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "default dtype": _default_dtype,
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float32 precision": _precision,
    "scale": lambda: poutine.scale(scale=0.1),
    "mask": lambda: poutine.mask(mask=False),
    "condition": lambda: poutine.condition(data={"z": torch.zeros(()), "x": torch.zeros(())}),
    "trace": poutine.trace,
    "plate": lambda: pyro.plate("row", 7, dim=-1),
    "parameters": _parameters,
    "validation": _validation,
    "floating point errors": lambda: np.errstate(all="raise"),
    "warnings": _warnings,
}
