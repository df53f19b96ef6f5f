"""What readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.store.guard import FLOOR, RATIO


def joined(parts: Mapping[str, xr.Dataset], split: str | None) -> xr.Dataset:
    """One part, or all of them in order."""
    return (
        parts[split]
        if split is not None
        else xr.concat(list(parts.values()), "row", combine_attrs="override")
    )


def classes_of(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """`label (row)` of files that lie in folders of classes; none where one lies beside them."""
    if any(file.parent == folder for file in files):
        return {}
    classes = sorted({file.parent.name for file in files})
    codes = np.array([classes.index(file.parent.name) for file in files])
    return {"label": ("row", codes, {"levels": len(classes), "names": " ".join(classes)})}


def most_unpacked(stored: int) -> int:
    """To how many bytes a packed file may unpack."""
    return FLOOR + RATIO * stored


def reason(error: Exception) -> str:
    """The message of an error of somebody else's, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
