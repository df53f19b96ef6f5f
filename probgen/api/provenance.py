"""The provenance of a result, as attributes of a file: text and numbers."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
import xarray as xr

from probgen.contract.definition import Definition
from probgen.datasets import READING


def stamp(family: Definition, seed: int) -> dict[str, Any]:
    """Return the provenance of a fit, of samples or of scores: family, time, versions and seed."""
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
    """Return the versions of the packages that can affect the bits of a result.

    They are read once per process: reading takes as long as some thousand samples.
    """
    packages = ("probgen", "torch", "pyro-ppl", "numpy", "xarray", "h5py")
    return {f"{package.replace('-', '_')}_version": version(package) for package in packages}


def about(dataset: xr.Dataset, digest: str) -> dict[str, Any]:
    """Return the facts about the data that a run stores."""
    named = {name: dataset.attrs[name] for name in ("name", "split", "path") if name in dataset.attrs}
    with suppress(ValueError):  # a user's own attribute may have this name
        reading = json.loads(str(dataset.attrs.get(READING, "{}")))
        named |= {READING: reading} if isinstance(reading, dict) and reading else {}
    return {**named, "rows": dataset.sizes["row"], "sha256": digest}
