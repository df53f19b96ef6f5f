"""A step of Glow on maps (row, channel, height, width): actnorm, 1 x 1 convolution, coupling (Kingma & Dhariwal 2018, section 3).

actnorm             z = s (y + b)                                 log |det| = height width sum log s
1 x 1 convolution   z = W y,  W = P L (U + diag(s))               log |det| = height width sum log |s|      eq. 10, 11
coupling            z_a = y_a,  z_b = s(y_a, c) (y_b + t(y_a, c))     log |det| = sum log s
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALMOST_ONE = 2.0  # s = sigmoid(net + 2), which is 0.88 at the start


class ActNorm(nn.Module):
    """A scale and an offset of each channel, which start at those of the data.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(channels))
        self.log_s = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def start(self, y: Tensor, weight: Tensor) -> None:
        """Set scale and offset such that each channel of the output has mean 0 and standard deviation 1.

        Args:
            y: Maps, (row, channel, height, width).
            weight: Row weights, (row,).
        """
        w = weight.to(y) / weight.sum()
        mean = w @ y.mean((2, 3))
        self.b.copy_(-mean)
        self.log_s.copy_(-((w @ (y - mean[:, None, None]).square().mean((2, 3))).sqrt() + 1e-6).log())

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|, ()."""
        log_det = y.shape[2] * y.shape[3] * self.log_s.sum()
        return (y + self.b[:, None, None]) * self.log_s.exp()[:, None, None], log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return y."""
        return z * (-self.log_s).exp()[:, None, None] - self.b[:, None, None]


class InvertibleConvolution(nn.Module):
    """A 1 x 1 convolution whose matrix W has an LU decomposition; W starts at a random rotation.

    Args:
        channels: Number of channels.
    """

    P: Tensor
    sign: Tensor

    def __init__(self, channels: int):
        super().__init__()
        P, L, U = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels)).Q)
        s = U.diagonal()
        self.register_buffer("P", P)
        self.register_buffer("sign", s.sign())
        self.L = nn.Parameter(L.tril(-1))
        self.U = nn.Parameter(U.triu(1))
        self.log_s = nn.Parameter(s.abs().log())

    def triangles(self) -> tuple[Tensor, Tensor]:
        """Return the lower triangle, with ones on its diagonal, and the upper triangle."""
        eye = torch.eye(len(self.sign), dtype=self.L.dtype, device=self.L.device)
        return self.L.tril(-1) + eye, self.U.triu(1) + (self.sign * self.log_s.exp()).diag()

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|, ()."""
        L, U = self.triangles()
        z = nn.functional.conv2d(y, (self.P @ L @ U)[:, :, None, None])
        return z, y.shape[2] * y.shape[3] * self.log_s.sum()

    def inverse(self, z: Tensor) -> Tensor:
        """Return y."""
        L, U = self.triangles()
        half = torch.linalg.solve_triangular(L, self.P.mT, upper=False, unitriangular=True)
        return nn.functional.conv2d(z, torch.linalg.solve_triangular(U, half, upper=True)[:, :, None, None])


class Coupling(nn.Module):
    """An affine coupling: a network reads one half of the channels, and scales and moves the other half.

    Args:
        channels: Number of channels, even.
        context: Number of channels of the conditions.
        hidden: Channels of the network.
    """

    def __init__(self, channels: int, context: int, hidden: int):
        super().__init__()
        last = nn.Conv2d(hidden, channels, 3, padding=1)
        nn.init.zeros_(last.weight)  # section 3.3: each coupling starts near the identity
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2 + context, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            last,
        )

    def s_and_t(self, a: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log s and t for the other half."""
        t, raw = self.net(a if c is None else torch.cat([a, c], 1)).chunk(2, 1)
        return nn.functional.logsigmoid(raw + ALMOST_ONE), t

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|, (row,)."""
        a, b = y.chunk(2, 1)
        log_s, t = self.s_and_t(a, c)
        return torch.cat([a, log_s.exp() * (b + t)], 1), log_s.flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return y."""
        a, b = z.chunk(2, 1)
        log_s, t = self.s_and_t(a, c)
        return torch.cat([a, (-log_s).exp() * b - t], 1)


class Step(nn.Module):
    """A step of the flow: actnorm, invertible 1 x 1 convolution and affine coupling.

    Args:
        channels: Number of channels, even.
        context: Number of channels of the conditions.
        hidden: Channels of the network of the coupling.
    """

    def __init__(self, channels: int, context: int, hidden: int):
        super().__init__()
        self.norm = ActNorm(channels)
        self.mix = InvertibleConvolution(channels)
        self.coupling = Coupling(channels, context, hidden)

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|, (row,)."""
        y, of_norm = self.norm(y)
        y, of_mix = self.mix(y)
        z, of_coupling = self.coupling(y, c)
        return z, of_norm + of_mix + of_coupling

    def inverse(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return y."""
        return self.norm.inverse(self.mix.inverse(self.coupling.inverse(z, c)))
