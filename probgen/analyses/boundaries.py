"""Boundaries: of each attribute the hyperplane between codes that have more and less of it (InterFaceGAN: Shen et al., CVPR 2020)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen import latents
from probgen.analyses.space import (
    NOBODY,
    SCRIPT,
    LatentSpace,
    SpaceOptions,
    applies,
    as_names,
    in_words,
    needs,
    space_of,
)
from probgen.contract.analysis import Call
from probgen.contract.fitted import Fitted
from probgen.contract.options import only
from probgen.contract.state import digest_of
from probgen.errors import InputError, NotOffered
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
        None,
        gt=0,
        le=0.5,
        description="of the scores at each end, for logistic (0.1) and svm (0.02)",
        json_schema_extra=only(method=("logistic", "svm")),
    )


Options = BoundaryOptions


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """`normal`, `offset`, `deviation` of each factor, and how well they tell codes that were held out."""
    found = found_in(space_of(fitted, data, options, call), options, call.seed)
    if call.folder is not None and Path(found.attrs["scorer"]).is_absolute():
        found.attrs["scorer_beside"] = os.path.relpath(found.attrs["scorer"], call.folder.resolve())
    return found


def found_in(space: LatentSpace, options: BoundaryOptions, seed: int) -> xr.Dataset:
    """Boundaries in a space of codes."""
    base = space.base
    names, y = [str(name) for name in base["factor"].values], base.values
    there = np.isfinite(y).all(1)  # a drawn image may have no ink at all, and then no slant
    if not there.any():
        raise NotOffered("scorer: no draw has scores that are all known")
    space, y = (space, y) if there.all() else (space.some(there), y[there])
    try:
        b = latents.boundaries(
            space.codes, y, method=options.method, share=options.share, middle=base["middle"].values,
            names=names, seed=seed,
        )  # fmt: skip
    except InputError as error:  # of these draws: another model of a recipe may have better ones
        raise NotOffered(str(error)) from None
    judged = np.isfinite(b.accuracy)  # of scores that are as good as all on one side nobody knows
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
                    ("extremes", b.accuracy_extremes),
                    ("middle", b.accuracy_middle),
                    ("r2", b.r2),
                    ("chance", b.chance),
                )
            },
            "cosine": (("factor", "other"), b.normal @ b.normal.T),
            "correlation": (("factor", "other"), correlation),
            "mean_accuracy": float(b.accuracy[judged].mean()) if judged.any() else np.nan,
        },
        {"factor": names, "other": names, "of": ("factor", base["of"].values)},
    )
    told = "balanced accuracy on held-out codes"
    for name, of in (
        ("accuracy", ""),
        ("extremes", ", a tenth at each end"),
        ("middle", ", all between these"),
    ):
        found[name].attrs["long_name"] = told + of
    of_each = {f"accuracy_{name}": a for name, a in zip(as_names(names), b.accuracy, strict=True)}
    found = found.assign({name: float(a) for name, a in of_each.items()})
    best = dict(sorted(zip(names, b.accuracy, strict=True), key=lambda pair: -pair[1]))
    said = f"held-out accuracy in {space.latent}: {in_words(best, lambda a: f'{a:.3f}')}"
    weak = [name for name, chance in zip(names, b.chance, strict=True) if chance]
    return found.assign_attrs(
        latent=space.latent,
        codes=len(space),
        scorer=str(options.model_dump(mode="json")["scorer"]),
        scorer_sha256=_digest(space.tells),
        method=options.method,
        model_sha256=digest_of(space.fitted.state),
        summary=said + (f"; no better than chance: {', '.join(weak)}" if weak else ""),
    )


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """`accuracy` of held-out codes; `cosine` of boundaries; `correlation` of scores."""
    names, title = [str(name) for name in found["factor"].values], found.attrs["title"]
    columns = ["accuracy", "extremes", "middle"]
    shown = np.stack([found[name].values for name in columns], 1)
    return {
        "accuracy": draw.table(shown, names, ["all", "extremes", "middle"], title),
        "cosine": draw.table(found["cosine"].values, names, names, f"{title}\ncosines of boundaries".strip()),
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
    file = boundaries_file(call)
    if options.scorer is not None or file is None:
        if options.scorer is None:
            raise NotOffered(NOBODY)
        space = space_of(fitted, data, options, call)
        return space, found_in(space, options, call.seed)
    found = _read(file, fitted)
    wanted = like(options, found, file)
    if wanted.latent != found.attrs["latent"]:
        raise InputError(
            f"latent = {wanted.latent!r}: {file} has boundaries in {found.attrs['latent']!r}; give scorer, and they are found anew"
        )
    for name in {"method", "share"} & options.model_fields_set:
        if getattr(options, name) != from_json(found.attrs["options"], "boundaries")[name]:
            raise InputError(
                f"{name} has no effect: {file} has boundaries; give scorer, and they are found anew"
            )
    space = space_of(fitted, data, wanted, call)
    names = [str(name) for name in space.base["factor"].values]
    if (
        names != [str(name) for name in found["factor"].values]
        or _digest(space.tells) != found.attrs["scorer_sha256"]
    ):
        raise InputError(
            f"{file} has boundaries of attributes that another scorer told: find them anew (probgen analyze boundaries), or give scorer"
        )
    return space, found


def scored(fitted: Fitted, options: Asked, call: Call) -> Asked:
    """The same options with the scorer and the codes of the boundaries that the run has, where no scorer is named."""
    file = boundaries_file(call)
    return options if options.scorer is not None or file is None else like(options, _read(file, fitted), file)


def like(options: Asked, found: xr.Dataset, file: Path) -> Asked:
    """The same options, and where they do not say which codes, those of boundaries. Errors: `InputError` for a scorer that is in no file."""
    known = {**from_json(found.attrs["options"], "boundaries"), "latent": found.attrs["latent"]}
    scorer = str(known["scorer"])
    if scorer.startswith(SCRIPT):
        raise InputError(f"{file} has boundaries by a scorer {scorer}; give scorer")
    if "scorer_beside" in found.attrs and not Path(scorer).exists():  # both were moved
        known["scorer"] = str((file.parent.parent / found.attrs["scorer_beside"]).resolve())
    taken = {name: known[name] for name in INHERITED if name not in options.model_fields_set}
    return options.model_copy(update=taken)


def _digest(tells: Any) -> str:
    return digest_of(tells.state) if isinstance(tells, Fitted) else ""


def boundaries_file(call: Call) -> Path | None:
    """The boundaries that the run has, or None."""
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
