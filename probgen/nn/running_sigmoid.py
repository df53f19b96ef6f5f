"""The hidden layers of NADE at all sites, in one pass (Larochelle & Murray 2011, eq. 3 and 4).

    h_i = sigmoid(a + sum_{j<i} W_j e_j),      y_i = V_i h_i

A loop over the sites would need thousands of small operations, and autograd would store every h_i: rows x sites x hidden
numbers. Two observations reduce it to a few matrix products. First, the activation of a row changes only after sites with
e_j != 0 (an eighth of the pixels of a binarized digit). h is therefore computed once per *change*, and not once per site.
Second, sites can be processed in blocks. Within a block, every h is multiplied with the V of all its sites, also of sites
with another h. The backward pass starts at the last activation, subtracts the blocks in reverse order and recomputes each
h. It stores nothing larger than a block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = (
    24  # sites per block: with fewer, calls dominate; with more, products of a V with the h of another site
)
ROWS = 256  # rows per call, so that the activations of a block stay in the cache


def running_sigmoid(e: Tensor, a: Tensor, W: Tensor, V: Tensor) -> Tensor:
    """Return y_i = V_i sigmoid(a + sum_{j<i} W_j e_j) for all sites i, differentiable in all arguments.

    Args:
        e: Features of each site, which the later sites receive, (row, site, feature).
        a: Activations before the first site, (row, hidden).
        W: Input weights, (site, feature, hidden).
        V: Output weights, (site, out, hidden).

    Returns:
        y, (row, site, out).
    """
    parts = [
        _RunningSigmoid.apply(e_part, a_part, W, V)
        for e_part, a_part in zip(e.split(ROWS), a.split(ROWS), strict=True)
    ]
    return torch.cat(parts) if len(parts) != 1 else parts[0]


class _RunningSigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, e: Tensor, a: Tensor, W: Tensor, V: Tensor) -> Tensor:
        y = e.new_empty(*e.shape[:2], V.shape[1])
        a = a.clone()
        changes = _Changes(e, (e != 0).any(2))
        for i in range(len(changes)):
            block = changes[i]
            W_block, V_block = W[block.sites].flatten(0, 1), V[block.sites]
            h = _h(a, block, W_block)
            each = (h @ V_block.flatten(0, 1).mT).unflatten(1, V_block.shape[:2])
            y[:, block.sites] = each[block.in_force, torch.arange(len(V_block), device=y.device)]
            a.addmm_(block.e, W_block)
        ctx.save_for_backward(e, a, W, V)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        e, a, W, V = ctx.saved_tensors
        grad_e = torch.empty_like(e) if ctx.needs_input_grad[0] else None
        grad_a, grad_W, grad_V = torch.zeros_like(a), W.new_empty(W.shape), V.new_empty(V.shape)
        a, rows = a.clone(), len(a)
        telling = (e != 0).any(2) if grad_e is None else torch.ones_like(e[:, :, 0], dtype=torch.bool)
        changes = _Changes(e, telling)
        for i in reversed(range(len(changes))):
            block = changes[i]
            W_block, V_block = W[block.sites].flatten(0, 1), V[block.sites]
            a.addmm_(block.e, W_block, alpha=-1)
            h = _h(a, block, W_block)
            each = h.new_zeros(len(h), *V_block.shape[:2])
            each[block.in_force, torch.arange(len(V_block), device=h.device)] = grads[0][:, block.sites]
            each = each.flatten(1)
            torch.mm(each.mT, h, out=grad_V[block.sites].flatten(0, 1))
            back = torch.ops.aten.sigmoid_backward(each @ V_block.flatten(0, 1), h)
            if grad_e is not None:  # the gradient from later sites, in later blocks and in this block
                due = grad_a @ W_block.mT
                earlier = block.earlier.repeat_interleave(e.shape[2], 1)
                due.index_add_(0, block.rows, (back[rows:] @ W_block.mT) * earlier)
                grad_e[:, block.sites] = due.unflatten(1, W[block.sites].shape[:2])
            grad_W_block = torch.addmm(block.e.mT @ grad_a, block.told.mT, back[rows:])
            grad_W[block.sites] = grad_W_block.unflatten(0, W[block.sites].shape[:2])
            grad_a += back[:rows]
            grad_a.index_add_(0, block.rows, back[rows:])
        return grad_e, grad_a, grad_W, grad_V


class _Block(NamedTuple):
    """A block of sites; a row has one h at the start of the block, and a further h after each change."""

    sites: slice
    e: Tensor  # features: (row, site x feature)
    rows: Tensor  # the row of each further h
    earlier: Tensor  # which sites of the block come before it: (further h, site)
    told: Tensor  # features of these sites, others 0: (further h, site x feature)
    in_force: Tensor  # number of the h at each site: (row, site); the h at the start of the block have the first numbers


class _Changes:
    """The changes of the activations, block by block; one search serves all blocks, because each search stalls a GPU.

    Args:
        e: Features of each site, (row, site, feature).
        telling: Mask of the sites after which the activation of a row may change, (row, site).
    """

    def __init__(self, e: Tensor, telling: Tensor):
        self.e = e
        n, sites, _ = e.shape
        telling = torch.nn.functional.pad(telling, (0, -sites % BLOCK)).unflatten(1, (-1, BLOCK))
        telling[:, :, -1] = False  # a change after the last site of a block belongs to the next block
        number, self.site, self.row = telling.permute(1, 2, 0).nonzero().unbind(1)
        counts = telling.sum((0, 2))
        ends = counts.cumsum(0)
        self.in_force = torch.zeros(len(counts), n, BLOCK, dtype=torch.int64, device=e.device)
        self.in_force[:, :, 0] = torch.arange(n, device=e.device)
        further = torch.arange(len(self.row), device=e.device) - (ends - counts)[number]
        self.in_force[number, self.row, self.site + 1] = n + further
        self.in_force = self.in_force.cummax(
            2
        ).values  # numbers increase with the site, so the latest is the largest
        self.ends = [0, *ends.tolist()]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> _Block:
        sites = slice(i * BLOCK, min((i + 1) * BLOCK, self.e.shape[1]))
        here = slice(self.ends[i], self.ends[i + 1])
        rows, size = self.row[here], sites.stop - sites.start
        earlier = torch.arange(size, device=self.e.device) <= self.site[here, None]
        told = (self.e[rows, sites] * earlier[:, :, None]).flatten(1)
        return _Block(sites, self.e[:, sites].flatten(1), rows, earlier, told, self.in_force[i, :, :size])


def _h(a: Tensor, block: _Block, W_block: Tensor) -> Tensor:
    """Return every h of a block, (row + further h, hidden)."""
    return torch.cat([a, torch.addmm(a[block.rows], block.told, W_block)]).sigmoid_()
