"""Latent spaces of a fitted model, as the page moves in them: directions, boundaries, layers, mixing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import latents
from probgen.api.sampling import sample
from probgen.contract.definition import Decoder, latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.state import digest_of
from probgen.errors import InputError, ProbgenError, did_you_mean
from probgen.explore.asking import SLIDERS, Layers, Moves
from probgen.explore.controls import usual_condition
from probgen.latents.directions import predictive
from probgen.store.folder import ANALYSES
from probgen.store.trees import read_dataset

DRAWS = 256  # samples from which directions are computed
DIGITS = 5  # significant digits of a code: what is shown is what is copied
LEVELS = 40  # most values of a latent that is chosen by name


@dataclass(frozen=True)
class Space:
    """A latent of real numbers, with moves of its codes.

    Attributes:
        latent: The name of the latent.
        shape: The shape of a code: (code,) or (layer, code).
        moves: Moves of one deviation, the most important first: (direction, *shape).
        shares: The share of each direction in the variance of x that is linear in the codes.
        boundaries: Boundaries by `factor`, or None.
    """

    latent: str
    shape: tuple[int, ...]
    moves: np.ndarray
    shares: np.ndarray
    boundaries: xr.Dataset | None = None

    @property
    def layers(self) -> int:
        """The number of layers of a code; 0 for a code without layers."""
        return self.shape[0] if len(self.shape) == 2 else 0

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes that have a boundary, with the name of what they are classes of."""
        found = self.boundaries
        return (
            {}
            if found is None
            else dict(zip(map(str, found["factor"].values), map(str, found["of"].values), strict=True))
        )

    def moved(self, code: np.ndarray, second: np.ndarray | None, moves: Moves) -> np.ndarray:
        """Return the moved code of a sample.

        Args:
            code: The code of the sample: (*shape).
            second: The code of the second sample, or None.
            moves: The moves.

        Returns:
            The code, rounded to few digits: (*shape), float64.

        Raises:
            InputError: When a name, a number of directions or a layer is not one of this space, or when the held
                attributes leave no direction.
        """
        if len(moves.by) > len(self.moves):
            raise InputError(
                f"by has {len(moves.by)} numbers: {self.latent} has {len(self.moves)} directions."
            )
        codes = np.asarray(code, dtype=np.float64)[None]
        if second is not None:
            codes = latents.mix(
                codes, np.asarray(second, np.float64)[None], _slice(moves.mixed or (0, 0), self.layers)
            )
        way = np.tensordot(np.asarray(moves.by, dtype=np.float64), self.moves[: len(moves.by)], 1)
        for name, by in moves.attributes.items():
            if by:
                way = way + by * self._across(name, moves.hold)
        layers = None if moves.layers is None else _slice(moves.layers, self.layers)
        return rounded(latents.edit(codes, way, 1.0, layers)[0])

    def _across(self, name: str, hold: tuple[str, ...]) -> np.ndarray:
        """Return the move across a boundary by one deviation, with the held attributes fixed (eq. 5 of InterFaceGAN)."""
        of, found = self.attributes, self.boundaries
        for each in (name, *hold):
            if each not in of:
                raise InputError(f"attribute {each!r}: {did_you_mean(each, of)}")
        assert found is not None
        normals = found["normal"].values.reshape(len(of), -1).astype(np.float64)
        which = list(of).index(name)
        held = [i for i, each in enumerate(of) if each in hold and of[each] != of[name]]
        direction = latents.project(normals[which], normals[held])
        deviation = float(found["deviation"].values[which])
        return latents.step(normals[which], deviation, direction).reshape(self.shape)


def rounded(code: np.ndarray) -> np.ndarray:
    """Return a code with few significant digits, so that its text is short and exact.

    Args:
        code: The code, of any shape.

    Returns:
        The same shape, float64.
    """
    flat = [float(f"{value:.{DIGITS}g}") + 0.0 for value in np.ravel(code)]  # + 0.0: no negative zero
    return np.array(flat).reshape(np.shape(code))


def choices_of(drawn: xr.Dataset, names: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the values of latents that are one whole number, for example a component or a member.

    Args:
        drawn: Samples with their latents.
        names: The latents of the model.

    Returns:
        The values by latent.
    """
    found = {}
    for name in names:
        if name in drawn and drawn[name].ndim == 1 and drawn[name].dtype.kind in "iu":
            values = np.unique(drawn[name].values).tolist()
            if 1 < len(values) <= LEVELS:
                found[name] = values
    return found


def spaces_of(fitted: Fitted, drawn: xr.Dataset, run: Path) -> list[Space]:
    """Return the latent spaces of a model, the nearest to x last.

    Args:
        fitted: The fitted model.
        drawn: Samples with their latents.
        run: The folder of the run, which may contain boundaries.

    Returns:
        A space for each latent of real numbers that is a vector, or has layers of vectors.
    """
    if not isinstance(fitted.module, Decoder):
        return []
    boundaries, found = boundaries_of(fitted, run), []
    for name in latents_of(fitted.module):
        codes = drawn[name].values if name in drawn else np.zeros(0)
        if codes.dtype.kind != "f" or codes.ndim not in (2, 3) or not np.ptp(codes, axis=0).any():
            continue
        moves, shares = predictive(codes, drawn["x"].values)
        shape = codes.shape[1:]
        across = boundaries if boundaries is not None and boundaries.attrs["latent"] == name else None
        if across is not None and across["normal"].shape[1:] != shape:
            across = None
        found.append(Space(name, shape, moves[:SLIDERS].reshape(-1, *shape), shares[:SLIDERS], across))
    return found


def boundaries_of(fitted: Fitted, run: Path) -> xr.Dataset | None:
    """Return the boundaries that the analysis `boundaries` stored for this model, or None.

    Args:
        fitted: The fitted model.
        run: The folder of the run.

    Returns:
        The boundaries by `factor`; None if there are none, or if they belong to another model.
    """
    file = run / ANALYSES / "boundaries.h5"
    try:
        found = read_dataset(file, "boundaries") if file.is_file() else None
    except ProbgenError:
        return None  # a damaged file of an analysis is no reason not to show the model
    return None if found is None or found.attrs["model_sha256"] != digest_of(fitted.state) else found


def first_draws(fitted: Fitted, options: Mapping[str, Any], device: str | None) -> xr.Dataset:
    """Return the samples from which spaces are computed, with classes at random.

    Args:
        fitted: The fitted model.
        options: Options of `sample`.
        device: The device to compute on.

    Returns:
        `DRAWS` samples with their latents.
    """
    given: dict[str, Any] = {name: usual_condition(part) for name, part in fitted.event.given.items()}
    rng = np.random.default_rng(0)
    for name, part in fitted.event.given.items():
        if not part.dims and part.levels:
            given[name] = rng.integers(part.levels, size=DRAWS)
    by_row = any(np.ndim(value) == 1 and not fitted.event.given[name].dims for name, value in given.items())
    drawn = sample(fitted, 1 if by_row else DRAWS, given=given or None, device=device, **options)
    return drawn.isel(sample=0).rename(row="sample") if by_row else drawn


def _slice(layers: Layers, there: int) -> slice:
    if layers is None or not 0 <= layers[0] <= layers[1] < there:
        raise InputError(
            f"layers = {layers}: {there} layers exist. Use two layers from 0 to {max(there - 1, 0)}."
        )
    return slice(layers[0], layers[1] + 1)
