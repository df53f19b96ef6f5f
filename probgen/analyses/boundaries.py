"""Find, for each attribute, the hyperplane in latent space between codes with more and codes with less of it.

The method is InterFaceGAN (Shen et al., CVPR 2020).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
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
# options that other analyses take from stored boundaries
INHERITED = ("scorer", "latent", "of", "given")
Asked = TypeVar("Asked", bound=SpaceOptions)


class BoundaryOptions(SpaceOptions):
    """Options of the search for boundaries."""

    method: Method = Field(
        "least-squares",
        description="regression on all scores, or logistic or svm between the extreme scores (as in the papers)",
    )
    share: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="share of the scores at each end (logistic: default 0.1; svm: default 0.02)",
        json_schema_extra=only(method=("logistic", "svm")),
    )


Options = BoundaryOptions


def run(fitted: Fitted, data: xr.Dataset | None, options: Options, call: Call) -> xr.Dataset:
    """Find a boundary for each attribute, and measure its accuracy on held-out codes.

    The result contains `normal`, `offset` and `deviation` of each boundary, and its accuracy on held-out
    codes (`accuracy`, `extremes`, `middle`, `r2`, `chance`).
    """
    found = found_in(space_of(fitted, data, options, call), options, call.seed)
    if call.folder is not None and Path(found.attrs["scorer"]).is_absolute():
        found.attrs["scorer_beside"] = os.path.relpath(found.attrs["scorer"], call.folder.resolve())
    return found


def found_in(space: LatentSpace, options: BoundaryOptions, seed: int) -> xr.Dataset:
    """Find boundaries in a latent space.

    Args:
        space: Codes, with an attribute scorer.
        options: Options of the search for boundaries.
        seed: Seed of the split into fitted and held-out codes.

    Returns:
        Boundaries and accuracies, by `factor`.

    Raises:
        NotOffered: When no sample has finite scores of all attributes, or no boundary can be fitted to the
            samples.
    """
    base = space.base
    names, y = [str(name) for name in base["factor"].values], base.values
    there = np.isfinite(y).all(1)  # an image without ink has no slant: its score is NaN
    if not there.any():
        raise NotOffered("scorer: every sample has at least one missing score. Use another scorer.")
    space, y = (space, y) if there.all() else (space.some(there), y[there])
    try:
        b = latents.boundaries(
            space.codes, y, method=options.method, share=options.share, middle=base["middle"].values,
            names=names, seed=seed,
        )  # fmt: skip
    except (
        InputError
    ) as error:  # NotOffered, because the samples of another model in the recipe may be suitable
        raise NotOffered(str(error)) from None
    # the accuracy is NaN if (almost) all scores lie on one side
    judged = np.isfinite(b.accuracy)
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
        ("extremes", ", lowest and highest tenth of the scores"),
        ("middle", ", scores between the two extreme tenths"),
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
    """Return three tables: `accuracy`, `cosine` and `correlation`.

    They show the accuracy on held-out codes, the cosines of boundaries, and the correlations of scores.
    """
    names = [str(name) for name in found["factor"].values]
    columns = ["accuracy", "extremes", "middle"]
    shown = np.stack([found[name].values for name in columns], 1)
    titled = partial(draw.of_results, found)
    return {
        "accuracy": draw.table(
            shown,
            names,
            ["all", "extremes", "middle"],
            titled("Accuracy of each boundary on held-out codes"),
            beside="attribute",
            above="codes",
        ),
        "cosine": draw.table(found["cosine"].values, names, names, titled("Cosines of the boundaries")),
        "correlation": draw.table(
            found["correlation"].values, names, names, titled("Correlations of the scores of samples")
        ),
    }


def known_or_found(
    fitted: Fitted, data: xr.Dataset | None, options: BoundaryOptions, call: Call
) -> tuple[LatentSpace, xr.Dataset]:
    """Return codes and their boundaries: the stored boundaries of the run, or new ones if a scorer is given.

    Args:
        fitted: The fitted model.
        data: Rows, or None.
        options: Options of the search for boundaries.
        call: The call of the analysis; its folder is the run.

    Returns:
        The latent space, and the boundaries by `factor`.

    Raises:
        NotOffered: When there is neither a scorer nor a file of boundaries.
        InputError: When the stored boundaries belong to another generator, scorer, latent or option.
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
            f"latent = {wanted.latent!r}: the boundaries in {file} are in {found.attrs['latent']!r}. Set scorer to find new boundaries."
        )
    for name in {"method", "share"} & options.model_fields_set:
        if getattr(options, name) != from_json(found.attrs["options"], "boundaries")[name]:
            raise InputError(
                f"{name} has no effect: the boundaries are read from {file}. Set scorer to find new boundaries."
            )
    space = space_of(fitted, data, wanted, call)
    names = [str(name) for name in space.base["factor"].values]
    if (
        names != [str(name) for name in found["factor"].values]
        or _digest(space.tells) != found.attrs["scorer_sha256"]
    ):
        raise InputError(
            f"{file}: the boundaries were found with another scorer. Find them again (probgen analyze boundaries), or set scorer."
        )
    return space, found


def scored(fitted: Fitted, options: Asked, call: Call) -> Asked:
    """Return the options; without a scorer, the scorer and codes of the stored boundaries are added.

    Args:
        fitted: The fitted model.
        options: Options of an analysis of a latent space.
        call: The call of the analysis; its folder is the run.

    Returns:
        Options of the same class.

    Raises:
        InputError: When the stored boundaries belong to another generator, or their scorer is not stored in a
            file.
    """
    file = boundaries_file(call)
    return options if options.scorer is not None or file is None else like(options, _read(file, fitted), file)


def like(options: Asked, found: xr.Dataset, file: Path) -> Asked:
    """Return the options; unset options of the codes are taken from stored boundaries.

    Args:
        options: Options of an analysis of a latent space.
        found: The stored boundaries.
        file: The file of the boundaries.

    Returns:
        Options of the same class.

    Raises:
        InputError: When the scorer of the boundaries is an object of a script, not stored in a file.
    """
    known = {**from_json(found.attrs["options"], "boundaries"), "latent": found.attrs["latent"]}
    scorer = str(known["scorer"])
    if scorer.startswith(SCRIPT):
        raise InputError(f"{file}: the boundaries were found with a scorer {scorer}. Set scorer.")
    if "scorer_beside" in found.attrs and not Path(scorer).exists():  # run and scorer were moved together
        known["scorer"] = str((file.parent.parent / found.attrs["scorer_beside"]).resolve())
    taken = {name: known[name] for name in INHERITED if name not in options.model_fields_set}
    return options.model_copy(update=taken)


def _digest(tells: Any) -> str:
    return digest_of(tells.state) if isinstance(tells, Fitted) else ""


def boundaries_file(call: Call) -> Path | None:
    """Return the path of the run's stored boundaries, or None."""
    file = None if call.folder is None else call.folder / ANALYSES / "boundaries.h5"
    return file if file is not None and file.exists() else None


def _read(file: Path, fitted: Fitted) -> xr.Dataset:
    """Read stored boundaries; boundaries of another generator raise `InputError`."""
    found = read_dataset(file, "boundaries")
    if found.attrs["model_sha256"] != digest_of(fitted.state):
        raise InputError(
            f"{file}: the boundaries belong to another generator. Find them again (probgen analyze boundaries), or set scorer."
        )
    return found
