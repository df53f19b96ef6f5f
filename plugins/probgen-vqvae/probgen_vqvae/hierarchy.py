"""Codes of an image in one or more levels, and p(x | z) (Razavi, van den Oord & Vinyals, NeurIPS 2019, algorithm 1).

    z_1 = k(E_1(x)),    z_l = k(E_l(x), e(z_1), .., e(z_{l-1}))          the first level is the coarsest
    L = -log p(x | e(z)) + |sg[E] - e|^2 + beta |E - sg[e]|^2            van den Oord et al. 2017, eq. 3

With moving averages, the second term is omitted, because the moving averages minimize it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from probgen import Event
from probgen.contract.conditions import context_of, context_size
from probgen.inference.programs import Objective
from probgen_vqvae.codebook import Codebook, nearest, perplexity, straight_through
from probgen_vqvae.networks import as_map, beside, decoder, encoder, planes, upwards, vectors

AT_ONCE = 1 << 24  # features that are in memory at the same time without gradients: 64 MiB


class Level(nn.Module):
    """One map of codes. E encodes the features of the finer level, or the image; `last` also receives the coarser levels."""

    def __init__(self, options: Any, inputs: int, halvings: int, above: bool):
        super().__init__()
        o, D = options, options.latent
        self.E = encoder(inputs, o.channels, halvings, o.blocks)
        self.up = upwards(D, D) if above else None
        self.last = nn.Conv2d(o.channels + (D if above else 0), D, 1)
        self.book = Codebook(o.codes, D, o.decay, o.distance == "cosine", o.restart)
        self.join = nn.Conv2d(2 * D, D, 1) if above else None

    def raised(self, u: Tensor | None) -> Tensor | None:
        """Return the features u of the coarser levels on the grid of this level."""
        return None if u is None or self.up is None else self.up(u)

    def quantized(self, h: Tensor, above: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the encoder's vectors (row, D, height, width), in the form compared with the codes, and the nearest codes k."""
        z = self.last(h if above is None else beside(h, above))
        flat = self.book.prepared(vectors(z).to(self.book.e))  # back from autocast's dtype
        k = nearest(flat.detach(), self.book.codes().detach()).reshape(len(z), *z.shape[2:])
        return as_map(flat.reshape(*k.shape, -1)), k

    def joined(self, e: Tensor, above: Tensor | None) -> Tensor:
        """Combine the vectors of this level and the features of the coarser levels: (row, D, height, width)."""
        return e if above is None or self.join is None else self.join(beside(e, above))

    def e(self, k: Tensor) -> Tensor:
        """Return the vectors of codes, as a map."""
        return as_map(self.book.look_up(k.long()))


class Hierarchy(Objective):
    """The first stage: encoders, codebooks and decoder. Levels are numbered from the coarsest.

    Args:
        options: The options of the first stage.
        image: Shape of an image, (channel, height, width).
        site: Distribution of one dimension of x given z.
        event: The event of the data.

    Attributes:
        sides: Height and width of each level's codes.
    """

    def __init__(self, options: Any, image: tuple[int, int, int], site: Any, event: Event):
        super().__init__()
        o, L, (depth, height, width) = options, options.levels, image
        self.site, self.image, self.event, self.commitment = site, image, event, o.commitment
        c = self.given = context_size(event)
        self.widest = max(o.channels, depth * site.size)
        self.sides = [(height >> s, width >> s) for s in (o.halvings + L - 1 - i for i in range(L))]
        self.layers = nn.ModuleList(
            Level(o, o.channels, 1, i > 0)
            if i < L - 1
            else Level(o, depth * site.features + c, o.halvings, i > 0)
            for i in range(L)
        )
        self.D = decoder(o.latent + c, o.channels, o.halvings, o.blocks, depth * site.size)

    @property
    def levels(self) -> list[Level]:
        """The levels, from the coarsest."""
        return [level for level in self.layers if isinstance(level, Level)]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next(self.parameters()).dtype

    @property
    def at_once(self) -> int:
        """The number of rows whose features of one layer fill 64 MiB."""
        return max(1, AT_ONCE // (self.image[1] * self.image[2] * self.widest))

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Compute the loss in nats per row.

        The terms of the codes are multiplied by the size of x, so that beta does not depend on the size of x.

        Args:
            x: Rows, (row, *event).
            n: Number of rows.
            **given: Conditions by name, (row, ...).

        Returns:
            `loss` and `reconstruction`; for each level its perplexity and share of codes in use; and vectors and codes.
        """
        c = context_of(self.event, given, self.dtype)
        zs, ks, es = self.encode(x, c)
        numbers = self.decode(es, c)
        reconstruction = self.site.p(numbers).log_prob(x.reshape(numbers.shape[:-1])).flatten(1).sum(1).mean()
        loss, size = -reconstruction, x[0].numel()
        found: dict[str, Tensor] = {}
        for i, (level, z, k) in enumerate(zip(self.levels, zs, ks, strict=True), 1):
            book, e = level.book, level.e(k)
            loss = loss + size * self.commitment * nn.functional.mse_loss(z, e.detach())
            if book.decay is None:
                loss = loss + size * nn.functional.mse_loss(e, z.detach())
            found[f"perplexity_{i}"], found[f"in_use_{i}"] = perplexity(k, len(book.e))
            found |= {f"z_{i}": vectors(z.detach()), f"k_{i}": k.flatten()}
        return {"loss": loss, "reconstruction": reconstruction, **found}

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """Update the codes from the vectors of the batch.

        Args:
            parts: The results of `loss`.
        """
        for i, level in enumerate(self.levels, 1):
            level.book.learn(parts[f"z_{i}"], parts[f"k_{i}"])

    def encode(self, x: Tensor, c: Tensor | None) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return for each level the encoder's vectors, the codes k(z), and the vectors e(k) with the straight-through gradient."""
        depth, height, width = self.image
        h = self.site.encode(x.reshape(-1, depth, height, width), self.dtype).movedim(4, 2).flatten(1, 2)
        h = beside(h, None if c is None else planes(c, height, width))
        seen: list[Tensor] = []
        for level in reversed(self.levels):
            h = level.E(h)
            seen.insert(0, h)
        zs: list[Tensor] = []
        ks: list[Tensor] = []
        es: list[Tensor] = []
        u = None
        for level, h in zip(self.levels, seen, strict=True):
            above = level.raised(u)
            z, k = level.quantized(h, above)
            e = straight_through(z, level.e(k))
            u = level.joined(e, above)
            zs, ks, es = [*zs, z], [*ks, k], [*es, e]
        return zs, ks, es

    def decode(self, es: list[Tensor], c: Tensor | None) -> Tensor:
        """Compute the numbers that define p(x | z): (row, channel, height, width, size)."""
        u = es[0]
        for level, e in zip(self.levels[1:], es[1:], strict=True):
            u = level.joined(e, level.raised(u))
        u = beside(u, None if c is None else planes(c, *u.shape[2:]))
        return self.D(u).to(self.dtype).unflatten(1, (self.image[0], -1)).movedim(2, 4)
