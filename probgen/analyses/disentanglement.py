"""Measure how well single latent dimensions match attributes, and how smoothly generated data follow the latents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.boundaries import scored
from probgen.analyses.space import (
    LatentSpace,
    SpaceOptions,
    applies,
    features_of,
    needs,
    space_of,
    standard_normal,
)
from probgen.contract.analysis import Call
from probgen.contract.definition import latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import refuse_unused
from probgen.errors import NotOffered
from probgen.latents.measures import LEAST

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True
MEASURES = (
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
    "mig",
    "sap",
    "separability",
    "path_length",
)


class Options(SpaceOptions):
    """Options of the latents and of the path length."""

    latent: str | None = Field(
        None, description="one latent vector; default: each latent vector of the model"
    )
    paths: int = Field(500, ge=2, description="pairs of codes for the path length")


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Compute DCI, MIG, SAP, separability and perceptual path length of each latent vector.

    The factors are the attributes that the scorer predicts. The result contains `value` (latent, measure).
    """
    wanted = scored(fitted, options, call).model_copy(update={"latent": options.latent})
    vectors = {
        name: space_of(fitted, data, wanted.model_copy(update={"latent": name}), call)
        for name in _vectors(fitted, data, wanted, call)
    }
    last = list(vectors.values())[-1]
    names, factors = [str(name) for name in last.base["factor"].values], last.base.values
    there = np.isfinite(factors).all(1)
    if there.sum() < LEAST:
        raise NotOffered(
            f"scorer: only {there.sum()} of {len(there)} samples have all scores, and {LEAST} are needed. Use another scorer."
        )
    net = last.telling
    if net is None:
        refuse_unused(options, "the scorer has no features in which a path length is measured", "paths")
    circles = [name for name, space in vectors.items() if standard_normal(space)]
    values = np.full((len(vectors), len(MEASURES)), np.nan)
    for i, (name, space) in enumerate(vectors.items()):
        codes, y = space.flat[there], factors[there]
        values[i, :6] = (
            *latents.dci(codes, y, seed=call.seed), latents.mig(codes, y), latents.sap(codes, y),
            latents.separability(codes, y, seed=call.seed),
        )  # fmt: skip
        if net is not None:
            values[i, 6] = _path_length(space, wanted, name in circles, call.seed)
    found = xr.Dataset(
        {"value": (("latent", "measure"), values)}, {"latent": list(vectors), "measure": list(MEASURES)}
    )
    for i, name in enumerate(vectors):
        found = found.assign(
            {f"{m}_{name}": v for m, v in zip(MEASURES, values[i], strict=True) if np.isfinite(v)}
        )
    said = str(wanted.model_dump(mode="json")["scorer"])
    return found.assign_attrs(factors=", ".join(names), of=wanted.of, scorer=said, circles=", ".join(circles))


def _vectors(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> list[str]:
    """Return the names of latents that are one vector of real numbers."""
    if options.latent is not None:
        return [options.latent]
    few = space_of(fitted, data, options.model_copy(update={"n": 10, "scorer": None}), call)
    names = [name for name, dims in latents_of(fitted.module).items() if len(dims) == 1]
    return [name for name in names if name in (*few.reals, few.latent)] or [few.latent]


def _path_length(space: LatentSpace, options: Options, spherical: bool, seed: int) -> float:
    """Return the path length, relative to the mean squared feature distance of two samples."""
    net = space.telling
    assert net is not None
    n = min(options.paths, len(space) // 2)
    few = space.some(slice(0, n))
    shape = space.codes.shape[1:]

    def seen(codes: np.ndarray) -> np.ndarray:
        x = few.decoded(codes.reshape(len(codes), *shape).astype(space.codes.dtype))["x"].values
        return features_of(net, x)

    a, b = space.flat[:n], space.flat[n : 2 * n]
    unit = np.square(seen(a) - seen(b)).sum(1).mean()
    return latents.path_length(seen, a, b, spherical=spherical, seed=seed) / float(unit)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the table `measures`, a line per latent."""
    names = [str(name) for name in found["latent"].values]
    columns = [str(name).replace("_", " ") for name in found["measure"].values]
    title = draw.of_results(found, "Disentanglement of each latent")
    return {"measures": draw.table(found["value"].values, names, columns, title, beside="latent")}
