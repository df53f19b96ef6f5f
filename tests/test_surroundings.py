"""Calls from several threads, from an event loop, and inside ambient modes: the bits of a call by itself."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyro
import pytest
import torch
import xarray as xr

import probgen
from probgen.contract.state import digest_of
from probgen.contract.surroundings import alone
from probgen.testing import spaces
from probgen.testing.ambient import AMBIENT

FAMILIES: dict[str, dict[str, Any]] = {
    "mixture": {"components": 2, "steps": 5},
    "independent": {},
    "nade": {"hidden": 4, "epochs": 1},
    "made": {"hidden": 4, "epochs": 1},
    "vae": {"latent": 1, "hidden": (4,), "epochs": 1},
    "autoencoder": {"latent": 1, "hidden": (4,), "epochs": 1},
}


def work(name: str, seed: int, data: xr.Dataset) -> str:
    """Digests of a fit, of draws and of scores."""
    fitted = probgen.fit(name, data, seed=seed, **FAMILIES[name])
    parts = [
        fitted.state,
        probgen.sample(fitted, 20, seed=seed),
        probgen.score(fitted, data, seed=seed),
    ]
    return " ".join(map(digest_of, parts))


def changed_by_threads(seeds: int, rounds: int) -> tuple[int, list[str]]:
    """Fits, draws and scores of six families in 8 threads: how many calls, and which have other bits than alone."""
    data = spaces.example("binary", rows=40)
    data_of = {name: spaces.example("real", rows=40) if name == "mixture" else data for name in FAMILIES}
    jobs = [(name, seed) for seed in range(seeds) for name in FAMILIES]
    expected = {job: work(*job, data_of[job[0]]) for job in jobs}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: work(*job, data_of[job[0]]), jobs * rounds))
    pairs = zip(jobs * rounds, found, strict=True)
    return 3 * len(found), [
        f"{name}, seed {seed}" for (name, seed), bits in pairs if bits != expected[name, seed]
    ]


def test_threads_do_not_meet() -> None:
    """No error, and the bits that each call has alone; `python -m tests.trust threads` has 400 calls."""
    assert changed_by_threads(seeds=2, rounds=2)[1] == []


def test_an_event_loop_changes_nothing() -> None:
    data = spaces.example("binary", rows=40)

    async def both() -> list[str]:
        loop = asyncio.get_running_loop()
        here = work("nade", 1, data)
        there = await loop.run_in_executor(None, work, "nade", 1, data)
        return [here, there]

    assert asyncio.run(both()) == [work("nade", 1, data)] * 2


def state() -> tuple[Any, ...]:
    """What modes there are."""
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        pyro.poutine.runtime.am_i_wrapped(),
        sorted(pyro.get_param_store().keys()),
        np.geterr(),
        pyro.settings.get("validate_poutine"),
    )


@pytest.mark.parametrize("name", AMBIENT)
def test_every_mode_is_put_back(name: str) -> None:
    """What a mode does outside it does after the call as well."""
    with AMBIENT[name]():
        before = state()
        with alone():
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert torch.zeros(1).dtype == torch.float32
            assert torch.zeros(1).device.type == "cpu"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
            assert not pyro.poutine.runtime.am_i_wrapped()
            assert not list(pyro.get_param_store().keys())
            with pyro.plate("row", 3, dim=-1):
                pass
        assert state() == before


def test_an_error_inside_puts_all_back() -> None:
    with pyro.poutine.scale(scale=0.5), pytest.raises(ZeroDivisionError), alone():
        raise ZeroDivisionError
    assert not pyro.poutine.runtime.am_i_wrapped()
    with alone(), alone():
        assert threading.active_count() >= 1


def test_a_score_inside_a_handler_is_that_outside() -> None:
    """The example that a scale of 0.1 made an `exact` score of a tenth."""
    w = np.random.default_rng(0).normal(size=(50, 2))
    fitted = probgen.fit("nade", w, epochs=2, hidden=8)
    expected = probgen.score(fitted, w)["log_prob"].values
    with pyro.poutine.scale(scale=0.1):
        np.testing.assert_array_equal(probgen.score(fitted, w)["log_prob"].values, expected)


def _child() -> str:
    return work("independent", 0, spaces.example("binary", rows=40))


def test_a_fork_during_a_call_does_not_wait_for_ever() -> None:
    """A child that is forked while another thread works has a lock of its own."""
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with alone():
            begun.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(60)
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(_child).get(60)
    finally:
        over.set()
        thread.join()
