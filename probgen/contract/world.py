"""The processes of a fit, and sums that do not depend on the number of processes.

There is one process, or there are the processes that torchrun has started. Work is divided into n blocks by
the data and the options alone. Each block is computed by one process. The results of the blocks are added by
a binary tree over 0 .. n - 1, independent of the process that computed them. The sum of floating-point
numbers depends on its order, and this order is fixed.

Only this file uses torch.distributed. The processes exchange numbers and bytes, never pickles.
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

SMALL = 1 << 16  # up to this many numbers, every process sends all to all: one round trip instead of two
SLAB = 1 << 22  # the largest number of values that one gathering of blocks transfers

Node = tuple[int, int]  # height above the blocks, and number at that height
Summands = list[Tensor]


class World:
    """The processes of a fit, and the communication between them.

    Args:
        rank: The number of this process, from 0.
        size: The number of processes.

    Attributes:
        rank: The number of this process, from 0.
        size: The number of processes.
        sent: The number of bytes that this process has sent.
        rounds: The number of communication rounds.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size
        self.sent = self.rounds = 0

    @classmethod
    def joined(cls) -> World:
        """Return the processes that RANK and WORLD_SIZE describe, after all of them have joined.

        torchrun sets these environment variables.

        Returns:
            The processes of the fit.

        Raises:
            InputError: When a variable is not a whole number, or the rank is not below the number of processes.
            PeerError: When a process does not join.
        """
        world = cls(_number("RANK", 0), _number("WORLD_SIZE", 1))
        if not world.rank < world.size:
            raise InputError(
                f"RANK = {world.rank}, WORLD_SIZE = {world.size}: a rank must be below the number of processes. Start the processes with torchrun, or unset both variables."
            )
        if world.size > 1 and not dist.is_initialized():
            seconds, place = _number("PROBGEN_PEERS_SECONDS", 600), os.environ.get("PROBGEN_LAUNCHED")
            where: dict[str, Any] = {"init_method": place, "rank": world.rank, "world_size": world.size}
            with world._talking():
                dist.init_process_group("gloo", timeout=timedelta(seconds=seconds), **where if place else {})
            # without this call, the threads of the group would end the process with an error
            atexit.register(dist.destroy_process_group)
        return world

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """Return the numbers of the blocks that this process computes."""
        return _share(n, self.rank, self.size)

    def sum(self, n: int, block: Callable[[int], Summands]) -> Summands:
        """Return block(0) + ... + block(n - 1) in the order of the tree.

        If there are fewer blocks than processes, every process computes all blocks.

        Args:
            n: The number of blocks, at least 1.
            block: A function that returns flat tensors for the number of a block.

        Returns:
            The sums as flat tensors.
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
        """Yield block(0), block(1), ..., block(n - 1) in this order, each computed by one of the processes.

        Args:
            n: The number of blocks.
            block: A function that returns a flat float64 tensor for the number of a block.
            numbers: The number of values in the tensor of a block.

        Yields:
            The flat tensor of a block.
        """
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
        """Return the numbers of all processes.

        Args:
            *numbers: The numbers of this process; every process gives the same count.

        Returns:
            The numbers: (process, number), float64.
        """
        mine = torch.tensor(numbers, dtype=torch.float64)
        if self.size == 1:
            return mine[None]
        with self._talking():
            return torch.stack(self._gathered([mine], [1] * self.size, len(numbers)))

    def bytes_of_each(self, n: int, block: Callable[[int], bytes]) -> list[bytes]:
        """Return block(0), ..., block(n - 1), each computed by one of the processes.

        Args:
            n: The number of blocks, at least the number of processes.
            block: A function that returns bytes for the number of a block.

        Returns:
            The bytes of the blocks in their order.
        """
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
        """Return the bytes of the first process.

        Args:
            content: The bytes; only those of the first process are used.

        Returns:
            The bytes of the first process; b"" if it has None.
        """
        if self.size == 1:
            return content or b""
        with self._talking():
            return self._told(content if self.first else None, 0)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Make the context succeed in all processes, or fail in all of them.

        If a process raises an error, all processes raise the error of the first such process. Every process
        must enter the context, and code in the context must not communicate with other processes.
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
        """Check that all processes have the same values.

        Args:
            what: The values by name.

        Raises:
            InputError: When the value of another process differs from the value of process 0.
        """
        if self.size == 1:
            return
        first = json.loads(self.from_first(json.dumps(dict(what)).encode()))
        with self.agreed():
            for name, value in first.items():
                if what[name] != value:
                    raise InputError(
                        f"process {self.rank} has other {name} than process 0. Start all processes with the same {name}."
                    )

    # communication

    def _joined(self, n: int, nodes: dict[Node, Tensor]) -> Tensor:
        """Return the sum of the nodes of all processes.

        n and the number of processes determine which process has which nodes.
        """
        names = [_names(n, _share(n, rank, self.size)) for rank in range(self.size)]
        like, mine = next(iter(nodes.values())), [nodes[name] for name in names[self.rank]]
        P, device = like.numel(), like.device
        if P <= SMALL:
            found = self._gathered([part.cpu() for part in mine], list(map(len, names)), P)
            every = (name for part in names for name in part)
            return _finish(n, dict(zip(every, found, strict=True))).to(device)
        # each process adds one slice of the numbers: the traffic of a ring, in a fixed order
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
        """Return the tensors of all processes in their order.

        Process r has counts[r] tensors, each of `numbers` values. A process without tensors sends float64.
        """
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
        """Raise `PeerError` if another process does not answer; gloo's own message does not help a user."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, ProbgenError):
                raise
            raise PeerError(
                f"process {self.rank} of {self.size}: another process of this fit has ended or does not answer. Resume with --resume "
                "(resume=True), on any number of processes."
            ) from error


def refuse_several(what: str) -> None:
    """Refuse to run in several processes of torchrun.

    Args:
        what: The work that is not a fit, as the start of the message.

    Raises:
        InputError: When there are several processes.
    """
    if _number("WORLD_SIZE", 1) > 1:
        raise InputError(
            f"{what} cannot be shared by the processes of torchrun. Start it once, without torchrun."
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"{name} = {text!r}: a whole number is needed.")
    return int(text)


def _share(n: int, rank: int, size: int) -> range:
    return range(n * rank // size, n * (rank + 1) // size)


# The tree: node (h, j) is the sum of the existing blocks from j 2^h to (j + 1) 2^h - 1. It is the sum of the nodes
# (h - 1, 2 j) and (h - 1, 2 j + 1), or node (h - 1, 2 j) alone if the other node has no block.


def _top(n: int) -> Node:
    return ((n - 1).bit_length(), 0)


def _add(nodes: dict[Node, Summands], n: int, node: Node, value: Summands) -> None:
    """Add a node to the nodes, and replace neighbors by the node above them as far as possible."""
    while True:
        h, j = node
        beside = (h, j ^ 1)
        if node == _top(n):
            nodes[node] = value
            return
        if j % 2 == 0 and (j + 1) << h >= n:  # the node has no neighbor
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
    """Return the nodes that remain after a process has added its blocks, in their order."""
    nodes: dict[Node, Summands] = {}
    for i in blocks:
        _add(nodes, n, (0, i), [])
    return sorted(nodes, key=lambda node: node[1] << node[0])


def _finish(n: int, nodes: Mapping[Node, Tensor]) -> Tensor:
    left: dict[Node, Summands] = {}
    for node, value in nodes.items():
        _add(left, n, node, [value])
    return left[_top(n)][0]
