"""The best weights of a generator by a measure of its samples, and whether the game collapsed.

The measure is the Frechet distance between samples and validation rows, in the first principal components of these rows
and in the norm of the residual outside the components. Noise increases this norm. Each component is scaled to a standard
deviation of 1, because otherwise brightness would dominate. The measure can only be compared within one fit, where rows,
components and z stay the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from probgen import Rows, Run
from probgen.errors import InputError
from probgen.evaluation import frechet
from probgen_gan.adversarial import Adversarial
from probgen_gan.members import Members

LOOKS, APART = 20, 25  # measurements of a stage, evenly spaced, and the least number of steps between them
ROWS = 500  # validation rows, and samples, of a measurement, at most
COMPONENTS = 32
COLLAPSED = 2.0  # final measure of a collapsed game, as a multiple of the best measure


class Best:
    """The measures of a fit so far, and the average's weights at the smallest measure. Checkpoints contain this state."""

    def __init__(self, module: Adversarial, data: Rows, members: Members, run: Run):
        assert data.valid is not None
        if data.valid.n < 2:
            raise InputError(
                "valid has one row: samples are compared with at least 2 rows. Give more validation rows, or none."
            )
        self.module, self.members, self.run = module, members, run
        batch = data.valid.reseeded(0).batch(0, min(data.valid.n, ROWS), "best")
        x = self._flat(module.standardized(batch["x"]))
        self.c = module.condition(batch)
        self.middle = x.mean(0)
        # eigenvectors from the products of rows: there are fewer rows than pixels
        values, vectors = np.linalg.eigh((x - self.middle) @ (x - self.middle).T)
        kept = slice(-min(COMPONENTS, len(x) - 1), None)
        self.axes = (x - self.middle).T @ (vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-12)))
        seen = self._seen(x)
        self.loc, self.scale = seen.mean(0), np.maximum(seen.std(0), 1e-6)
        self.real = (seen - self.loc) / self.scale
        self.values: list[float] = []
        self.at: list[int] = []
        self.weights: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def look(self, t: int, done: int, steps: int) -> dict[str, float]:
        """Measure samples after step t of the stage and `done` steps of the game, if a measurement is due."""
        looks = min(LOOKS, max(1, steps // APART))
        if (t + 1) * looks // steps == t * looks // steps:
            return {}
        module = self.module
        self.members.stand()
        self.members.begin("best", 0)
        z = self.members.normal(len(self.real), module.options.latent)
        fake = self._seen(self._flat(module.generate(module.average, z, self.c)))
        value = frechet(self.real, (fake - self.loc) / self.scale)
        if not self.values or value < min(self.values):
            self.weights = {name: w.clone() for name, w in module.average.state_dict().items()}
        self.values.append(value)
        self.at.append(done)
        return {"valid_distance": value}

    def take_back(self) -> None:
        """Restore the weights with the smallest measure, and add a note if these are not the final weights."""
        if not self.values:
            return
        best = int(np.argmin(self.values))
        if best == len(self.values) - 1:
            return
        self.module.average.load_state_dict(self.weights)
        lost = self.values[-1] / max(self.values[best], 1e-12)
        why = f"the game collapsed: samples were {lost:.1f} times as far from validation rows at its end; "
        self.run.notes.append(
            f"{why if lost > COLLAPSED else ''}the weights are those after step {self.at[best]} of {self.module.game.steps}, where samples "
            "were nearest to validation rows"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the measures and the best weights."""
        return {
            "values": torch.tensor(self.values, dtype=torch.float64),
            "at": torch.tensor(self.at, dtype=torch.int64),
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the measures and the best weights."""
        self.values, self.at = state["values"].tolist(), state["at"].tolist()
        device = next(self.module.parameters()).device
        self.weights = {name: w.to(device) for name, w in state["weights"].items()}

    def _seen(self, x: np.ndarray) -> np.ndarray:
        """Return the components and the norm of the residual: (row, component + 1)."""
        components = (x - self.middle) @ self.axes
        left = np.square(x - self.middle).sum(1) - np.square(components).sum(1)
        return np.concatenate([components, np.sqrt(np.maximum(left, 0))[:, None]], 1)

    @staticmethod
    def _flat(y: torch.Tensor) -> np.ndarray:
        return np.asarray(y.flatten(1).double().cpu().numpy())
