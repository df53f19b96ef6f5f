"""The processes of a fit: one, or those that torchrun has started; and sums that do not depend on how many there are.

Work is cut into n blocks by the data and the options alone. Each block is done by one process, and what the blocks gave is added
up by a binary tree over 0 .. n - 1, whoever did which: a sum of floating-point numbers has an order, and this one is fixed.

This is the only file that knows torch.distributed. What goes over the wire is numbers and bytes, never pickles.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from probgen import errors
from probgen.errors import InputError, PeerError, ProbgenError, RunError

SMALL = 1 << 16  # numbers up to which all goes to all: one round trip instead of two
SLAB = 1 << 22  # numbers of blocks that are gathered together

Node = tuple[int, int]  # height above the blocks, and number at that height
Summands = list[Tensor]


class World:
    """Which process this is, of how many, and what they say to one another.

    rank, size    of this process, and how many there are
    sent, rounds  bytes that this process has sent to others, and in how many rounds
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size
        self.sent = self.rounds = 0

    @classmethod
    def joined(cls) -> World:
        """That of the variables RANK and WORLD_SIZE, which torchrun sets, once all have come. Errors: `InputError`, `RunError`."""
        world = cls(_number("RANK", 0), _number("WORLD_SIZE", 1))
        if world.size > 1 and not dist.is_initialized():
            seconds, place = _number("PROBGEN_PEERS_SECONDS", 600), os.environ.get("PROBGEN_LAUNCHED")
            where: dict[str, Any] = {"init_method": place, "rank": world.rank, "world_size": world.size}
            with world._talking():
                dist.init_process_group("gloo", timeout=timedelta(seconds=seconds), **where if place else {})
            atexit.register(dist.destroy_process_group)  # its threads would end the process with an error
        return world

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """The blocks of this process."""
        return _share(n, self.rank, self.size)

    def sum(self, n: int, block: Callable[[int], Summands]) -> Summands:
        """block(0) + ... + block(n - 1), some flat tensors, in the order of the tree. n is at least 1.

        Fewer blocks than processes are done by all of them.
        """
        alone = n < self.size or self.size == 1
        nodes: dict[Node, Summands] = {}
        for i in range(n) if alone else self.share(n):
            _add(nodes, n, (0, i), block(i))
        if alone:
            return nodes[_top(n)]
        with self._talking():
            each = range(len(next(iter(nodes.values()))))
            return [self._joined(n, {name: parts[k] for name, parts in nodes.items()}) for k in each]

    def each(self, n: int, block: Callable[[int], Tensor], numbers: int) -> Iterator[Tensor]:
        """block(0), block(1), ..., block(n - 1), flat tensors of so many float64 numbers, each done by one of the processes, in their order."""
        if self.size == 1:
            yield from map(block, range(n))
            return
        slab = max(self.size, SLAB // max(1, numbers))
        for start in range(0, n, slab):
            count = min(slab, n - start)
            mine = [block(start + i).cpu() for i in self.share(count)]
            with self._talking():
                found = self._gathered(
                    mine, [len(_share(count, r, self.size)) for r in range(self.size)], numbers
                )
            yield from found

    def all(self, *numbers: float) -> Tensor:
        """Numbers of all processes: (process, number), float64."""
        mine = torch.tensor(numbers, dtype=torch.float64)
        if self.size == 1:
            return mine[None]
        with self._talking():
            return torch.stack(self._gathered([mine], [1] * self.size, len(numbers)))

    def bytes_of_each(self, n: int, block: Callable[[int], bytes]) -> list[bytes]:
        """block(0), ..., block(n - 1), each done by one of the processes; there are no more of these than blocks."""
        mine = [block(i) for i in self.share(n)]
        if self.size == 1:
            return mine
        counts = [len(_share(n, rank, self.size)) for rank in range(self.size)]
        with self._talking():
            sizes = [
                int(size)
                for size in self._gathered(
                    [torch.tensor([len(part)], dtype=torch.float64) for part in mine], counts, 1
                )
            ]
            starts = [sum(counts[:rank]) for rank in range(self.size + 1)]
            each = [sum(sizes[a:b]) for a, b in pairwise(starts)]
            sent = torch.zeros(max(each), dtype=torch.uint8)
            sent[: each[self.rank]] = torch.frombuffer(bytearray(b"".join(mine)), dtype=torch.uint8)
            found = self._gathered([sent], [1] * self.size, len(sent))
        whole = b"".join(part.numpy().tobytes()[:size] for part, size in zip(found, each, strict=True))
        ends = list(accumulate(sizes, initial=0))
        return [whole[a:b] for a, b in pairwise(ends)]

    def from_first(self, content: bytes | None) -> bytes:
        """Bytes that the first process has."""
        if self.size == 1:
            return content or b""
        with self._talking():
            return self._told(content if self.first else None, 0)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What is done within is done by all, or by none: an error of one process, the first that has one, is raised by all of them.

        What all must reach: nothing within may talk to other processes.
        """
        if self.size == 1:
            yield
            return
        error: ProbgenError | None = None
        try:
            yield
        except ProbgenError as raised:
            error = raised
        except Exception as raised:
            error = RunError(f"process {self.rank}: {type(raised).__name__}: {' '.join(str(raised).split())}")
            error.__cause__ = raised
        with self._talking():
            failed = self.all(float(error is not None))[:, 0]
            if not failed.any():
                return
            who = int(failed.argmax())
            said = {"kind": type(error).__name__, "message": str(error)} if error is not None else {}
            told = json.loads(self._told(json.dumps(said).encode() if who == self.rank else None, who))
        kind = getattr(errors, told["kind"])
        raise error if error is not None and who == self.rank else kind(told["message"])

    def check_same(self, what: Mapping[str, str]) -> None:
        """Errors: `InputError` where another process has another value of something, by name."""
        if self.size == 1:
            return
        first = json.loads(self.from_first(json.dumps(dict(what)).encode()))
        with self.agreed():
            for name, value in first.items():
                if what[name] != value:
                    raise InputError(
                        f"process {self.rank} has other {name} than process 0: all processes need the same"
                    )

    # on the wire

    def _joined(self, n: int, nodes: dict[Node, Tensor]) -> Tensor:
        """The sum of what the processes have: who has which nodes of the tree follows from n and how many processes there are."""
        names = [_names(n, _share(n, rank, self.size)) for rank in range(self.size)]
        like, mine = next(iter(nodes.values())), [nodes[name] for name in names[self.rank]]
        P, device = like.numel(), like.device
        if P <= SMALL:
            found = self._gathered([part.cpu() for part in mine], list(map(len, names)), P)
            every = (name for part in names for name in part)
            return _finish(n, dict(zip(every, found, strict=True))).to(device)
        # each process adds up one slice of the numbers: as much traffic as a ring has, in a fixed order
        width = -(-P // self.size)
        padded = [
            torch.nn.functional.pad(part.cpu(), (0, self.size * width - P)).view(self.size, width)
            for part in mine
        ]
        send = torch.stack(padded, 1)
        counts = [len(part) * width for part in names]
        received = torch.empty(sum(counts), dtype=like.dtype)
        dist.all_to_all_single(received, send.view(-1), counts, [len(mine) * width] * self.size)
        rows = iter(received.view(-1, width))
        part = _finish(n, {name: next(rows) for some in names for name in some}).contiguous()
        whole = torch.empty(self.size * width, dtype=like.dtype)
        dist.all_gather_single(whole, part)
        self._count((self.size - 1) * (send[0].nbytes + part.nbytes), 2)
        return whole[:P].to(device)

    def _gathered(self, mine: list[Tensor], counts: list[int], numbers: int) -> list[Tensor]:
        """Tensors of all processes, in their order: process r has counts[r] of them, of so many numbers; one that has none is of float64."""
        most, dtype = max(counts), mine[0].dtype if mine else torch.float64
        sent = torch.zeros(most, numbers, dtype=dtype)
        for row, part in zip(sent, mine, strict=False):
            row.copy_(part)
        whole = torch.empty(self.size * most * numbers, dtype=dtype)
        dist.all_gather_single(whole, sent.view(-1))
        self._count((self.size - 1) * sent.nbytes, 1)
        rows = whole.view(self.size, most, numbers)
        return [rows[r, i] for r, count in enumerate(counts) for i in range(count)]

    def _told(self, content: bytes | None, who: int) -> bytes:
        n = torch.tensor([len(content or b"")])
        dist.broadcast(n, who)
        data = torch.frombuffer(bytearray(content or bytes(int(n))), dtype=torch.uint8) if int(n) else None
        if data is None:
            return b""
        dist.broadcast(data, who)
        return data.numpy().tobytes()

    def _count(self, sent: int, rounds: int) -> None:
        self.sent, self.rounds = self.sent + sent, self.rounds + rounds

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Errors: `PeerError` where another process does not answer; what gloo says of it is no help."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, ProbgenError):
                raise
            raise PeerError(
                f"process {self.rank} of {self.size}: another process of this fit is gone, or does not answer; go on with --resume "
                "(resume=True), on any number of processes"
            ) from error


def refuse_several(what: str) -> None:
    """Errors: `InputError` under torchrun, for what is no fit."""
    if _number("WORLD_SIZE", 1) > 1:
        raise InputError(f"{what} is no work of the processes of one fit: start it once, without torchrun")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"{name} = {text!r}: a whole number is needed")
    return int(text)


def _share(n: int, rank: int, size: int) -> range:
    return range(n * rank // size, n * (rank + 1) // size)


# The tree: node (h, j) is the sum of the blocks j 2^h up to (j + 1) 2^h, those of them that there are; it is the sum of (h - 1, 2 j) and
# (h - 1, 2 j + 1), or the first of these where the second has no block.


def _top(n: int) -> Node:
    return ((n - 1).bit_length(), 0)


def _add(nodes: dict[Node, Summands], n: int, node: Node, value: Summands) -> None:
    """Put a node to the others, and make of it and its neighbor the one above, as far as that goes."""
    while True:
        h, j = node
        beside = (h, j ^ 1)
        if node == _top(n):
            nodes[node] = value
            return
        if j % 2 == 0 and (j + 1) << h >= n:  # it has no neighbor
            node = (h + 1, j // 2)
        elif beside in nodes:
            other = nodes.pop(beside)
            first, second = (other, value) if j % 2 else (value, other)
            value = [a + b for a, b in zip(first, second, strict=True)]
            node = (h + 1, j // 2)
        else:
            nodes[node] = value
            return


def _names(n: int, blocks: range) -> list[Node]:
    """The nodes that are left to somebody who has added up some blocks, in their order."""
    nodes: dict[Node, Summands] = {}
    for i in blocks:
        _add(nodes, n, (0, i), [])
    return sorted(nodes, key=lambda node: node[1] << node[0])


def _finish(n: int, nodes: Mapping[Node, Tensor]) -> Tensor:
    left: dict[Node, Summands] = {}
    for node, value in nodes.items():
        _add(left, n, node, [value])
    return left[_top(n)][0]
