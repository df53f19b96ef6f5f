"""The exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """The exponential moving average of the parameters of a network, as buffers.

    Args:
        net: The network.
        decay: The largest decay, from 0 to 1.
    """

    updates: Tensor

    def __init__(self, net: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        followed = dict(net.named_parameters())
        self.followed = list(followed.values())  # looking them up at each step takes as long as a small layer
        self.keys = {name: name.replace(".", "/") for name in followed}
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        for name, key in self.keys.items():
            self.register_buffer(key, followed[name].detach().clone())

    @torch.no_grad()
    def follow(self) -> None:
        """Update the average with decay min(decay, (1 + n) / (10 + n)) after n updates: early averages cover a short past."""
        n = int(self.updates)
        rate = 1 - min(self.decay, (1 + n) / (10 + n))
        for average, weight in zip(self.weights.values(), self.followed, strict=True):
            average.lerp_(weight, rate)
        self.updates += 1

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The averaged parameters by name."""
        return {name: self.get_buffer(key) for name, key in self.keys.items()}
