"""A pool of past samples, which a discriminator sees in addition to new samples (Shrivastava et al., CVPR 2017, section 2.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Pool:
    """A pool of at most `size` samples, (sample, channel, height, width). Checkpoints contain this state."""

    def __init__(self, size: int):
        self.size = size
        self.x: Tensor | None = None

    def exchange(self, x: Tensor) -> Tensor:
        """Replace some of the samples x by samples of the pool, and return the same number of samples.

        Once the pool is full, each sample is exchanged with a random sample of the pool, with probability 1/2.
        """
        if not self.size:
            return x
        x = x.detach()
        there = 0 if self.x is None else len(self.x)
        new = x[: self.size - there]
        held = new.clone() if self.x is None else torch.cat([self.x, new])
        out = [new]
        rest = x[len(new) :]
        if len(rest):
            out_of_pool = torch.rand(len(rest), device=x.device) < 0.5
            places = torch.randint(len(held), (len(rest),), device=x.device)
            shown = torch.empty_like(rest)
            for i, (old, place) in enumerate(zip(out_of_pool.tolist(), places.tolist(), strict=True)):
                shown[i] = held[place] if old else rest[i]
                if old:
                    held[place] = rest[i]
            out.append(shown)
        self.x = held
        return torch.cat(out)

    def state_dict(self) -> dict[str, Any]:
        """Return the samples of the pool."""
        return {} if self.x is None else {"x": self.x}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the samples of the pool."""
        self.x = state.get("x")
