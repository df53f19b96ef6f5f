"""Several GANs that are trained together. Each has the weights, rows and random numbers of a fit by its own seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probgen import Rows, Run
from probgen.contract.seeds import key, seed_torch
from probgen_gan.adversarial import Adversarial

SEEN = 1000  # rows whose conditions represent the conditions of all rows


class Members:
    """The rows and the random numbers of each member, from its own generators with seeds s, s + 1, ..."""

    def __init__(self, module: Adversarial, data: Rows, run: Run):
        self.module = module
        self.seeds = [run.seed + i for i in range(module.members)]
        self.data = [data.reseeded(seed) for seed in self.seeds]
        self.generators = [torch.Generator(run.device) for _ in self.seeds]
        self.run, self.device = run, run.device
        self.like: dict[str, Any] = {"device": run.device, "dtype": run.dtype}

    def begin(self, stage: str, t: object) -> None:
        """Seed the generators for a step."""
        for seed, generator in zip(self.seeds, self.generators, strict=True):
            generator.manual_seed(key(seed, stage, t))

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers, (*member, *shape)."""
        return self._drawn(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform numbers from 0 to 1, (*member, *shape)."""
        return self._drawn(torch.rand, shape)

    def batch(self, t: int, size: int, sigma: float, stage: str = "fit") -> tuple[Tensor, Tensor | None]:
        """Return standardized rows with noise, and their conditions, for the current part of the batch."""
        unit = self.module.game.packing
        return self._seen([self.run.rows(rows.batch(t, size, stage), unit=unit) for rows in self.data], sigma)

    def _seen(self, batches: list[dict[str, Tensor]], sigma: float) -> tuple[Tensor, Tensor | None]:
        x = self.module.standardized(_together([batch["x"] for batch in batches]))
        if sigma:
            x += sigma * self.normal(*x.shape[self.module.row_dim :])
        parts = [part for batch in batches if (part := self.module.condition(batch)) is not None]
        return x, _together(parts) if parts else None

    def conditions(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Return n samples of z (*member, row, latent), and the first rows' conditions, repeated (*member, row, context)."""
        c = self._seen([rows.batch(0, min(n, SEEN)) for rows in self.data], 0.0)[1]
        if c is not None:
            rows = torch.arange(n, device=c.device) % c.shape[-2]
            c = c.index_select(-2, rows)
        return self.normal(n, self.module.options.latent), c

    @torch.no_grad()
    def stand(self) -> None:
        """Update the state of the average that depends on samples, with the same z and conditions each time."""
        self.begin("stand", 0)
        self.module.stand(self.conditions)

    def draws(self, n: int, c: Tensor | None, sigma: float) -> Tensor:
        """Return standardized samples G(z) with noise."""
        y = self.module.generate(self.module.G, self.normal(n, self.module.options.latent), c)
        return y + sigma * self.normal(*y.shape[self.module.row_dim :]) if sigma else y

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return _together([draw(shape, generator=generator, **self.like) for generator in self.generators])


def begin_members(module: Adversarial, seeds: list[int]) -> None:
    """Initialize the weights of each member as in a fit by its own seed."""
    for i, seed in enumerate(seeds if module.members > 1 else ()):
        seed_torch(key(seed, "build"))
        alone = module.single().state_dict()
        for name, state in module.state_dict().items():
            if name in module.dims:
                state[i] = alone[name]


def _together(parts: list[Tensor]) -> Tensor:
    """Stack the tensors of the members. A single member gets no dimension."""
    return parts[0] if len(parts) == 1 else torch.stack(parts)
