"""The calls `attributes` and `attribute_scores`: attributes of rows, by a fitted model or by a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from probgen.api.common import name_of
from probgen.api.loading import load
from probgen.api.scoring import score
from probgen.contract.fitted import Fitted
from probgen.contract.options import PosteriorOptions
from probgen.contract.surroundings import isolated
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.errors import InputError, PluginError, did_you_mean
from probgen.plugins.calling import guarded
from probgen.plugins.registry import find, registered

By = str | Path | Fitted | Callable[[np.ndarray], Mapping[str, np.ndarray]]


@isolated
def attributes(
    by: By,
    data: Any,
    *,
    device: str | torch.device | None = None,
) -> xr.DataArray:
    """Return the attributes of rows, by a fitted model or by a function.

    Args:
        by: One of three:
            a registered function of gray images, e.g. "morphology" or "clothing";
            your own function, which receives x (row, ...) with levels scaled to 0 .. 1, and returns {name: (row,)};
            a fitted model whose score is `attribute`, e.g. of the family `attributes`, or the path of its run.
        data: The rows, in any form that `probgen.data.as_dataset` accepts.
        device: The device of a fitted model, e.g. "cuda". The default is "cpu".

    Returns:
        The attributes: `attribute (row, factor)`.

    Raises:
        InputError: When `by` is unknown, its score has no attributes, or the rows are invalid.
        PluginError: When the function fails or returns an invalid result.
    """
    by = teller(by)
    if not isinstance(by, Fitted):
        return _computed(by, as_dataset(data))
    scores = score(by, data, device=device)
    if "attribute" not in scores:
        raise InputError(
            f"family {by.family!r} has no attributes: its score is {', '.join(map(str, scores.data_vars))}"
        )
    return scores["attribute"]


@isolated
def attribute_scores(by: By, data: Any, *, device: str | torch.device | None = None) -> xr.DataArray:
    """Return the attributes of rows as continuous numbers.

    A numeric attribute is returned unchanged. A class attribute is replaced by the probabilities of its classes.
    A model without attributes returns p(class | x) if it can compute it; otherwise it returns each number that its
    score has per row, e.g. the `critic` of a GAN.

    Args:
        by: A function, a fitted model or its run, as for `attributes`.
        data: The rows, in any form that `probgen.data.as_dataset` accepts.
        device: The device of a fitted model, e.g. "cuda". The default is "cpu".

    Returns:
        The scores: `attribute (row, factor)`. The coordinate `of` of `factor` names the attribute of a class. The
        coordinate `middle` is the threshold between low and high; NaN means the median.

    Raises:
        InputError: When `by` is unknown, its score has no number per row, or the rows are invalid.
        PluginError: When the function fails or returns an invalid result.
    """
    by = teller(by)
    if not isinstance(by, Fitted):
        return _side_by_side(
            [_Part.of_number(told) for told in _computed(by, as_dataset(data)).transpose("factor", "row")]
        )
    posterior = issubclass(by.definition.options("score"), PosteriorOptions)
    scores = score(by, data, device=device, **({"posterior": True} if posterior else {}))
    if posterior:
        said = scores["posterior"]
        name = str(said.dims[1])
        return _side_by_side([_Part(f"{name} {i}", name, p, 0.5) for i, p in enumerate(said.values.T)])
    if "attribute" not in scores:
        numbers = [v for v in scores.data_vars.values() if v.dims == ("row",) and v.dtype.kind == "f"]
        return _side_by_side([_Part(str(v.name), str(v.name), v.values, np.nan) for v in numbers])
    told, parts = scores["attribute"], []
    classes = (
        np.exp(scores["class_log_prob"].values.T) if "class_log_prob" in scores else np.zeros((0, len(told)))
    )
    for number, levels in zip(told.transpose("factor", "row"), told.attrs["levels"], strict=True):
        name = str(number["factor"].values)
        if not levels:
            parts.append(_Part.of_number(number))
            continue
        own, classes = classes[:levels], classes[levels:]
        if levels == 2:  # the other probability is redundant
            parts.append(_Part(name, name, own[1], 0.5))
        else:
            parts += [_Part(f"{name} {i}", name, p, 0.5) for i, p in enumerate(own)]
    return _side_by_side(parts)


class _Part(NamedTuple):
    name: str
    of: str
    values: np.ndarray
    middle: float

    @staticmethod
    def of_number(told: xr.DataArray) -> _Part:
        name = str(told["factor"].values)
        return _Part(name, name, told.values, np.nan)


def _side_by_side(parts: list[_Part]) -> xr.DataArray:
    if not parts:
        raise InputError("the score of this model has no number per row")
    names, of, values, middle = zip(*parts, strict=True)
    if len(set(names)) < len(names):
        raise InputError(f"scores of attributes need different names, not {', '.join(names)}")
    coords = {"factor": list(names), "of": ("factor", list(of)), "middle": ("factor", list(middle))}
    return xr.DataArray(np.stack(values, 1).astype(np.float64), coords, ("row", "factor"), "attribute")


def teller(by: By) -> Fitted | Callable[[np.ndarray], Mapping[str, np.ndarray]]:
    """Return the source of attributes, loaded if it is the name of a function or a run."""
    if isinstance(by, str) and by in registered("attributes"):
        by = find("attributes", by).load()
    if isinstance(by, str) and not Path(by).exists():
        raise InputError(
            f"by = {by!r}: it is neither a registered function of attributes nor a run; {did_you_mean(by, registered('attributes'))}"
        )
    if isinstance(by, str | Path):
        by = load(by)
    if not isinstance(by, Fitted) and not callable(by):
        raise InputError(
            f"by = {by!r}: a registered function of attributes, a run, a fitted model or a function is needed"
        )
    return by


def _computed(
    function: Callable[[np.ndarray], Mapping[str, np.ndarray]], dataset: xr.Dataset
) -> xr.DataArray:
    event, name = event_of(dataset), name_of(function)
    if event.support == "token" or "observed" in dataset:
        raise InputError(f"function {name!r} needs complete numeric x, but x has symbols or missing values")
    x = dataset["x"].values.astype(np.float64)
    if event.discrete:
        x = x / max(1, (event.levels or 2) - 1)
    if not np.isfinite(x).all():
        raise InputError(f"function {name!r} needs complete x, but x has NaN or infinite values")
    with guarded(f"function {name!r}"):
        found = function(x)
    if not isinstance(found, Mapping) or not found:
        raise PluginError(
            f"function {name!r} returned {type(found).__name__}. Return numbers by name: {{name: (row,)}}."
        )
    for factor, values in found.items():
        if np.shape(values) != (len(x),):
            raise PluginError(
                f"function {name!r} returned {factor!r} of shape {np.shape(values)} for {len(x)} rows. Return one number per row."
            )
        if np.asarray(values).dtype.kind not in "biuf":
            raise PluginError(
                f"function {name!r} returned {factor!r} of type {np.asarray(values).dtype}. Return numbers."
            )
    return xr.DataArray(
        np.stack([*found.values()], 1),
        {"factor": list(found)},
        ("row", "factor"),
        "attribute",
        {"long_name": "computed from pixels", "levels": [0] * len(found)},
    )
