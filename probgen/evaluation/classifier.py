"""Features and classes of images by a small convolutional network that is trained on labels.

What such a network keeps of an image is what tells its class: nearer to what people see than pixels are, and no more than
that. Distances between its features can be compared with those of the same network alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from probgen.evaluation.modes import Located
from probgen.nn.networks import Halving

FEATURES = 128
CHANNELS = (32, 64)
BATCH = 128
EPOCHS, LEAST, MOST = 10, 200, 3000  # epochs, in so many steps at least and at most
AT_ONCE = 1000  # rows that are classified together


class Net(nn.Module):
    """Two convolutions, `FEATURES` units, and a linear layer for each factor of the label."""

    def __init__(self, image: tuple[int, int, int], factors: tuple[int, ...]):
        super().__init__()
        self.body = Halving(image, CHANNELS, FEATURES, "relu")
        self.heads = nn.ModuleList(nn.Linear(FEATURES, levels) for levels in factors)

    def features(self, x: Tensor) -> Tensor:
        """(row, channel, height, width) -> (row, FEATURES)."""
        return self.body(x).relu()

    def logits(self, f: Tensor) -> list[Tensor]:
        """Of each factor: (row, levels)."""
        return [head(f) for head in self.heads]


@dataclass(frozen=True)
class Classifier:
    """A trained network.

    factors    levels of the label's factors: (10,) of digits, (10, 10, 10) of three digits that make one number
    loc, scale of the pixels that it was trained on
    """

    net: Net
    factors: tuple[int, ...]
    loc: float
    scale: float

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return math.prod(self.factors)

    @torch.no_grad()
    def features(self, x: np.ndarray) -> np.ndarray:
        """(row, height, width) or (row, channel, height, width) -> (row, FEATURES)."""
        parts = [self.net.features(_images(part, self.loc, self.scale)) for part in _parts(x)]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def locate(self, features: np.ndarray) -> Located:
        """The most likely label of each row. A class has no place, so that rows have no distance to it."""
        label = np.zeros(len(features), dtype=np.int64)
        for levels, logits in zip(
            self.factors, self.net.logits(torch.from_numpy(features).float()), strict=True
        ):
            label = label * levels + logits.argmax(1).numpy()
        return Located(label)

    def accuracy(self, features: np.ndarray, label: np.ndarray) -> float:
        """Share of rows whose whole label it tells, by their features."""
        return float((self.locate(features).mode == label).mean())


def train_classifier(x: np.ndarray, label: np.ndarray, factors: tuple[int, ...], seed: int = 0) -> Classifier:
    """Of images x (row, height, width) or (row, channel, height, width) and labels (row,), 0 .. prod(factors) - 1."""
    loc, scale = float(x.mean()), float(x.std()) or 1.0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        image = _images(x[:1], loc, scale).shape[1:]
        net = Net((image[0], image[1], image[2]), factors)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
        size = min(BATCH, len(x))
        steps = min(max(EPOCHS * len(x) // size, LEAST), MOST)
        target = torch.from_numpy(np.stack(np.unravel_index(label.astype(np.int64), factors), 1))
        order = torch.cat([torch.randperm(len(x)) for _ in range(steps * size // len(x) + 1)])
        for rows in order[: steps * size].split(size):
            logits = net.logits(net.features(_images(x[rows.numpy()], loc, scale)))
            loss = sum(nn.functional.cross_entropy(l, target[rows, i]) for i, l in enumerate(logits))
            assert isinstance(loss, Tensor)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Classifier(net.eval(), factors, loc, scale)


def _images(x: np.ndarray, loc: float, scale: float) -> Tensor:
    t = (torch.from_numpy(np.asarray(x, dtype=np.float32)) - loc) / scale
    return t[:, None] if t.ndim == 3 else t


def _parts(x: np.ndarray) -> list[np.ndarray]:
    return [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]
