"""Vector quantization (van den Oord, Vinyals & Kavukcuoglu, NIPS 2017).

    k(z) = argmin_k |z - e_k|                                    eq. 1
    N_k = gamma N_k + (1 - gamma) n_k,    m_k = gamma m_k + (1 - gamma) sum_{k(z) = k} z,    e_k = m_k / N_k     appendix A.1

Without m_k, and so that a code that is not used stays where it is: e_k = e_k + (1 - gamma) sum_{k(z) = k} (z - e_k) / N_k.

The gradient goes from e_k to z as it is (straight-through). Codes that are hardly used begin anew at some z of the batch
(Dhariwal et al. 2020, section 3.1).
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

BLOCK = 1024  # vectors whose distances to all codes are in memory together
SEEN = 40  # vectors a code that k-means sees


def nearest(z: Tensor, e: Tensor) -> Tensor:
    """The nearest of the codes e (code, number) to each z (vector, number): (vector,); by their own dtype, whatever autocast says."""
    with torch.autocast(z.device.type, enabled=False):
        half = -0.5 * e.square().sum(1)
        found = [torch.addmm(half, block, e.mT).max(1).indices for block in z.split(BLOCK)]
    return torch.cat(found)


def counted(z: Tensor, k: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """How many vectors z (vector, number) have each code, and their sum: (code,), (code, number).

    Added up code by code, in the order of the vectors: a fixed one, and no scratch memory of the size of z.
    """
    n = torch.bincount(k, minlength=K)
    sums = nn.functional.embedding_bag(k.argsort(stable=True), z, n.cumsum(0) - n, mode="sum")
    return n.to(z), sums


class Codebook(nn.Module):
    """K codes of D numbers.

    decay    gamma of the moving averages; None: codes are parameters and follow a gradient
    cosine   whether codes and vectors are brought to length 1
    restart  share of an even use below which a code begins anew; 0: never
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
        """(code, number)."""
        return nn.functional.normalize(self.e) if self.cosine else self.e

    def look_up(self, k: Tensor) -> Tensor:
        """(...) -> (..., number)."""
        return nn.functional.embedding(k, self.codes())

    def prepared(self, z: Tensor) -> Tensor:
        """As z is held against the codes: (vector, number)."""
        return nn.functional.normalize(z) if self.cosine else z

    @torch.no_grad()
    def start(self, z: Tensor, seed: int) -> None:
        """At the centers of k-means of some of the vectors z (vector, number); of blank images there may be fewer than codes."""
        K, generator = len(self.e), torch.Generator().manual_seed(seed)
        some = torch.randperm(len(z), generator=generator)[: SEEN * K].to(z.device)
        distinct = np.unique(self.prepared(z)[some].double().cpu().numpy(), axis=0)
        found = KMeans(min(K, len(distinct)), n_init=1, max_iter=20, random_state=seed).fit(distinct)
        self.e[: len(found.cluster_centers_)] = torch.from_numpy(found.cluster_centers_).to(self.e)

    @torch.no_grad()
    def learn(self, z: Tensor, k: Tensor) -> None:
        """Follow the vectors z (vector, number) of codes k (vector,), and let some codes that have none begin anew."""
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
            self.e.data[dead] = chosen.to(self.e)  # no gradient goes to them: nothing was looked up there
            self.N[dead] = self.N.mean()


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """q, with the gradient of z: van den Oord et al. 2017, section 3.2."""
    if not torch.is_grad_enabled():
        return q
    return z + (q - z).detach()


def perplexity(k: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """exp of the entropy of the codes' use, and the share of codes in use."""
    p = torch.bincount(k.flatten(), minlength=K).double()
    p = p / p.sum()
    return torch.exp(-torch.special.xlogy(p, p).sum()), (p > 0).double().mean()
