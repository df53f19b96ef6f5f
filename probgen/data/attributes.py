"""What is known of a row beside x: `attribute (row, factor)`, numbers and classes, and conditions and labels made of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from probgen.errors import InputError, did_you_mean


def factors_of(dataset: xr.Dataset) -> dict[str, int]:
    """Names of factors, and how many classes each has, 0 for a number; none where the data have no attributes.

    Errors: `InputError` for attributes without names, or whose `levels` are not one number a factor.
    """
    if "attribute" not in dataset:
        return {}
    attribute = dataset["attribute"]
    if attribute.dims != ("row", "factor") or "factor" not in attribute.coords:
        raise InputError(
            f"attribute has dimensions {attribute.dims}; it needs ('row', 'factor') and the names of factors as a coordinate: "
            "dataset.assign_coords(factor=[...])"
        )
    if attribute.dtype.kind not in "biuf":
        raise InputError(f"attribute holds {attribute.dtype}; numbers are needed, of classes from 0")
    names = list(attribute["factor"].values)
    levels = np.atleast_1d(attribute.attrs.get("levels", np.zeros(len(names), int)))
    whole = levels.dtype.kind in "iuf" and bool((levels == np.floor(levels)).all() and (levels >= 0).all())
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InputError(f"attribute: the names of factors must be different texts, not {names[:8]}")
    if not whole or len(levels) != len(names):
        raise InputError(
            f"attribute: {len(names)} factors need attrs['levels'], a whole number for each: how many classes it has, 0 for a number"
        )
    return dict(zip(map(str, names), map(int, levels), strict=True))


def with_conditions(dataset: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """The same with factors that a model is conditioned on as variables of their own. Errors: `InputError` for one that is no class."""
    wanted = [name for name in names if name not in dataset]
    factors = factors_of(dataset) if wanted else {}
    for name in wanted:
        if name not in factors:
            continue  # whoever needs it says so
        levels, values = factors[name], dataset["attribute"].sel(factor=name).values
        if not levels:
            classes = [factor for factor, n in factors.items() if n]
            raise InputError(
                f"given {name!r} is a number, and a model is conditioned on classes: {', '.join(classes) or 'there are none'}"
            )
        if np.isnan(values).any():
            raise InputError(f"given {name!r} is not known of row {int(np.isnan(values).argmax())}")
        # what is no class is refused by name where data are checked
        if np.isin(values, np.arange(levels)).all():
            values = values.astype(np.int64)
        dataset = dataset.assign({name: ("row", values, {"levels": levels})})
    return dataset


def with_attributes(dataset: xr.Dataset, wanted: Mapping[str, int] | None) -> xr.Dataset:
    """The same with attributes: those that a model learned, if it is said; of data that have none the factors of their label.

    Errors: `InputError` for data with attributes of which a wanted one is none.
    """
    if wanted is not None and all(name.partition("_")[0] == "label" for name in wanted):
        known = dataset.get("attribute")
        if known is None or not set(wanted) <= set(known.coords.get("factor", xr.DataArray([])).values):
            dataset = dataset.drop_dims("factor", errors="ignore")
            return _of_label(dataset, list(wanted.values())) if "label" in dataset else dataset
    if "attribute" not in dataset and "label" in dataset:
        dataset = _of_label(dataset, None)
    if wanted is None or "attribute" not in dataset:
        return dataset
    factors = factors_of(dataset)
    for name, levels in wanted.items():
        if name not in factors:
            raise InputError(f"attribute: the model tells {name!r}; {did_you_mean(name, factors)}")
        if factors[name] != levels:
            raise InputError(f"attribute {name!r} has {factors[name]} classes; the model tells {levels}")
    some = dataset["attribute"].sel(factor=list(wanted))
    some.attrs["levels"] = list(wanted.values())
    return dataset.drop_dims("factor").assign(attribute=some)


def _of_label(dataset: xr.Dataset, factors: list[int] | None) -> xr.Dataset:
    """A label as an attribute, or as several where it says which factors make it. Errors: `InputError` for what is no label."""
    variable = dataset["label"]
    if variable.dims != ("row",) or variable.dtype.kind not in "biuf":
        raise InputError(
            f"label has dimensions {variable.dims} of {variable.dtype}; whole numbers (row,) are needed"
        )
    label = variable.values.astype(float)
    known = np.isfinite(label) & (label != -1)
    wrong = known & ((label < 0) | (label != np.floor(label)))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"label, row {row}: {label[row]}; a class from 0 is needed, or -1 or NaN where it is not known"
        )
    if factors is None:
        levels = variable.attrs.get("levels", int(label[known].max(initial=0)) + 1)
        text = str(variable.attrs.get("factors", levels))
        try:
            factors = [int(part) for part in text.split()]
        except ValueError:
            raise InputError(
                f"label.attrs['factors'] = {text!r}: numbers of classes are needed, as '3 2'"
            ) from None
    if (label[known] >= np.prod(factors)).any():
        raise InputError(
            f"label {int(label[known].max())} is out of range: there are {int(np.prod(factors))} classes"
        )
    parts = np.full((len(label), len(factors)), np.nan)
    parts[known] = np.stack(np.unravel_index(label[known].astype(np.int64), factors), 1)
    names = ["label"] if len(factors) == 1 else [f"label_{i + 1}" for i in range(len(factors))]
    return dataset.assign(attribute=(("row", "factor"), parts, {"levels": factors})).assign_coords(
        factor=names
    )
