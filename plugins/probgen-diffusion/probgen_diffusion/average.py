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
        self.names = {name.replace(".", "/"): name for name, _ in net.named_parameters()}
        for key, name in self.names.items():
            self.register_buffer(key, net.get_parameter(name).detach().clone())
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, net: nn.Module) -> None:
        """Update the average with decay min(decay, (1 + n) / (10 + n)) after n updates: early averages cover a short past."""
        n = int(self.updates)
        rate = 1 - min(self.decay, (1 + n) / (10 + n))
        for key, name in self.names.items():
            self.get_buffer(key).lerp_(net.get_parameter(name), rate)
        self.updates += 1

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The averaged parameters by name."""
        return {name: self.get_buffer(key) for key, name in self.names.items()}
