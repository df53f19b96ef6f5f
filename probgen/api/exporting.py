"""The call `to_arviz`: a fitted model as a tree with the groups of ArviZ."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from probgen.api.common import checked_device
from probgen.api.sampling import checked_n, sample
from probgen.contract.fitted import ARVIZ, Fitted
from probgen.contract.seeds import checked_seed
from probgen.contract.surroundings import isolated
from probgen.data.intake import Prepared, prepare
from probgen.errors import InputError, NotOffered

LARGEST = 1 << 28  # numbers of x in a predictive group: 1 GiB in float32


@isolated
def to_arviz(
    fitted: Fitted, data: Any = None, *, draws: int = 100, seed: int = 0, device: Any = None
) -> xr.DataTree:
    """Return a fitted model as a tree with the groups of ArviZ.

    A fit with posterior draws has the groups that its file has: `posterior`, `sample_stats` (NUTS only), `prior`,
    `log_likelihood`, predictive groups and `observed_data`. A point fit has `posterior_predictive` and
    `observed_data`, and `constant_data` with the conditions. It has no `log_likelihood`, because its parameters have
    one value: `loo` of one draw is not defined. The attribute `note` of its tree states this.

    ArviZ 1 accepts the tree. ArviZ 0.23 accepts `arviz.from_datatree(tree)`.

    Args:
        fitted: A fitted model.
        data: For a point fit, the rows to compare with samples, in any form that `probgen.data.as_dataset` accepts. For
            a fit with posterior draws, None or the rows of the fit.
        draws: For a point fit, the number of samples of each row.
        seed: Seed of the samples.
        device: The device to sample on, e.g. "cuda". The default is "cpu".

    Returns:
        The tree. Each group has the dimensions `chain` and `draw`, except for data.

    Raises:
        InputError: When the rows are missing, or are not those of the posterior, or when an argument is invalid.
        NotOffered: When the samples of a point fit do not predict rows.
    """
    posterior = "posterior" in fitted.groups
    if data is None and not posterior:
        raise InputError(
            f"data = None: a point fit of {fitted.family!r} stores no rows. Give rows: probgen.to_arviz(fitted, data)."
        )
    run: dict[str, Any] = {"device": checked_device(device), "dtype": fitted.dtype}
    how = {**run, "event": fitted.event, "reading": fitted.reading}
    taken = None if data is None else prepare(data, fitted.definition, **how)
    if posterior and taken is not None and taken.digest != fitted.provenance["data"]["sha256"]:
        raise InputError(
            f"data: they are not the rows of the fit, and the posterior of {fitted.family!r} is stored with the rows of the fit. Leave data out."
        )
    if taken is None or posterior:
        groups, note = {name: fitted.groups[name] for name in ARVIZ if name in fitted.groups}, {}
    else:
        groups = _predictive(fitted, taken, checked_n(draws), checked_seed(seed), run["device"])
        note = {
            "note": f"{fitted.family} is a point fit without posterior draws, so there is no log_likelihood for loo. "
            "Compare models by probgen.score and probgen.compare."
        }
    about = {
        "created_at": fitted.provenance["created"],
        "creation_library": "probgen",
        "creation_library_version": fitted.provenance["probgen_version"],
        "creation_library_language": "Python",
        "inference_library": "pyro",
        "inference_library_version": fitted.provenance["pyro_ppl_version"],
        "family": fitted.family,
    }
    groups = {name: _with_coordinates(group).assign_attrs(about) for name, group in groups.items()}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=about | note)} | groups)


def _predictive(fitted: Fitted, taken: Prepared, draws: int, seed: int, device: Any) -> dict[str, xr.Dataset]:
    """Return samples of as many rows as the data have, the data, and the conditions of both."""
    rows, event, needed = taken.dataset, fitted.event, fitted.definition.needed
    if needed:
        raise NotOffered(
            f"family {fitted.family!r}: a sample needs {', '.join(needed)}, so samples do not predict rows of the data."
        )
    n = rows.sizes["row"]
    numbers = rows["x"].size
    if draws * numbers > LARGEST:
        raise InputError(
            f"draws = {draws}: {draws} samples of {n} rows have {draws * numbers:.1e} numbers, more than {LARGEST:.1e}. "
            "Use fewer draws, or fewer rows."
        )
    known = [name for name in (*event.given, *event.lengths, "size") if name in rows]
    if known:
        x = sample(fitted, draws, given=rows[known], seed=seed, device=device)["x"].values
    else:
        x = sample(fitted, draws * n, seed=seed, device=device)["x"].values
        x = x.reshape(draws, n, *x.shape[1:])
    names = {name: rows[name].values for name in ("row", *event.dims) if name in rows.coords}
    known_x = rows["x"].where(rows["observed"] == 1) if "observed" in rows else rows["x"]
    groups = {
        "posterior_predictive": xr.Dataset({"x": (("chain", "draw", "row", *event.dims), x[None])}, names),
        "observed_data": xr.Dataset({"x": (("row", *event.dims), known_x.values)}, names),
    }
    return groups | ({"constant_data": rows[known].drop_attrs()} if known else {})


def _with_coordinates(group: xr.Dataset) -> xr.Dataset:
    """Return a group whose dimensions all have coordinates; those without names are numbered."""
    return group.assign_coords({d: np.arange(n) for d, n in group.sizes.items() if d not in group.coords})
