"""Boundaries: of each attribute the hyperplane between codes that have more and less of it (InterFaceGAN: Shen et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.space import LatentSpace, SpaceOptions, applies, as_name, in_words, needs, space_of
from probgen.contract.analysis import Call
from probgen.contract.fitted import Fitted
from probgen.contract.state import digest_of
from probgen.errors import InputError
from probgen.latents.hyperplanes import Method
from probgen.store.folder import ANALYSES
from probgen.store.trees import from_json, read_dataset

__all__ = ["Options", "applies", "figures", "needs", "rowless", "run"]

rowless = True
INHERITED = ("scorer", "latent", "of", "given")  # by analyses that go on from boundaries
Asked = TypeVar("Asked", bound=SpaceOptions)


class BoundaryOptions(SpaceOptions):
    """How boundaries are found."""

    method: Method = Field(
        "least-squares",
        description="the regression of all scores; or logistic or svm between the extremes, as the papers have it",
    )
    share: float | None = Field(
        None, gt=0, le=0.5, description="of the scores at each end, for logistic (0.1) and svm (0.02)"
    )


class Options(BoundaryOptions):
    """How boundaries are found, and judged."""


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """`normal`, `offset`, `deviation` of each factor, and how well they tell codes that were held out."""
    return found_in(space_of(fitted, data, options, call), options, call.seed)


def found_in(space: LatentSpace, options: BoundaryOptions, seed: int) -> xr.Dataset:
    """Boundaries in a space of codes."""
    base = space.base
    names, y = [str(name) for name in base["factor"].values], base.values
    there = np.isfinite(y).all(1)  # a drawn image may have no ink at all, and then no slant
    if not there.any():
        raise InputError("scorer: no draw has scores that are all known")
    space, y = (space, y) if there.all() else (space.some(there), y[there])
    b = latents.boundaries(
        space.codes, y, method=options.method, share=options.share, middle=base["middle"].values,
        names=names, seed=seed,
    )  # fmt: skip
    judged = np.isfinite(
        b.accuracy
    )  # of scores that lie on one side of the middle, as good as all, nobody knows
    with np.errstate(invalid="ignore"):
        correlation = np.atleast_2d(np.corrcoef(y.T))
    found = xr.Dataset(
        {
            "normal": (("factor", *space.dims), b.normal.reshape(len(names), *space.codes.shape[1:])),
            **{
                name: ("factor", values)
                for name, values in (
                    ("offset", b.offset),
                    ("deviation", b.deviation),
                    ("accuracy", b.accuracy),
                    ("accuracy_extremes", b.accuracy_extremes),
                    ("accuracy_middle", b.accuracy_middle),
                    ("r2", b.r2),
                    ("chance", b.chance),
                )
            },
            "cosine": (("factor", "other"), b.normal @ b.normal.T),
            "correlation": (("factor", "other"), correlation),
            **{f"accuracy_{as_name(name)}": float(a) for name, a in zip(names, b.accuracy, strict=True)},
            "accuracy_mean": float(b.accuracy[judged].mean()) if judged.any() else np.nan,
        },
        {"factor": names, "other": names, "of": ("factor", base["of"].values)},
    )
    found["accuracy"].attrs["long_name"] = (
        "mean of the shares of both sides that are told right, held-out codes"
    )
    best = dict(sorted(zip(names, b.accuracy, strict=True), key=lambda pair: -pair[1]))
    said = f"held-out accuracy in {space.latent}: {in_words(best, lambda a: f'{a:.3f}')}"
    weak = [name for name, chance in zip(names, b.chance, strict=True) if chance]
    return found.assign_attrs(
        latent=space.latent,
        codes=len(space),
        scorer=str(options.model_dump(mode="json")["scorer"]),
        method=options.method,
        model_sha256=digest_of(space.fitted.state),
        summary=said + (f"; no better than chance: {', '.join(weak)}" if weak else ""),
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`accuracy` of held-out codes; `cosine` of boundaries; `correlation` of scores."""
    names, title = [str(name) for name in found["factor"].values], found.attrs["title"]
    columns = ["accuracy", "accuracy_extremes", "accuracy_middle"]
    shown = np.stack([found[name].values for name in columns], 1)
    return {
        "accuracy": draw.table(shown, names, ["all", "extremes", "middle"], title),
        "cosine": draw.table(found["cosine"].values, names, names, f"{title}\ncosines of boundaries"),
        "correlation": draw.table(
            found["correlation"].values, names, names, f"{title}\ncorrelations of scores"
        ),
    }


def known_or_found(
    fitted: Fitted, data: xr.Dataset | None, options: BoundaryOptions, call: Call
) -> tuple[LatentSpace, xr.Dataset]:
    """Codes, and their boundaries: those that the run has already where no scorer is named, else new ones.

    Errors: `InputError` where there are none, and for boundaries of another generator.
    """
    file = _file(call)
    if options.scorer is not None or file is None:
        if options.scorer is None:
            raise InputError(
                "nobody tells attributes: give scorer, a run of the family 'attributes' say, or let the run have boundaries first "
                "(probgen analyze boundaries)"
            )
        space = space_of(fitted, data, options, call)
        return space, found_in(space, options, call.seed)
    found = _read(file, fitted)
    wanted = like(options, found)
    if wanted.latent != found.attrs["latent"]:
        raise InputError(
            f"latent = {wanted.latent!r}: {file} has boundaries in {found.attrs['latent']!r}; give scorer, and they are found anew"
        )
    return space_of(fitted, data, wanted, call), found


def scored(fitted: Fitted, options: Asked, call: Call) -> Asked:
    """The same options with the scorer and the codes of the boundaries that the run has, where no scorer is named."""
    file = _file(call)
    return options if options.scorer is not None or file is None else like(options, _read(file, fitted))


def like(options: Asked, found: xr.Dataset) -> Asked:
    """The same options, and where they do not say which codes, those of boundaries."""
    known = {**from_json(found.attrs["options"], "boundaries"), "latent": found.attrs["latent"]}
    taken = {name: known[name] for name in INHERITED if name not in options.model_fields_set}
    return options.model_copy(update=taken)


def _file(call: Call) -> Path | None:
    file = None if call.folder is None else call.folder / ANALYSES / "boundaries.h5"
    return file if file is not None and file.exists() else None


def _read(file: Path, fitted: Fitted) -> xr.Dataset:
    """Errors: `InputError` for boundaries of another generator."""
    found = read_dataset(file, "boundaries")
    if found.attrs["model_sha256"] != digest_of(fitted.state):
        raise InputError(
            f"{file} has boundaries of another generator: find them anew (probgen analyze boundaries), or give scorer"
        )
    return found
