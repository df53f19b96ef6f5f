"""diagnose: draws of any family beside real rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from probgen.api.common import name_of
from probgen.api.fitting import fit
from probgen.api.provenance import stamp
from probgen.api.sampling import sample
from probgen.contract.definition import Telling
from probgen.contract.fitted import Fitted
from probgen.contract.rows import as_tensor
from probgen.contract.seeds import checked_seed, key
from probgen.contract.state import state_of
from probgen.contract.surroundings import isolated
from probgen.data.intake import prepare, say_unused
from probgen.errors import InputError
from probgen.evaluation import cells, modes_of
from probgen.evaluation import diagnose as diagnosed
from probgen.evaluation.diagnosis import check_sizes
from probgen.evaluation.modes import Located

CELLS = 20  # modes of data without labels
LABELED = 1000  # images with labels that a classifier is worth training on
CHANNELS, BATCH = (32, 64), 128  # of its fit
EPOCHS, LEAST, MOST = 10, 200, 3000  # epochs, in so many steps at least and at most
AT_ONCE = 1000  # rows whose features are worked out together


@isolated
def diagnose(
    fitted: Fitted,
    data: Any,
    *,
    reference: Any = None,
    features: Callable[[np.ndarray], np.ndarray] | None = None,
    n: int | None = None,
    k: int = 5,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """What is wrong with the draws of a model: modes, fidelity, diversity, distances, and a verdict.

    data       real rows that the fit has not seen, which draws are held against
    reference  other real rows, which say where the modes are: one for each `label`, or else 20 cells of k-means; if left
               out, one half of `data`, and draws are held against the other
    features   from rows (row, *event) to (row, feature), a network's say, in which all distances are taken
    n          how many draws; as many as rows that they are held against, if left out
    given      latents that all draws are made from, e.g. {"member": 3}; what the model is conditioned on comes from the rows

    If `features` are left out they are x as it is; but of images of which 1,000 or more reference rows have labels, those of a
    small classifier that is trained on these, whose classes then are the modes. Returns what
    `probgen.evaluation.diagnose` does, with the weights of the classifier and how often it is right on `data`. Errors:
    `InputError`, `NotOffered`, `PluginError`.
    """
    seed = checked_seed(seed)
    if set(given or {}) & fitted.event.given.keys():
        raise InputError(f"given: {', '.join(sorted(fitted.event.given))} comes from the rows")
    dataset, digest = _whole(fitted, data)
    order = np.random.default_rng(seed).permutation(dataset.sizes["row"])  # a file may be sorted
    half = dataset.sizes["row"] // 2 if reference is None else 0
    first, second = dataset.isel(row=order[:half]), dataset.isel(row=order[half:])
    if reference is not None:
        first = _whole(fitted, reference)[0]
    rows = second.sizes["row"]
    n = rows if n is None else n
    check_sizes(rows, n, k)  # before anything is drawn
    names = (*fitted.event.given, *fitted.event.lengths)
    conditions = {name: second[name].values[np.resize(np.arange(rows), n)] for name in names}
    if conditions:  # a row of conditions for each draw
        fixed = {name: np.repeat(np.asarray(value)[None], n, 0) for name, value in (given or {}).items()}
        draws = sample(fitted, given=fixed | conditions, seed=seed, device=device, progress=progress)
    else:
        draws = sample(fitted, n, given=given, seed=seed, device=device, progress=progress)
    fake = draws["x"].values.reshape(-1, *second["x"].shape[1:])
    space = _space(first, features, seed)
    real = space.of(second["x"].values)
    found = diagnosed(real, space.of(fake), space.locate, space.modes, k=k, seed=seed)
    found.attrs |= {**stamp(fitted.definition, seed), "features": space.name, "data_sha256": digest}
    if space.classifier is not None:
        known = _labeled(second)
        if known.any():
            label = second["label"].values[known]
            found.attrs["classifier_accuracy"] = float((space.locate(real[known]).mode == label).mean())
        # what is one number would be taken for a figure of the diagnosis
        for name, values in state_of(space.classifier).data_vars.items():
            found[f"classifier.{name}"] = values if values.ndim else values.expand_dims("single")
    return found


def _whole(fitted: Fitted, data: Any) -> tuple[xr.Dataset, str]:
    """Rows that are known whole, and their digest."""
    taken = prepare(data, fitted.definition, event=fitted.event, without=("weight",), dtype=fitted.dtype)
    say_unused(taken.weight)
    if taken.missing:
        raise InputError("x is known in part: a diagnosis needs whole rows")
    return taken.dataset, taken.digest


def _labeled(dataset: xr.Dataset) -> np.ndarray:
    """Which rows have a label: (row,)."""
    if "label" not in dataset:
        return np.zeros(dataset.sizes["row"], dtype=bool)
    label = dataset["label"].values
    return np.isfinite(label.astype(float)) & (label >= 0)


@dataclass(frozen=True)
class Space:
    """Where distances are taken, and which mode a point of it belongs to."""

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    locate: Callable[[np.ndarray], Located]
    modes: int
    classifier: nn.Module | None = None


def classified(first: xr.Dataset, seed: int) -> Space:
    """The features of a classifier of the labels of images; its classes are the modes. A class has no place to be far from."""
    n = first.sizes["row"]
    steps = min(max(EPOCHS * n // BATCH, LEAST), MOST)
    how: dict[str, Any] = {"steps": steps, "batch_size": BATCH, "schedule": "constant", "learning_rate": 1e-3}
    fitted = fit("attributes", first[["x", "label"]], seed=seed, channels=CHANNELS, **how)
    net = fitted.module
    assert isinstance(net, Telling)
    levels = tuple(net.levels.values())

    @torch.no_grad()
    def of(x: np.ndarray) -> np.ndarray:
        parts = [net.features(as_tensor(x[i : i + AT_ONCE])) for i in range(0, len(x), AT_ONCE)]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def locate(features: np.ndarray) -> Located:
        told = net.tell(torch.from_numpy(features).float()).numpy().astype(np.int64)
        return Located(np.ravel_multi_index(tuple(told.T), levels))

    modes = int(np.prod(levels))
    return Space(f"of a classifier of {modes} labels, trained on {n} reference rows", of, locate, modes, net)


def _space(first: xr.Dataset, features: Callable[[np.ndarray], np.ndarray] | None, seed: int) -> Space:
    label, known = first["label"].values if "label" in first else None, _labeled(first)
    image = first["x"].dims[-2:] == ("height", "width")
    if features is None and image and label is not None and known.sum() >= LABELED:
        return classified(first.isel(row=np.flatnonzero(known)), seed)

    def of(x: np.ndarray) -> np.ndarray:
        return np.asarray(x if features is None else features(x)).reshape(len(x), -1)

    x = of(first["x"].values)
    if label is None or not known.any():
        modes = cells(x, min(CELLS, max(1, len(x) // 50)), key(seed, "cells") % 2**32)
    else:
        modes = modes_of(x[known], np.unique(label[known], return_inverse=True)[1])
    name = "x as it is" if features is None else name_of(features)
    return Space(name, of, modes.locate, len(modes.mean))
