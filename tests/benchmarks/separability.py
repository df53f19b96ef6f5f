"""Separability and path length of w against z, of the run of `probgen run rooms-stylegan` in `runs/rooms-stylegan` or `PROBGEN_RUN`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import probgen
from probgen.api.diagnosing import classified
from probgen.latents import path_length, separability

DRAWS, PATHS = 5000, 1000


def main() -> None:
    """Print both measures in both spaces; a network that tells factors is fitted first."""
    run = Path(os.environ.get("PROBGEN_RUN", "runs/rooms-stylegan/stylegan"))
    if not run.is_dir():
        print(
            f"separability: there is no run {run}; make it by: probgen run rooms-stylegan --out runs/rooms-stylegan"
        )
        return
    fitted, train = probgen.load(run), probgen.datasets.load("rooms", "train")
    teller = probgen.fit("attributes", train)
    draws = probgen.sample(fitted, DRAWS, mean=True, seed=1)
    told = probgen.attributes(teller, draws["x"].rename(sample="row").to_dataset())
    classes = probgen.score(teller, draws["x"].rename(sample="row").to_dataset())["class_log_prob"].values
    numbers = told.values[:, [i for i, name in enumerate(told["factor"].values) if name != "category"]]
    attributes = np.concatenate([numbers, classes], 1)
    space = classified(train[["x", "label"]].isel(row=slice(8000)), 0)
    real = space.of(train["x"].values[8000:10_000])
    unit = float(np.square(real[:1000] - real[1000:]).sum(1).mean())  # of two real rows
    other = probgen.sample(fitted, DRAWS, mean=True, seed=2)
    for name in ("z", "w"):

        def seen(codes: np.ndarray, name: str = name) -> np.ndarray:
            return space.of(probgen.decode(fitted, {name: codes})["x"].values)

        a, b = draws[name].values[:PATHS], other[name].values[:PATHS]
        length = path_length(seen, a, b, spherical=name == "z") / unit
        print(
            f"{name}: separability {separability(draws[name].values, attributes):.2f}, path length {length:.2f}",
            flush=True,
        )
