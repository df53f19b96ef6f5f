"""Past draws, which a discriminator sees beside new ones (Shrivastava et al., CVPR 2017, section 2.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Pool:
    """A part of what a fit keeps: at most `size` draws, (draw, channel, height, width)."""

    def __init__(self, size: int):
        self.size = size
        self.x: Tensor | None = None

    def exchange(self, x: Tensor) -> Tensor:
        """As many draws: each of x, or, once the pool is full, with probability 1/2 one of the pool, whose place it takes."""
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
        """The draws."""
        return {} if self.x is None else {"x": self.x}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As they were."""
        self.x = state.get("x")
