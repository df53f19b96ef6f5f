"""Titles of figures: what a figure shows, then the model, numbers, rows and seed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.contract.fitted import Fitted


def heading(shows: str, *about: str | int | None) -> str:
    """Return a title of two lines.

    Args:
        shows: What the figure shows.
        *about: Facts for the second line: model, numbers, rows, seed. Empty ones are left out.

    Returns:
        The title, without a second line if there are no facts.
    """
    facts = ", ".join(str(fact) for fact in about if fact not in (None, ""))
    return f"{shows}\n{facts}".strip()


def of_results(found: xr.Dataset, shows: str, *about: str) -> str:
    """Return the title of a figure of an analysis.

    Args:
        found: Results of an analysis, with its attributes.
        shows: What the figure shows.
        *about: Further facts, for example the number of rows.

    Returns:
        The title, with the model, the facts, the data and the seed in the second line.
    """
    told = found.attrs
    seed = f"seed {told['seed']}" if "seed" in told else None
    return heading(shows, told.get("title") or told.get("family"), *about, told.get("data"), seed)


def of_model(fitted: Fitted, shows: str, *about: str) -> str:
    """Return the title of a figure of a fitted model.

    Args:
        fitted: The fitted model.
        shows: What the figure shows.
        *about: Further facts, for example the number of samples.

    Returns:
        The title, with the family, the facts, the rows of the fit and the seed in the second line.
    """
    data, seed = fitted.provenance.get("data", {}), fitted.provenance.get("seed")
    rows = f"fitted to {data['rows']} rows" if "rows" in data else None
    return heading(shows, fitted.family, *about, rows, source(data), None if seed is None else f"seed {seed}")


def source(attributes: Mapping[Hashable, Any]) -> str:
    """Return the name of data and the part of them, from the attributes of a data set.

    Args:
        attributes: Attributes with `name` or `path`, and `split`.

    Returns:
        For example "digits, test"; empty for data without a name.
    """
    name = attributes.get("name") or (Path(str(attributes["path"])).name if "path" in attributes else "")
    return ", ".join(str(part) for part in (name, attributes.get("split")) if part)
