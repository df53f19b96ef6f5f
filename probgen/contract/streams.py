"""Rows of several lengths cut into stretches of time, as the batches of `svi`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from probgen.contract.rows import Rows, as_tensor


class Streams:
    """Consecutive stretches of time: each batch continues the stretches of the previous batch.

    The network keeps its memory from one batch to the next.

    All rows are concatenated and divided into as many streams as a batch has rows; step t uses stretch number
    t of each stream. Every time step of every row therefore occurs once per epoch. Values are copied only
    into their batch.

    Batches have the form of `Rows`, with `length` (the number of time steps in the stretch), `first` (bool:
    the stretch starts without memory) and `stream` (the number of the stream).

    Args:
        data: The rows.
        size: The number of time steps in a stretch.

    Attributes:
        n: The number of stretches.
        valid: The complete validation rows, or None.
    """

    def __init__(self, data: Rows, size: int):
        self.data, self.size, self.valid = data, size, data.valid
        whole = np.full(data.n, data.dataset["x"].sizes["time"])
        lengths = data.dataset["length"].values.astype(np.int64) if "length" in data.dataset else whole
        counts = -(-lengths // size)
        self._row = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(len(self._row)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._start = number * size
        self._length = np.minimum(size, lengths[self._row] - self._start)
        self.n = len(self._row)

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Return batch number t of `size` stretches, a function of t alone.

        Args:
            t: The number of the batch, from 0.
            size: The number of streams, one stretch each.
            stage: Not used.

        Returns:
            The tensors of the batch by name: (row, ...).
        """
        each = -(-self.n // size)
        chosen = (np.arange(size) * each + t % each) % self.n
        found = self._cut(chosen)
        found["first"] |= t % each == 0
        return found

    def _cut(self, chosen: np.ndarray) -> dict[str, Tensor]:
        x = self.data.dataset["x"].variable  # it may be in a file
        row, start, length = self._row[chosen], self._start[chosen], self._length[chosen]
        longest = int(length.max())
        cut = np.zeros((len(chosen), longest, *x.shape[2:]), x.dtype)
        for i, (r, s, k) in enumerate(zip(row, start, length, strict=True)):
            cut[i, :k] = x[r, s : s + k].values
        names = (*self.data.event.given, *self.data.event.lengths)
        conditions = {name: self.data.dataset[name].variable[row].values for name in names}
        parts = {"x": cut, "length": length, **conditions}
        ready = self.data.ready({name: as_tensor(values) for name, values in parts.items()})
        beside = {"first": torch.from_numpy(start == 0), "stream": torch.arange(len(chosen))}
        return ready | {name: values.to(ready["x"].device) for name, values in beside.items()}
