"""diagnose: draws of any family beside real rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from probgen.api.sampling import sample
from probgen.data import as_dataset, check
from probgen.errors import InputError
from probgen.evaluation import Modes, cells, modes_of
from probgen.evaluation import diagnose as diagnosed
from probgen.fitted import Fitted
from probgen.provenance import stamp
from probgen.rows import numpy_dtype
from probgen.seeds import checked_seed

CELLS = 20  # modes of data without labels


def diagnose(
    fitted: Fitted,
    data: Any,
    *,
    n: int | None = None,
    k: int = 5,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """What is wrong with the draws of a model: modes, fidelity, diversity, distances, and a verdict.

    data  real rows that the fit has not seen; one half of them says where the modes are (one for each `label`, or else
          20 cells of k-means), the other is what draws are held against
    n     how many draws; as many as rows that they are held against, if left out
    given latents that all draws are made from, e.g. {"member": 3}; what the model is conditioned on comes from the rows

    Features are x as it is. Returns what `probgen.evaluation.diagnose` does. Errors: `InputError`, `NotOffered`,
    `PluginError`.
    """
    seed = checked_seed(seed)
    dataset = as_dataset(data)
    missing, digest = check(
        dataset.drop_vars("weight", errors="ignore"),
        fitted.event,
        fitted.definition.accepts,
        fitted.family,
        numpy_dtype(fitted.dtype),
    )
    if missing or "observed" in dataset:
        raise InputError("x is known in part: a diagnosis needs whole rows")
    rows = dataset.sizes["row"]
    order = np.random.default_rng(seed).permutation(rows)
    x = dataset["x"].values.reshape(rows, -1)
    first, second = order[: rows // 2], order[rows // 2 :]
    modes = _modes(x[first], dataset["label"].values[first] if "label" in dataset else None, seed)
    n = len(second) if n is None else n
    if n < 1:
        raise InputError(f"n = {n!r}: at least 1 draw is needed")
    conditions = {name: dataset[name].values[np.resize(second, n)] for name in fitted.event.given}
    if conditions:  # a row of conditions for each draw
        fixed = {name: np.repeat(np.asarray(value)[None], n, 0) for name, value in (given or {}).items()}
        draws = sample(fitted, given=fixed | conditions, seed=seed, device=device, progress=progress)
    else:
        draws = sample(fitted, n, given=given, seed=seed, device=device, progress=progress)
    fake = draws["x"].values.reshape(-1, x.shape[1])
    found = diagnosed(x[second], fake, modes.locate, len(modes.mean), k=k, seed=seed)
    found.attrs |= {**stamp(fitted.definition, seed), "features": "x as it is", "data_sha256": digest}
    return found


def _modes(x: np.ndarray, label: np.ndarray | None, seed: int) -> Modes:
    if label is None:
        return cells(x, min(CELLS, max(1, len(x) // 50)), seed)
    known = np.isfinite(label.astype(float)) & (label >= 0)
    return modes_of(x[known], np.unique(label[known], return_inverse=True)[1])
