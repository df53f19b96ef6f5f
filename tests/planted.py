"""A generator of which everything is known: which way in its codes each attribute changes, and in which layer it is read."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import probgen
from probgen.contract.options import NoOptions
from probgen.errors import InputError


class Planted:
    """w = M z; attribute k is tanh of what its layer says along q_k; an image is a sum of patterns, one an attribute.

    d          dimensions of a code
    cosine     between any two of the planted q_k
    condition  of the covariance's root: the largest deviation of w over the least
    noise      deviation of the error of each score
    null       further attributes that read nothing of the codes: their scores are noise
    spread     parts of the weight of an attribute in its layer and in the next ones
    """

    def __init__(
        self,
        seed: int,
        *,
        d: int = 64,
        layers: int = 8,
        attributes: int = 6,
        null: int = 0,
        cosine: float = 0.0,
        condition: float = 1.0,
        noise: float = 0.3,
        spread: tuple[float, ...] = (1.0,),
    ):
        self.rng = rng = np.random.default_rng(seed)
        self.d, self.layers, self.null, self.noise, self.spread = d, layers, null, noise, spread
        alike = np.full((attributes, attributes), cosine) + (1 - cosine) * np.eye(attributes)
        self.q = np.linalg.cholesky(alike) @ _rotation(rng, d)[:attributes]
        self.layer = rng.permutation(layers - len(spread) + 1)[:attributes]
        self.M = (_rotation(rng, d) * np.geomspace(condition**0.5, condition**-0.5, d)) @ _rotation(rng, d)
        self.reach = np.linalg.norm(self.q @ self.M, axis=1)  # deviation of q_k . w
        self.patterns = rng.random((attributes, 100))
        self.inverse = np.linalg.pinv(self.patterns)

    def codes(self, n: int) -> np.ndarray:
        """(row, d)."""
        return self.rng.standard_normal((n, self.d)) @ self.M.T

    def styles(self, w: np.ndarray) -> np.ndarray:
        """The same in every layer: (row, layer, d)."""
        return np.repeat(w[:, None], self.layers, 1)

    def ways(self, normals: np.ndarray) -> np.ndarray:
        """The way that draws differ where n . c does, in every layer: (factor, layer, d)."""
        return np.repeat((normals @ self.M @ self.M.T)[:, None], self.layers, 1)

    def decode(self, styles: np.ndarray) -> np.ndarray:
        """(row, layer, d) -> (row, pixel)."""
        read = sum(
            part * np.einsum("nkd,kd->nk", styles[:, self.layer + i], self.q)
            for i, part in enumerate(self.spread)
        )
        return np.tanh(read / self.reach) @ self.patterns

    def score(self, x: np.ndarray) -> np.ndarray:
        """What someone who errs says of images: (row, factor)."""
        known = x @ self.inverse
        known = np.concatenate([known, np.zeros((len(x), self.null))], 1)
        return known + self.noise * self.rng.standard_normal(known.shape)

    def drawn(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and their scores."""
        w = self.codes(n)
        return w, self.score(self.decode(self.styles(w)))

    def seen(self, styles: np.ndarray) -> np.ndarray:
        """Scores of codes with layers."""
        return self.score(self.decode(styles))


def _rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


SIDE, STYLE, LAYERS = 10, 12, 4


class PlantedNet(nn.Module):
    """A generator in layers of which everything is known: an image is a sum of patterns, each with what one layer reads of its style."""

    latents: ClassVar = {"w": ("style",), "styles": ("layer", "style")}
    world: Planted

    def __init__(self) -> None:
        super().__init__()
        self.world = Planted(0, d=STYLE, layers=LAYERS, attributes=3, cosine=0.3, condition=3, noise=0.0)
        for name, array in (
            ("q", self.world.q / self.world.reach[:, None]),
            ("patterns", self.world.patterns),
            ("M", self.world.M),
        ):
            self.register_buffer(name, torch.from_numpy(np.asarray(array)).float())
        self.layer = torch.from_numpy(self.world.layer)

    def decode(self, start: dict[str, Tensor], until: str = "x") -> Tensor:
        styles = start["styles"] if "styles" in start else start["w"][:, None].expand(-1, LAYERS, -1)
        if until == "styles":
            return styles
        if until != "x":
            raise InputError(f"decode requires {until!r} as well")
        read = (styles[:, self.layer] * self.q).sum(-1)
        return (read.tanh() @ self.patterns).unflatten(1, (SIDE, SIDE))


class planted:
    """The planted generator as a family: nothing is learned."""

    Options = NoOptions

    @staticmethod
    def build(options: Any, event: probgen.Event) -> nn.Module:
        return PlantedNet()

    @staticmethod
    @probgen.hookimpl
    def fit(module: PlantedNet, data: probgen.Rows, run: probgen.Run) -> None:
        run.train(lambda t: {"done": True}, 1, keep={})

    @staticmethod
    @probgen.hookimpl
    def sample(fitted: probgen.Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        net = fitted.module
        w = given["w"] if "w" in given else torch.randn(n, STYLE) @ net.M.T
        styles = given["styles"] if "styles" in given else net.decode({"w": w}, "styles")
        return {"x": net.decode({"styles": styles}), "w": w, "styles": styles}


def factors(x: np.ndarray) -> dict[str, np.ndarray]:
    """What the planted images were made of, and one factor that they were not."""
    world = PlantedNet().world
    known = x.reshape(len(x), -1) @ world.inverse
    own = np.random.default_rng(len(x)).standard_normal(len(x))
    return {"a": known[:, 0], "b": known[:, 1], "c": known[:, 2], "nothing": own}
