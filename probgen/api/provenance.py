"""How a result came to be, as attributes of a file: text and numbers."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
import xarray as xr

from probgen.contract.definition import Definition


def stamp(family: Definition, seed: int) -> dict[str, Any]:
    """Of a fit, draws or scores: who made it, when, with which versions and seed."""
    return {
        "family": family.name,
        "family_origin": family.origin,
        "seed": seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **_versions(),
    }


@cache
def _versions() -> dict[str, str]:
    """Of the packages whose versions may decide the bits. Read once a process: it takes as long as some thousand draws."""
    packages = ("probgen", "torch", "pyro-ppl", "numpy", "xarray", "h5py")
    return {f"{package.replace('-', '_')}_version": version(package) for package in packages}


def about(dataset: xr.Dataset, digest: str) -> dict[str, Any]:
    """What a run remembers of its data."""
    named = {name: dataset.attrs[name] for name in ("name", "split", "path") if name in dataset.attrs}
    return {**named, "rows": dataset.sizes["row"], "sha256": digest}
