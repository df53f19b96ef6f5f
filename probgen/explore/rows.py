"""The rows that a model was fitted to, as far as they are on this machine: neighbors, conditions, codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from probgen import datasets
from probgen.api.encoding import encode
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import Encoder
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.data.intake import prepare
from probgen.errors import InputError, ProbgenError
from probgen.explore.asking import Point
from probgen.explore.spaces import Space

MOST = 1 << 26  # numbers of x that are searched for neighbors
AT_ONCE = 1 << 22
NEAREST = 6
CODES = 1000  # rows whose codes are shown


@dataclass(frozen=True)
class Data:
    """Rows of the fit.

    Attributes:
        dataset: The rows, in the symbols of the fit.
    """

    dataset: xr.Dataset

    def __len__(self) -> int:
        return self.dataset.sizes["row"]

    @cached_property
    def _flat(self) -> np.ndarray:
        x = self.dataset["x"].values
        return x.reshape(len(x), -1)[: max(1, MOST // max(1, x[0].size))]

    def row(self, i: int, fitted: Fitted) -> dict[str, Any]:
        """Return x, the conditions and the needed latents of a row, as JSON values.

        Args:
            i: The number of the row.
            fitted: The fitted model.

        Returns:
            Nested lists by name, with None for an unknown value.

        Raises:
            InputError: When there is no such row.
        """
        if not 0 <= i < len(self):
            raise InputError(
                f"row = {i}: there are {len(self)} rows. Use a number from 0 to {len(self) - 1}."
            )
        one = self.dataset.isel(row=[i])
        found = {"x": one["x"].values, **conditions_in(one, fitted.event)}
        found |= fitted.definition.of_rows(fitted.options, one)
        return {name: plain(np.asarray(value)[0]) for name, value in found.items()}

    def nearest(self, point: Point) -> tuple[list[int], list[float], np.ndarray]:
        """Return the nearest rows by Euclidean distance.

        Args:
            point: x, flattened.

        Returns:
            Numbers of the rows, their distances, and their x: (row, *event).

        Raises:
            InputError: When x has another size.
        """
        x = np.array(point.x, dtype=np.float64)
        if x.size != self._flat.shape[1]:
            raise InputError(f"x has {x.size} numbers: a row has {self._flat.shape[1]}.")
        size = max(1, AT_ONCE // x.size)
        parts = [
            np.square(self._flat[i : i + size].astype(np.float64) - x).sum(1)
            for i in range(0, len(self._flat), size)
        ]
        distances = np.sqrt(np.concatenate(parts))
        order = np.argsort(distances, kind="stable")[:NEAREST]
        return order.tolist(), distances[order].tolist(), self.dataset["x"].values[order]

    def codes(self, fitted: Fitted, space: Space, device: str | None) -> dict[str, Any]:
        """Return codes of rows in the plane of the first two directions of a space.

        Args:
            fitted: The fitted model, with an encoder.
            space: The latent space.
            device: The device to compute on.

        Returns:
            `row`, `a` and `b` (in deviations), and `label` if the rows have labels.
        """
        rows = evenly(self.dataset, CODES)
        numbers = np.arange(rows.sizes["row"]) * len(self) // rows.sizes["row"]
        found = encode(fitted, rows, device=device)[space.latent].values
        flat = found.reshape(len(found), -1).astype(np.float64)
        axes = space.moves[:2].reshape(len(space.moves[:2]), -1)
        at = np.linalg.lstsq(axes.T, (flat - flat.mean(0)).T, rcond=None)[0].T
        told = {"row": numbers.tolist(), "a": at[:, 0].round(3).tolist(), "b": at[:, -1].round(3).tolist()}
        label = rows.get("label")
        return told | ({"label": label.values.tolist()} if label is not None and label.ndim == 1 else {})


def data_of(fitted: Fitted) -> tuple[Data | None, str]:
    """Return the rows of the fit by the name of their data set, or the reason why they are missing.

    The digest of the run decides whether they are the same rows.

    Args:
        fitted: The fitted model.

    Returns:
        The rows or None, and a sentence that is "" if they were found.
    """
    about = fitted.provenance.get("data", {})
    if "name" not in about:
        return None, "The run does not name its data set, so there are no rows to compare with."
    try:
        rows = evenly(datasets.load(about["name"], about.get("split")), about["rows"])
        with_own = fitted.definition.prepared(rows, fitted.options)
        taken = prepare(with_own, fitted.definition, event=fitted.event, without=("weight",))
    except (ProbgenError, OSError) as error:
        return None, f"The rows of {about['name']} cannot be read here: {error}"
    if taken.digest != about["sha256"]:
        return None, f"The rows of {about['name']} are not the rows of the fit."
    return Data(taken.dataset), ""


def has_encoder(fitted: Fitted) -> bool:
    """Return whether the codes of rows can be computed.

    Args:
        fitted: The fitted model.

    Returns:
        True for a model with an encoder.
    """
    return isinstance(fitted.module, Encoder)


def plain(values: Any) -> Any:
    """Return an array as nested lists, with None for NaN.

    Args:
        values: The array.

    Returns:
        JSON values.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        unknown = np.isnan(array)
        array = array.astype(object)
        array[unknown] = None
    return array.tolist()
