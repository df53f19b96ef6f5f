"""The best weights of a generator by a measure of its draws, and whether the game collapsed.

The measure is the Frechet distance of draws and validation rows in the rows' first principal components, each brought to a deviation of
1 since else brightness would decide alone, and in what is left beside these components, which noise has more of. It is
comparable within a fit alone, where rows, components and z stay the same.
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

LOOKS, APART = 20, 25  # at the draws, evenly over the stage, and so many steps apart at least
ROWS = 500  # and draws of a look, at most
COMPONENTS = 32
COLLAPSED = 2.0  # times the best measure


class Best:
    """A part of what a fit keeps: measures so far, and the average's weights at the least of them."""

    def __init__(self, module: Adversarial, data: Rows, members: Members, run: Run):
        assert data.valid is not None
        if data.valid.n < 2:
            raise InputError(
                "valid has one row: draws are held against 2 or more; give more, or leave it out"
            )
        self.module, self.members, self.run = module, members, run
        batch = data.valid.reseeded(0).batch(0, min(data.valid.n, ROWS), "best")
        x = self._flat(module.standardized(batch["x"]))
        self.c = module.condition(batch)
        self.middle = x.mean(0)
        # eigenvectors by those of the products of rows, which are fewer than pixels
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
        """The measure after step t of the stage, `done` steps of the game, if this is a time to look."""
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
        """The weights at the least measure; a note where others are left, and what that says of the game."""
        if not self.values:
            return
        best = int(np.argmin(self.values))
        if best == len(self.values) - 1:
            return
        self.module.average.load_state_dict(self.weights)
        lost = self.values[-1] / max(self.values[best], 1e-12)
        why = f"the game collapsed: draws were {lost:.1f} times as far from validation rows at its end; "
        self.run.notes.append(
            f"{why if lost > COLLAPSED else ''}the weights are those after step {self.at[best]} of {self.module.game.steps}, whose draws "
            "are nearest to validation rows"
        )

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        return {
            "values": torch.tensor(self.values, dtype=torch.float64),
            "at": torch.tensor(self.at, dtype=torch.int64),
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it was."""
        self.values, self.at = state["values"].tolist(), state["at"].tolist()
        device = next(self.module.parameters()).device
        self.weights = {name: w.to(device) for name, w in state["weights"].items()}

    def _seen(self, x: np.ndarray) -> np.ndarray:
        """Components, and the norm of what is left: (row, component + 1)."""
        components = (x - self.middle) @ self.axes
        left = np.square(x - self.middle).sum(1) - np.square(components).sum(1)
        return np.concatenate([components, np.sqrt(np.maximum(left, 0))[:, None]], 1)

    @staticmethod
    def _flat(y: torch.Tensor) -> np.ndarray:
        return np.asarray(y.flatten(1).double().cpu().numpy())
