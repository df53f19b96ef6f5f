"""Vector quantization (van den Oord, Vinyals & Kavukcuoglu, NIPS 2017).

    k(z) = argmin_k |z - e_k|                                    eq. 1
    N_k = gamma N_k + (1 - gamma) n_k,    m_k = gamma m_k + (1 - gamma) sum_{k(z) = k} z,    e_k = m_k / N_k     appendix A.1

The implementation does not store m_k, and keeps unused codes unchanged: e_k = e_k + (1 - gamma) sum_{k(z) = k} (z - e_k) / N_k.

The gradient passes from e_k to z unchanged (straight-through). Codes with very little use are reinitialized at some z of the
batch (Dhariwal et al. 2020, section 3.1).
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

BLOCK = 1024  # vectors whose distances to all codes are in memory at the same time
SEEN = 40  # vectors for k-means, per code


def nearest(z: Tensor, e: Tensor) -> Tensor:
    """Return the index of the nearest code for each vector, (vector,). Autocast does not change the dtype of the distances.

    Args:
        z: Vectors, (vector, number).
        e: Codes, (code, number).

    Returns:
        Indices of codes, (vector,).
    """
    with torch.autocast(z.device.type, enabled=False):
        half = -0.5 * e.square().sum(1)
        found = [torch.addmm(half, block, e.mT).max(1).indices for block in z.split(BLOCK)]
    return torch.cat(found)


def counted(z: Tensor, k: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Count the vectors of each code, and sum them.

    Each code's vectors are added in their order. The result is thus reproducible, and needs no scratch memory of the size of z.

    Args:
        z: Vectors, (vector, number).
        k: Code of each vector, (vector,).
        K: Number of codes.

    Returns:
        Numbers of vectors, (code,), and sums of vectors, (code, number).
    """
    n = torch.bincount(k, minlength=K)
    sums = nn.functional.embedding_bag(k.argsort(stable=True), z, n.cumsum(0) - n, mode="sum")
    return n.to(z), sums


class Codebook(nn.Module):
    """A codebook of K codes with D numbers each.

    Args:
        K: Number of codes.
        D: Numbers of a code.
        decay: gamma of the moving averages. With None, codes are parameters and follow a gradient.
        cosine: Whether codes and vectors are normalized to length 1.
        restart: Share of even use below which a code is reinitialized; 0: never.

    Attributes:
        e: The codes before normalization, (code, number).
        N: Moving average of the number of vectors of each code, (code,).
    """

    e: Tensor
    N: Tensor

    def __init__(self, K: int, D: int, decay: float | None, cosine: bool, restart: float):
        super().__init__()
        self.decay, self.cosine, self.restart = decay, cosine, restart
        start = torch.randn(K, D)
        if decay is None:
            self.e = nn.Parameter(start)
        else:
            self.register_buffer("e", start)
        self.register_buffer("N", torch.ones(K))

    def codes(self) -> Tensor:
        """Return the codes, (code, number)."""
        return nn.functional.normalize(self.e) if self.cosine else self.e

    def look_up(self, k: Tensor) -> Tensor:
        """Return the codes with the indices k: (...) -> (..., number)."""
        return nn.functional.embedding(k, self.codes())

    def prepared(self, z: Tensor) -> Tensor:
        """Return z in the form that is compared with the codes, (vector, number)."""
        return nn.functional.normalize(z) if self.cosine else z

    @torch.no_grad()
    def start(self, z: Tensor, seed: int) -> None:
        """Initialize codes at k-means centers of some of the vectors z (vector, number).

        If there are fewer distinct vectors than codes, as for blank images, the other codes keep their initial values.

        Args:
            z: Vectors, (vector, number).
            seed: Seed of the choice of vectors and of k-means.
        """
        K, generator = len(self.e), torch.Generator().manual_seed(seed)
        some = torch.randperm(len(z), generator=generator)[: SEEN * K].to(z.device)
        distinct = np.unique(self.prepared(z)[some].double().cpu().numpy(), axis=0)
        found = KMeans(min(K, len(distinct)), n_init=1, max_iter=20, random_state=seed).fit(distinct)
        self.e[: len(found.cluster_centers_)] = torch.from_numpy(found.cluster_centers_).to(self.e)

    @torch.no_grad()
    def learn(self, z: Tensor, k: Tensor) -> None:
        """Update the codes from a batch, and reinitialize codes with too little use.

        Args:
            z: Vectors, (vector, number).
            k: Code of each vector, (vector,).
        """
        n, sums = counted(z, k, len(self.e))
        gamma = self.decay if self.decay is not None else 0.99
        self.N.lerp_(n, 1 - gamma)
        used = n > 0
        if self.decay is not None:
            away = sums[used] - n[used, None] * self.e[used]
            self.e[used] += (1 - gamma) * away / self.N[used, None]
        dead = ~used & (self.restart * self.N.mean() > self.N)
        if dead.any():
            chosen = z[torch.randint(len(z), (int(dead.sum()),), device=z.device)]
            self.e.data[dead] = chosen.to(self.e)  # these codes have no gradient: none of them was looked up
            self.N[dead] = self.N.mean()


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """Return q with the gradient of z (van den Oord et al. 2017, section 3.2)."""
    if not torch.is_grad_enabled():
        return q
    return z + (q - z).detach()


def perplexity(k: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Compute the exponential of the entropy of the codes' use, and the share of codes in use."""
    p = torch.bincount(k.flatten(), minlength=K).double()
    p = p / p.sum()
    return torch.exp(-torch.special.xlogy(p, p).sum()), (p > 0).double().mean()
