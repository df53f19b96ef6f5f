"""The call `diagnose`: compare samples of any family with held-out rows."""

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
LABELED = 1000  # minimum number of labeled images for training a classifier
CHANNELS, BATCH = (32, 64), 128  # for the fit of the classifier
EPOCHS, LEAST, MOST = 10, 200, 3000  # epochs, and the minimum and maximum number of steps
AT_ONCE = 1000  # rows whose features are computed together


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
    """Compare samples of a model with held-out rows: modes, fidelity, diversity, distances, and a verdict.

    Args:
        fitted: A fitted model.
        data: Real rows that the fit has not seen. Samples are compared with these rows.
        reference: Other real rows, which define the modes: one mode for each `label`, or up to 20 cells of k-means
            without labels. By default, one half of `data` defines the modes, and samples are compared with the
            other half.
        features: A function from rows (row, *event) to features (row, feature), e.g. a network. All distances are
            between features. The default is x, unchanged. But for images with at least 1,000 labeled reference rows,
            a small classifier is trained on these rows: the default is its features, and its classes are the modes.
        n: Number of samples. The default is the number of compared rows.
        k: Number of neighbors for precision, recall, density and coverage.
        given: Latents for all samples, e.g. {"member": 3}. The conditions of the model come from the rows.
        seed: Seed of all random numbers.
        device: The device to sample on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.

    Returns:
        The Dataset of `probgen.evaluation.diagnose`. If a classifier was trained, its weights and its accuracy on
        `data` are included.

    Raises:
        InputError: When the rows, `given` or another argument is invalid, or values of x are missing.
        NotOffered: When the family does not sample.
        PluginError: When the family returns an invalid result.
    """
    seed = checked_seed(seed)
    if set(given or {}) & fitted.event.given.keys():
        raise InputError(
            f"given: {', '.join(sorted(fitted.event.given))} comes from the rows. Leave it out of given."
        )
    dataset, digest = _whole(fitted, data)
    order = np.random.default_rng(seed).permutation(dataset.sizes["row"])  # a file may be sorted
    half = dataset.sizes["row"] // 2 if reference is None else 0
    first, second = dataset.isel(row=order[:half]), dataset.isel(row=order[half:])
    if reference is not None:
        first = _whole(fitted, reference)[0]
    rows = second.sizes["row"]
    n = rows if n is None else n
    check_sizes(rows, n, k)  # before sampling
    names = (*fitted.event.given, *fitted.event.lengths)
    conditions = {name: second[name].values[np.resize(np.arange(rows), n)] for name in names}
    if conditions:  # one row of conditions per sample
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
        # a weight without dimensions would be read as a number of the diagnosis
        for name, values in state_of(space.classifier).data_vars.items():
            found[f"classifier.{name}"] = values if values.ndim else values.expand_dims("single")
    return found


def _whole(fitted: Fitted, data: Any) -> tuple[xr.Dataset, str]:
    """Return complete rows and their digest, or raise `InputError` if values are missing."""
    taken = prepare(
        data,
        fitted.definition,
        event=fitted.event,
        reading=fitted.reading,
        without=("weight",),
        dtype=fitted.dtype,
    )
    say_unused(taken.weight)
    if taken.missing:
        raise InputError(
            "x has missing values, but a diagnosis needs complete rows. Leave the incomplete rows out."
        )
    return taken.dataset, taken.digest


def _labeled(dataset: xr.Dataset) -> np.ndarray:
    """Return a mask of the rows that have a label: (row,)."""
    if "label" not in dataset:
        return np.zeros(dataset.sizes["row"], dtype=bool)
    label = dataset["label"].values
    return np.isfinite(label.astype(float)) & (label >= 0)


@dataclass(frozen=True)
class Space:
    """A space of features for distances, and the modes of its points.

    Attributes:
        name: Name of the features, for the results.
        of: Maps rows (row, *event) to features (row, feature).
        locate: Returns the mode of each feature vector.
        modes: Number of modes.
        classifier: The classifier that computes the features, or None.
    """

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    locate: Callable[[np.ndarray], Located]
    modes: int
    classifier: nn.Module | None = None


def classified(first: xr.Dataset, seed: int) -> Space:
    """Train a classifier on labeled images, and return the space of its features. Its classes are the modes."""
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
    return Space(
        f"features of a classifier of {modes} labels, trained on {n} reference rows", of, locate, modes, net
    )


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
    name = "x, unchanged" if features is None else name_of(features)
    return Space(name, of, modes.locate, len(modes.mean))
