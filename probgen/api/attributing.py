"""attributes: what a fitted model or a registered function tells of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from probgen.api.common import name_of
from probgen.api.loading import load
from probgen.api.scoring import score
from probgen.contract.fitted import Fitted
from probgen.contract.surroundings import isolated
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.errors import InputError, PluginError, did_you_mean
from probgen.plugins.calling import guarded
from probgen.plugins.registry import find, registered


@isolated
def attributes(
    by: str | Path | Fitted | Callable[[np.ndarray], Mapping[str, np.ndarray]],
    data: Any,
    *,
    device: str | torch.device | None = None,
) -> xr.DataArray:
    """What is told of each row: `attribute (row, factor)`.

    by    a registered function of pixels (`morphology`, `clothing`) or one of your own, which gets images (row, height, width),
          ink from 0 to 1, and gives {name: (row,)}; or a fitted model whose score is `attribute`, as one of the family
          `attributes`, or its run
    data  whatever `probgen.data.as_dataset` takes

    Errors: `InputError`, `PluginError`.
    """
    if isinstance(by, str) and by in registered("attributes"):
        by = find("attributes", by).load()
    if isinstance(by, str) and not Path(by).exists():
        raise InputError(
            f"{by!r} is neither a function of attributes nor a run; {did_you_mean(by, registered('attributes'))}"
        )
    if isinstance(by, str | Path):
        by = load(by)
    if isinstance(by, Fitted):
        scores = score(by, data, device=device)
        if "attribute" not in scores:
            raise InputError(
                f"family {by.family!r} tells no attributes: its score is {', '.join(map(str, scores.data_vars))}"
            )
        return scores["attribute"]
    if not callable(by):
        raise InputError(
            f"by = {by!r}: the name of a function of attributes, a run, a fitted model or a function is needed"
        )
    return _computed(by, as_dataset(data))


def _computed(
    function: Callable[[np.ndarray], Mapping[str, np.ndarray]], dataset: xr.Dataset
) -> xr.DataArray:
    event = event_of(dataset)
    if event.dims != ("height", "width"):
        raise InputError(f"functions of pixels take grey images, not {event}")
    if event.support == "token" or "observed" in dataset:
        raise InputError("functions of pixels take images that are known whole, of numbers")
    x = dataset["x"].values.astype(np.float64)
    if event.discrete:
        x = x / max(1, (event.levels or 2) - 1)
    if not np.isfinite(x).all():
        raise InputError("functions of pixels take images that are known whole: x has NaN or infinite values")
    name = name_of(function)
    with guarded(f"function {name!r}"):
        found = function(x)
    if not isinstance(found, Mapping) or not found:
        raise PluginError(
            f"function {name!r} gives {type(found).__name__}, not numbers by name: {{name: (row,)}}"
        )
    for factor, values in found.items():
        if np.shape(values) != (len(x),):
            raise PluginError(
                f"function {name!r} gives {factor!r} of shape {np.shape(values)} for {len(x)} rows"
            )
    return xr.DataArray(
        np.stack([*found.values()], 1),
        {"factor": list(found)},
        ("row", "factor"),
        "attribute",
        {"long_name": "computed of pixels", "levels": [0] * len(found)},
    )
