"""attributes: what a fitted model or a registered function tells of rows, as it is or as numbers that go up and down."""

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
    """What is told of each row: `attribute (row, factor)`.

    by    a registered function of pixels (`morphology`, `clothing`), which take gray images; or one of your own, which gets x (row, ...),
          levels as 0 to 1, and gives {name: (row,)}; or a fitted model whose score is `attribute`, as one of the family
          `attributes`, or its run
    data  whatever `probgen.data.as_dataset` takes

    Errors: `InputError`, `PluginError`.
    """
    by = teller(by)
    if not isinstance(by, Fitted):
        return _computed(by, as_dataset(data))
    scores = score(by, data, device=device)
    if "attribute" not in scores:
        raise InputError(
            f"family {by.family!r} tells no attributes: its score is {', '.join(map(str, scores.data_vars))}"
        )
    return scores["attribute"]


@isolated
def attribute_scores(by: By, data: Any, *, device: str | torch.device | None = None) -> xr.DataArray:
    """What is told of each row as numbers that go up and down: `attribute (row, factor)`.

    Numbers are as `attributes` has them, of classes it is their probabilities. Of a model whose score tells no attributes it is p(class | x), if it
    has that, or else each number that the score has for a row, the `critic` of a GAN for one. Coordinates of `factor`: `of`, the attribute that a
    class belongs to, and `middle`, the score between more and less, NaN where it is the median.

    by, data  as of `attributes`

    Errors: `InputError`, `PluginError`.
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
        if levels == 2:  # one of them says it all
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
    """What tells attributes: loaded, where it is the name of a function or a run. Errors: `InputError`, `PluginError`, `FileError`."""
    if isinstance(by, str) and by in registered("attributes"):
        by = find("attributes", by).load()
    if isinstance(by, str) and not Path(by).exists():
        raise InputError(
            f"{by!r} is neither a function of attributes nor a run; {did_you_mean(by, registered('attributes'))}"
        )
    if isinstance(by, str | Path):
        by = load(by)
    if not isinstance(by, Fitted) and not callable(by):
        raise InputError(
            f"by = {by!r}: the name of a function of attributes, a run, a fitted model or a function is needed"
        )
    return by


def _computed(
    function: Callable[[np.ndarray], Mapping[str, np.ndarray]], dataset: xr.Dataset
) -> xr.DataArray:
    event, name = event_of(dataset), name_of(function)
    if event.support == "token" or "observed" in dataset:
        raise InputError("functions of pixels need complete numeric x, not symbols")
    x = dataset["x"].values.astype(np.float64)
    if event.discrete:
        x = x / max(1, (event.levels or 2) - 1)
    if not np.isfinite(x).all():
        raise InputError("functions of pixels need complete x: it has NaN or infinite values")
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
        if np.asarray(values).dtype.kind not in "biuf":
            raise PluginError(
                f"function {name!r} gives {factor!r} of {np.asarray(values).dtype}, not numbers"
            )
    return xr.DataArray(
        np.stack([*found.values()], 1),
        {"factor": list(found)},
        ("row", "factor"),
        "attribute",
        {"long_name": "computed of pixels", "levels": [0] * len(found)},
    )
