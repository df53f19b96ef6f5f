"""Complete calls: a mixture compared with scikit-learn, and every family compared with one call of its own hook.

First part: 200,000 x 16 rows, 32 full components, float64: fit (start, ten steps, criteria), score, 200,000
samples. Second part: samples and scores of 10,000 small events. It measures the overhead of a call: checks,
shards, names. The compared programs run alternately.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import probgen
from probgen.contract.fitted import Fitted
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.testing import spaces
from tests.benchmarks.em import STEPS, K, problem

ROWS = 10_000
NETS: dict[str, Any] = {"epochs": 1}
CODES = {"codes": 4, "latent": 2, "halvings": 1, "hidden": 8, "prior": {"epochs": 1}}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "independent": ("binary", {}),
    "mixture": ("real", {"components": 3}),
    "bayesian-mixture": ("real", {"components": 2, "steps": 50, "method": "svi"}),
    "fvsbn": ("binary", NETS),
    "made": ("binary", NETS),
    "nade": ("binary", NETS),
    "pixelcnn": ("image", {"channels": 8, "layers": 2, **NETS}),
    "pixelrnn": ("image", {"hidden": 8, "layers": 1, **NETS}),
    "char-rnn": ("text", {"hidden": 16, **NETS}),
    "ngram": ("text", {}),
    "transformer": ("text", {"width": 16, "heads": 2, "layers": 1, **NETS}),
    "wavenet": ("text", {"channels": 8, "dilations": (1, 2), "stacks": 1, **NETS}),
    "vae": ("binary", {"latent": 2, **NETS}),
    "autoencoder": ("binary", {"latent": 2, **NETS}),
    "m2": ("binary", {"latent": 2, "classes": 2, **NETS}),
    "gan": ("real", {"latent": 2, "steps": 5}),
    "dcgan": ("image", {"latent": 2, "channels": (4,), "steps": 5}),
    "vqvae": ("image", {**CODES, **NETS}),
    "vqvae2": ("image", {**CODES, **NETS}),
}


def main(turns: int = 3) -> None:
    """Print times and ratios."""
    against_scikit_learn(turns)
    against_the_hook(turns)


def against_scikit_learn(turns: int) -> None:
    """Medians of three calls."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, _ = problem()
    peer = GaussianMixture(K, max_iter=STEPS, tol=0.0, random_state=0, reg_covar=0.0)
    times: dict[str, list[tuple[float, float]]] = {"fit": [], "score": [], "draws": []}
    for _ in range(turns):
        ours, fitted = timed(lambda: probgen.fit("mixture", x, components=K, steps=STEPS, tolerance=0.0))
        times["fit"].append((ours, timed(lambda: peer.fit(x))[0]))
        score, draws = partial(probgen.score, fitted, x), partial(probgen.sample, fitted, len(x))
        times["score"].append((timed(score)[0], timed(lambda: peer.score_samples(x))[0]))
        times["draws"].append((timed(draws)[0], timed(lambda: peer.sample(len(x)))[0]))
    for name, pairs in times.items():
        ours, theirs = (statistics.median(t) for t in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"mixture, {name:5}: {ours:.2f} s, scikit-learn {theirs:.2f} s, {ratio:.1f} times as fast")


def against_the_hook(turns: int) -> None:
    """The call over the hook, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for family, (kind, options) in FAMILIES.items():
            few = data(kind, 200)
            if family == "m2":
                few = few.assign(label=("row", few["x"].values[:, 0]))
            fitted = probgen.fit(family, few, **options)
            print(f"{family:16} " + ", ".join(_ratios(fitted, data(kind, ROWS), turns)), flush=True)
    finally:
        torch.set_num_threads(threads)


def data(kind: str, rows: int) -> xr.Dataset:
    """Small events."""
    if kind in ("real", "binary"):
        return spaces.example(kind, rows)
    rng = np.random.default_rng(0)
    if kind == "image":
        image = rng.integers(0, 2, (rows, 4, 4)).astype(np.uint8)
        return xr.Dataset({"x": (("row", "height", "width"), image, {"support": "binary"})})
    text = rng.integers(0, 4, (rows, 12))
    return xr.Dataset({"x": (("row", "time"), text, {"support": "token", "levels": 4})})


def _ratios(fitted: Fitted, rows: xr.Dataset, turns: int) -> list[str]:
    family, run, found = fitted.definition, Run(0, dtype=fitted.dtype), []
    options = family.options("sample").model_validate({})
    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    calls["draws"] = (
        lambda: probgen.sample(fitted, ROWS),
        lambda: family.call("sample", fitted=fitted, n=ROWS, given={}, options=options, run=run),
    )
    if family.offers("score"):
        wanted = family.options("score").model_validate({})
        kinds: dict[str, Any] = {"dtype": run.dtype, "x_dtype": family.dtype_of_x(run.dtype)}
        whole = next(Rows(rows, fitted.event, **kinds).chunks(ROWS))
        calls["scores"] = (
            lambda: probgen.score(fitted, rows),
            lambda: family.call("score", fitted=fitted, data=whole, options=wanted, run=run),
        )
    for name, (call, hook) in calls.items():
        pairs = []
        for _ in range(turns):
            with generators_kept(), torch.no_grad():
                seed_torch(0)
                direct, _ = timed(hook)
            pairs.append((timed(call)[0], direct))
        ours, direct = (statistics.median(t) for t in zip(*pairs, strict=True))
        found.append(
            f"{name} {ours * 1e3:.0f} ms, {statistics.median(a / b for a, b in pairs):.2f} times the hook ({direct * 1e3:.0f})"
        )
    return found


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result
