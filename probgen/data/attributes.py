"""Attributes of rows, `attribute (row, factor)`: numbers and classes. Conversion of attributes to conditions, and of labels to attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from probgen.errors import InputError, did_you_mean


def factors_of(dataset: xr.Dataset) -> dict[str, int]:
    """Return the names of factors and their numbers of classes, 0 for a numeric factor.

    Args:
        dataset: Data, with or without `attribute (row, factor)`.

    Returns:
        Number of classes by factor name; empty for data without attributes.

    Raises:
        InputError: When factors have no names, or `levels` is not one whole number per factor.
    """
    if "attribute" not in dataset:
        return {}
    attribute = dataset["attribute"]
    if attribute.dims != ("row", "factor") or "factor" not in attribute.coords:
        raise InputError(
            f"attribute has dimensions {attribute.dims}: ('row', 'factor') and the names of factors as a coordinate are required. "
            "Name the factors with dataset.assign_coords(factor=[...])."
        )
    if attribute.dtype.kind not in "biuf":
        raise InputError(
            f"attribute has type {attribute.dtype}: numbers are required, and classes are numbered from 0"
        )
    names = list(attribute["factor"].values)
    levels = np.atleast_1d(attribute.attrs.get("levels", np.zeros(len(names), int)))
    whole = levels.dtype.kind in "iuf" and bool((levels == np.floor(levels)).all() and (levels >= 0).all())
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InputError(f"attribute: factor = {names[:8]}: the names of factors must be different texts")
    if not whole or len(levels) != len(names):
        raise InputError(
            f"attribute has {len(names)} factors, but attrs['levels'] = {levels.tolist()}. "
            "Set one whole number per factor: its number of classes, or 0 for a numeric factor."
        )
    return dict(zip(map(str, names), map(int, levels), strict=True))


def with_conditions(dataset: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Return the data with one variable for each factor that a model is conditioned on.

    Args:
        dataset: Data with `attribute (row, factor)`.
        names: Names of conditions. Names that are not factors are skipped here, because later checks report missing conditions.

    Returns:
        The data with each factor in `names` as a variable (row).

    Raises:
        InputError: When a factor is numeric, or its class is unknown in some row.
    """
    wanted = [name for name in names if name not in dataset]
    factors = factors_of(dataset) if wanted else {}
    for name in wanted:
        if name not in factors:
            continue  # later checks report a missing condition
        levels, values = factors[name], dataset["attribute"].sel(factor=name).values
        if not levels:
            classes = [factor for factor, n in factors.items() if n]
            raise InputError(
                f"given {name!r} is numeric, but a model can be conditioned only on classes. Factors with classes: {', '.join(classes) or 'none'}."
            )
        if np.isnan(values).any():
            raise InputError(
                f"given {name!r} is unknown (NaN) in row {int(np.isnan(values).argmax())}. Leave out rows with unknown conditions."
            )
        # the check of the data refuses values that are not classes, and names the variable
        if np.isin(values, np.arange(levels)).all():
            values = values.astype(np.int64)
        dataset = dataset.assign({name: ("row", values, {"levels": levels})})
    return dataset


def with_attributes(dataset: xr.Dataset, wanted: Mapping[str, int] | None) -> xr.Dataset:
    """Return the data with attributes. Data without attributes get the factors of their label.

    If all wanted attributes come from a label, and the data do not have these attributes, the label of the data is used.

    Args:
        dataset: Data with `attribute`, `label`, both or neither.
        wanted: Attributes of a model, with their numbers of classes. Only these are kept. None: keep all attributes of the data.

    Returns:
        The data with `attribute (row, factor)`, if they have attributes or a label.

    Raises:
        InputError: When the data have attributes, but a wanted attribute is missing or has another number of classes.
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
            raise InputError(
                f"attribute: the model uses {name!r}, which is not in the data; {did_you_mean(name, factors)}"
            )
        if factors[name] != levels:
            raise InputError(
                f"attribute {name!r} has {factors[name]} classes, but the model was fitted to {levels}. Use data with the same classes."
            )
    some = dataset["attribute"].sel(factor=list(wanted))
    some.attrs["levels"] = list(wanted.values())
    return dataset.drop_dims("factor").assign(attribute=some)


def _of_label(dataset: xr.Dataset, factors: list[int] | None) -> xr.Dataset:
    """Return the label as an attribute, or as several attributes if its `factors` are described.

    Raise `InputError` for values that are not classes.
    """
    variable = dataset["label"]
    if variable.dims != ("row",) or variable.dtype.kind not in "biuf":
        raise InputError(
            f"label has dimensions {variable.dims} and type {variable.dtype}: whole numbers (row,) are required"
        )
    label = variable.values.astype(float)
    known = np.isfinite(label) & (label != -1)
    wrong = known & ((label < 0) | (label != np.floor(label)))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"label, row {row} = {label[row]}: must be a class from 0, or -1 or NaN if unknown")
    if factors is None:
        levels = variable.attrs.get("levels", int(label[known].max(initial=0)) + 1)
        text = str(variable.attrs.get("factors", levels))
        try:
            factors = [int(part) for part in text.split()]
        except ValueError:
            raise InputError(
                f"label.attrs['factors'] = {text!r}: must be numbers of classes, such as '3 2'"
            ) from None
    if (label[known] >= np.prod(factors)).any():
        raise InputError(
            f"label = {int(label[known].max())}: out of range, because there are {int(np.prod(factors))} classes, numbered from 0"
        )
    parts = np.full((len(label), len(factors)), np.nan)
    parts[known] = np.stack(np.unravel_index(label[known].astype(np.int64), factors), 1)
    names = ["label"] if len(factors) == 1 else [f"label_{i + 1}" for i in range(len(factors))]
    return dataset.assign(attribute=(("row", "factor"), parts, {"levels": factors})).assign_coords(
        factor=names
    )
