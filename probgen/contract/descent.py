"""The gradient of a batch in parts, each of which may be done by another process.

    grad L = sum_m share_m grad L_m        L_m: the mean loss of the rows of part m, of which there is a share_m

The order of the sum is that of `World.sum`, so the number of processes cannot be seen in it; the number of parts can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from probgen.contract.seeds import key, seed_torch
from probgen.contract.world import World


class Parted(Protocol):
    """What is needed of a run."""

    seed: int
    stage: str
    t: int
    world: World
    parts: int
    part: int
    share: float

    def sum(self, n: int, block: Callable[[int], Mapping[str, Tensor]]) -> dict[str, Tensor]: ...


def counted(weight: Tensor | None = None, **rows: Tensor) -> Tensor:
    """What rows count in a mean: their weights, or how many there are."""
    return weight.sum() if weight is not None else torch.tensor(float(len(next(iter(rows.values())))))


def in_parts(
    run: Parted,
    nets: Iterable[nn.Module],
    weights: Sequence[Tensor],
    work: Callable[[], Mapping[str, Tensor]],
    turn: int,
) -> dict[str, Tensor]:
    """See `Run.descend`; turn: descents before in this step."""
    buffers = list({id(buffer): buffer for net in nets for buffer in net.buffers()}.values())
    before = [buffer.clone() for buffer in buffers]
    rows: dict[int, dict[str, Tensor]] = {}  # of each part that this process does, what is put together

    def part(m: int) -> dict[str, Tensor]:
        run.part, run.share = m, 1 / run.parts
        seed_torch(key(run.seed, run.stage, run.t, turn, m))
        _put(buffers, before)
        for weight in weights:
            weight.grad = None
        found = work()
        share = run.share
        rows[m] = {name: value.detach() for name, value in found.items() if value.ndim}
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad * share for w in weights]
        moved = [
            (now - then) * share for now, then in zip(buffers, before, strict=True) if now.is_floating_point()
        ]
        numbers = {name: value.detach() * share for name, value in found.items() if not value.ndim}
        return (
            {f"g{i}": g for i, g in enumerate(gradients)}
            | {
                "there": torch.tensor(
                    [float(w.grad is not None) for w in weights], device=gradients[0].device
                )
            }
            | {f"b{i}": b for i, b in enumerate(moved)}
            | {f"m{k}": v for k, v in numbers.items()}
        )

    total = run.sum(run.parts, part)
    there = total.pop("there").tolist()
    for i, weight in enumerate(weights):
        weight.grad = total[f"g{i}"] if there[i] else None
    floating = (i for i, buffer in enumerate(buffers) if buffer.is_floating_point())
    with torch.no_grad():
        for j, i in enumerate(floating):  # all others, counts of steps, are left the same by each part
            buffers[i].copy_(before[i] + total[f"b{j}"])
    run.part = 0
    seed_torch(key(run.seed, run.stage, run.t, turn, "after"))
    means = {name[1:]: value for name, value in total.items() if name.startswith("m")}
    return means | _together(run, rows)


def _together(run: Parted, rows: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors (row, ...) of all parts in their order, by name: bytes over the wire, in one piece a part."""
    like = next(iter(rows.values()))
    if run.world.size == 1 or not like:
        return {name: torch.cat([rows[m][name] for m in range(run.parts)]) for name in like}
    head = 8 * len(like)  # how many bytes each tensor has
    parts = run.world.bytes_of_each(run.parts, lambda m: _packed(rows[m].values()))
    found: dict[str, list[Tensor]] = {name: [] for name in like}
    for part in parts:
        sizes = np.frombuffer(part[:head], np.int64).tolist()
        pieces = torch.frombuffer(bytearray(part[head:]), dtype=torch.uint8).split(sizes)
        for (name, value), piece in zip(like.items(), pieces, strict=True):
            found[name].append(piece.clone().view(value.dtype).view(-1, *value.shape[1:]))
    return {name: torch.cat(each).to(like[name].device) for name, each in found.items()}


def _packed(tensors: Iterable[Tensor]) -> bytes:
    pieces = [tensor.cpu().contiguous().numpy().tobytes() for tensor in tensors]
    return b"".join([np.array([len(piece) for piece in pieces], np.int64).tobytes(), *pieces])


def _put(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)
