"""The rows of a data set as tensors: batches by number, and chunks of all rows in order."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probgen.contract.event import Event
from probgen.contract.seeds import key
from probgen.contract.sizes import cut, shards_of, sizes_of
from probgen.contract.world import World
from probgen.errors import PluginError

BLOCK = 4096  # rows that are read from disk together; fewer if rows are large
WINDOW = 256 << 20  # bytes of `x` that are shuffled together; a smaller data set is one window


def _moments_of(x: Tensor, w: Tensor) -> Tensor:
    """Return the sum of weights, the mean and the sum of squared deviations of x: (3, dimension), float64."""
    x, w = x.double(), w.double().expand_as(x)
    part = w.sum(0)
    mean = (w * x).sum(0) / part.clamp(min=1e-300)
    return torch.stack([part, mean, (w * (x - mean).square()).sum(0)])


@dataclass(frozen=True)
class Moments:
    """Weighted moments of each dimension of the flattened x: (dimension,), float64.

    Attributes:
        n: The sum of weights: (dimension,).
        mean: The mean: (dimension,).
        variance: The variance: (dimension,).
    """

    n: Tensor
    mean: Tensor
    variance: Tensor

    @staticmethod
    def of(parts: Iterable[tuple[Tensor, Tensor]]) -> Moments:
        """Return the moments of rows that are given part by part.

        The method needs one pass (Chan, Golub & LeVeque 1983). An offset of many deviations costs no digits.

        Args:
            parts: Pairs of rows x (row, dimension) and weights of the same shape or (row, 1).

        Returns:
            The moments of all rows.
        """
        return Moments.joined(_moments_of(x, w) for x, w in parts)

    @staticmethod
    def joined(parts: Iterable[Tensor]) -> Moments:
        """Return the moments of all rows from the moments of parts.

        Args:
            parts: The results of `_moments_of`: (3, dimension) each.

        Returns:
            The moments of all rows.
        """
        total = mean = square = torch.zeros((), dtype=torch.float64)
        for part, part_mean, part_square in parts:
            both = (total + part).clamp(min=1e-300)
            step = part_mean - mean
            square = square + part_square + step.square() * total * part / both
            mean = mean + step * part / both
            total = total + part
        return Moments(total, mean, square / total.clamp(min=1e-300))

    @property
    def varies(self) -> Tensor:
        """Whether a dimension varies by more than the rounding of a sum: (dimension,)."""
        return self.variance.sqrt() > 1e-12 * self.mean.abs()

    @property
    def scale(self) -> Tensor:
        """The standard deviations: (dimension,); 1 for a dimension that does not vary."""
        return torch.where(self.varies, self.variance.sqrt(), 1)

    @property
    def units(self) -> Tensor:
        """The variances: (dimension,).

        A dimension that does not vary has the mean of the other variances, or 1 if no dimension varies.
        """
        varies = self.varies
        others = self.variance[varies].mean() if varies.any() else 1.0
        return torch.where(varies, self.variance, others)

    @property
    def shared_scale(self) -> Tensor:
        """The standard deviation of all dimensions together, each about its own mean: ()."""
        deviation = ((self.n * self.variance).sum() / self.n.sum().clamp(min=1)).sqrt()
        return torch.where(deviation > 1e-12 * self.mean.abs().max(), deviation, 1)

    def pooled(self) -> Moments:
        """Return the moments of the numbers of all dimensions together.

        Returns:
            The pooled moments: (1,) each.
        """
        n = self.n.sum()
        mean = (self.n * self.mean).sum() / n
        variance = (self.n * (self.variance + (self.mean - mean).square())).sum() / n
        return Moments(n[None], mean[None], variance[None])


class Rows:
    """The data that a family is fitted to.

    Batches and chunks are tensors by name, on the device of the run:

        x          in `x_dtype` (`real`, `count`, `mixed`), `dtype` (`binary`, `integer`) or int64 (`token`)
        observed   bool; x is 0 where it is False
        weight     row weights: (row,)
        length     lengths of rows: (row,), int64
        label      only if "label" is in `beside` and not a condition: int64, -1 for an unknown label
        attribute  only if the event has attributes: (row, factor), float64, NaN for an unknown value
        pair       only if "pair" is in `beside`: x as an image of another kind, for scores only

    The conditions of `event.given` and their lengths are included. Chunks of images of any size have rows of
    one size each; `contract.patches` makes batches of such images.

    Args:
        dataset: The data: `x (row, ...)` and the variables that belong to it.
        event: The description of one row.
        missing: Whether x has missing values (NaN).
        seed: The seed of the order of batches.
        device: The device of batches and chunks.
        dtype: The dtype of the run.
        x_dtype: The dtype of real x; by default `dtype`.
        valid: The validation rows of early stopping, or None.
        beside: The inputs in addition to x that the family accepts.
        world: The processes of the fit; by default this process alone.

    Attributes:
        n: The number of rows with a weight above 0.
        event: The description of one row.
        dataset: The data without rows of weight 0: `x (row, ...)` and the variables that belong to it.
        mean_weight: The mean weight of the rows; 1 for rows without weights.
        valid: The validation rows of early stopping, or None.
        world: The processes of the fit, which share the work on all rows.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        event: Event,
        *,
        missing: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        x_dtype: torch.dtype | None = None,
        valid: Rows | None = None,
        beside: Collection[str] = (),
        world: World | None = None,
    ):
        self.world = world or World()
        self.mean_weight = 1.0
        if "weight" in dataset:
            weight = dataset["weight"].values
            if not weight.all():
                dataset = dataset.isel(row=np.flatnonzero(weight))
            self.mean_weight = float(weight.sum(dtype=np.float64)) / dataset.sizes["row"]
        self.n = dataset.sizes["row"]
        self.event = event
        self.dataset = dataset
        self.valid = valid
        self._seed, self._device, self._dtype = seed, torch.device(device), dtype
        self._x_dtype = x_dtype or dtype
        self._missing = missing or "observed" in dataset
        beside_x = ("observed", "weight", "length", *event.given, *event.lengths)
        self._names = ["x", *(name for name in beside_x if name in dataset)]
        if "label" in beside and "label" in dataset and "label" not in event.given:
            self._names.append("label")
        if event.attributes and "attribute" in dataset:
            self._names.append("attribute")
        if "pair" in beside and "pair" in dataset:
            self._names.append("pair")
        row_bytes = max(1, dataset["x"].nbytes // self.n)
        self._block = min(BLOCK, max(1, WINDOW // (16 * row_bytes)))
        blocks = max(1, WINDOW // (row_bytes * self._block))
        self._window_rows = min(self.n, blocks * self._block)
        self._kept: tuple[tuple[str, int, int], dict[str, Tensor], Tensor] | None = None
        self._whole: dict[str, Tensor] | None = None

    @property
    def seed(self) -> int:
        """The seed of the order of batches."""
        return self._seed

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables in batches and chunks."""
        return tuple(self._names)

    def some(self, rows: np.ndarray) -> Rows:
        """Return a subset of the rows, which is shuffled independently.

        Args:
            rows: The numbers of the rows.

        Returns:
            The subset.
        """
        other = copy.copy(self)
        other.dataset, other.n = self.dataset.isel(row=rows), len(rows)
        other._window_rows = min(other.n, self._window_rows)
        other._kept = other._whole = None
        return other

    def reseeded(self, seed: int) -> Rows:
        """Return the same rows in the order of another seed, for several simultaneous fits.

        Args:
            seed: The seed of the order of batches.

        Returns:
            The same rows with another order of batches.
        """
        other = copy.copy(self)
        other._seed, other._kept = seed, None
        return other

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Return batch number t of `size` rows, a function of (seed, stage, t) alone.

        Batches pass through a shuffled epoch and continue into the next epoch. Every row occurs once per
        epoch for any batch size. A data set larger than a window is shuffled as blocks of 4,096 rows first,
        and then within a window.
        Single rows from disk would take thirty times as long as slices.

        Args:
            t: The number of the batch, from 0.
            size: Rows per batch; at most the number of rows.
            stage: The stage of the fit; each stage has its own order.

        Returns:
            The tensors of the batch by name: (row, ...).

        Raises:
            PluginError: When the rows are images of several sizes.
        """
        if "size" in self.dataset:
            raise PluginError(
                "batch: rows of several sizes cannot form a batch. Use patches (probgen.contract.patches)."
            )
        size = min(size, self.n)
        parts, start, end = [], t * size, (t + 1) * size
        while start < end:
            epoch, offset = divmod(start, self.n)
            window, first = divmod(offset, self._window_rows)
            tensors, order = self._window(stage, epoch, window)
            picked = order[first : first + end - start]
            parts.append({name: tensor[picked] for name, tensor in tensors.items()})
            start += len(picked)
        whole = (
            parts[0] if len(parts) == 1 else {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        )
        return self.ready(whole)

    def chunks(self, size: int = 4096) -> Iterator[dict[str, Tensor]]:
        """Yield all rows in order, `size` rows at a time.

        Chunks of images of any size may be smaller. Chunks may be views of the data: do not modify them.

        Args:
            size: The number of rows in a chunk.

        Yields:
            The tensors of the chunk by name: (row, ...).
        """
        if self.event.any_size:
            sizes = sizes_of(self.dataset)
            for rows in shards_of(sizes, self.event.channels, size):
                height, width = map(int, sizes[rows.start])
                yield self.ready(cut(self._read(rows), self.event, (height, width)))
            return
        if self._window_rows == self.n:
            blocks = self.blocks(size)
            yield from (blocks[i] for i in range(blocks.n))
            return
        read = max(size, 16 * self._block // size * size)  # one read for many chunks
        for start in range(0, self.n, read):
            tensors = self._read(slice(start, min(start + read, self.n)))
            for inner in range(0, len(tensors["x"]), size):
                yield self.ready({name: tensor[inner : inner + size] for name, tensor in tensors.items()})

    def blocks(self, size: int = 4096) -> Blocks:
        """Return the chunks of `chunks(size)` by number, for rows of one size.

        Args:
            size: The number of rows in a chunk.

        Returns:
            The chunks as a sequence.
        """
        return Blocks(self, size)

    @torch.no_grad()
    def moments(self) -> Moments:
        """Return the weighted mean and variance of each dimension of x over the observed values of all rows.

        Returns:
            The moments: (dimension,), float64.
        """
        if self.event.any_size:
            return Moments.of(map(_weighted, self.chunks()))
        blocks, size = self.blocks(), self.event.size
        each = self.world.each(blocks.n, lambda i: _moments_of(*_weighted(blocks[i])).flatten(), 3 * size)
        return Moments.joined(part.view(3, size) for part in each)

    def between(self, start: int, end: int) -> dict[str, Tensor]:
        """Return the rows `start` to `end` - 1 as a chunk, from memory or from the file.

        Args:
            start: The number of the first row.
            end: The number after the last row.

        Returns:
            The tensors by name: (row, ...).
        """
        if self._window_rows == self.n:
            return self.ready({name: tensor[start:end] for name, tensor in self._all().items()})
        return self.ready(self._read(slice(start, end)))

    def _window(self, stage: str, epoch: int, window: int) -> tuple[dict[str, Tensor], Tensor]:
        """Return the stored rows of a window, and their order."""
        wanted = (stage, epoch, window)
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # frees the old window before the new one is read
            tensors = self._all() if self._window_rows == self.n else self._blocks(*wanted)
            order = self._shuffled(len(tensors["x"]), "rows", *wanted)
            self._kept = (wanted, tensors, order)
        return self._kept[1], self._kept[2]

    def _blocks(self, stage: str, epoch: int, window: int) -> dict[str, Tensor]:
        blocks = self._shuffled(-(-self.n // self._block), "blocks", stage, epoch)
        # the last block of the data may be short: in the last place, it leaves all other windows full
        blocks = torch.cat([blocks[blocks != len(blocks) - 1], torch.tensor([len(blocks) - 1])])
        each = self._window_rows // self._block
        picked = sorted(blocks[window * each : (window + 1) * each].tolist())
        rows = [slice(b * self._block, min((b + 1) * self._block, self.n)) for b in picked]
        whole: dict[str, Tensor] = {}  # filled part by part, so that no block is in memory twice
        done = 0
        for part in map(self._read, rows):
            n = len(part["x"])
            for name, tensor in part.items():
                if name not in whole:
                    whole[name] = tensor.new_empty((sum(r.stop - r.start for r in rows), *tensor.shape[1:]))
                whole[name][done : done + n] = tensor
            done += n
        return whole

    def _shuffled(self, n: int, *name: object) -> Tensor:
        return torch.randperm(n, generator=torch.Generator().manual_seed(key(self._seed, *name)))

    def _all(self) -> dict[str, Tensor]:
        if self._whole is None:
            self._whole = self._read(slice(0, self.n))
        return self._whole

    def _read(self, rows: slice) -> dict[str, Tensor]:
        part = self.dataset[self._names].isel(row=rows)
        return {name: as_tensor(part[name].values) for name in self._names}

    def ready(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of these data in the dtypes and on the device of batches.

        Args:
            tensors: Stored values by name: (row, ...).

        Returns:
            The tensors as batches contain them.
        """
        return ready(tensors, self.event, self._missing, self._device, self._dtype, self._x_dtype)


class Blocks:
    """The chunks of rows by number: chunk i has the rows i size to (i + 1) size - 1.

    Args:
        rows: The rows.
        size: The number of rows in a chunk.

    Attributes:
        n: The number of chunks.
    """

    def __init__(self, rows: Rows, size: int):
        self.rows, self.size, self.n = rows, size, -(-rows.n // size)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return self.rows.between(i * self.size, min((i + 1) * self.size, self.rows.n))


def _weighted(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the flattened x and its weights, which are 0 for missing values."""
    x = batch["x"].flatten(1)
    w = batch["weight"].double()[:, None] if "weight" in batch else torch.ones_like(x[:, :1])
    return x, w * batch["observed"].flatten(1) if "observed" in batch else w


def ready(
    tensors: dict[str, Tensor],
    event: Event,
    missing: bool,
    device: torch.device,
    dtype: torch.dtype,
    x_dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Return tensors as a hook receives them.

    `Rows` describes the dtypes. NaN in x becomes 0, with `observed` False.

    Args:
        tensors: Stored values by name: (row, ...).
        event: The description of one row.
        missing: Whether x may have missing values (NaN).
        device: The device of the results.
        dtype: The dtype of the run.
        x_dtype: The dtype of real x.

    Returns:
        The tensors by name: (row, ...).
    """
    out = {}
    for name, tensor in tensors.items():
        if name == "label" and name not in event.given:
            out[name] = torch.nan_to_num(tensor, nan=-1).to(device, torch.int64)
            continue
        support = (
            event.support
            if name in ("x", "pair")
            else event.given[name].support
            if name in event.given
            else "real"
        )
        whole = support == "token" or name == "length" or name in event.lengths
        kind = x_dtype if name in ("x", "pair") and support in ("real", "mixed", "count") else dtype
        kind = torch.float64 if name == "attribute" else kind  # attributes have their own units
        wanted = torch.bool if name == "observed" else torch.int64 if whole else kind
        out[name] = tensor.to(device, wanted)
    if missing:
        there = ~torch.isnan(tensors["x"]).to(device)
        out["observed"] = out["observed"] & there if "observed" in out else there
        out["x"] = torch.where(out["observed"], out["x"], 0)
    return out


_UNKNOWN_TO_TORCH = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "float128": np.float64}


def as_tensor(values: np.ndarray) -> Tensor:
    """Return an array as a tensor, without a copy if torch can read its memory.

    Args:
        values: Numbers of any dtype; dtypes that torch lacks are converted to larger ones.

    Returns:
        The tensor.
    """
    native = values.dtype.newbyteorder("=")
    dtype = np.dtype(_UNKNOWN_TO_TORCH.get(native.name, native))
    values = np.ascontiguousarray(values, dtype=dtype)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def numpy_dtype(dtype: torch.dtype) -> type[np.float32 | np.float64]:
    """Return the NumPy dtype for the dtype of a run.

    Args:
        dtype: torch.float64 or torch.float32.

    Returns:
        `np.float64` or `np.float32`.
    """
    return np.float64 if dtype == torch.float64 else np.float32


def evenly(dataset: xr.Dataset, n: int | None) -> xr.Dataset:
    """Return at most n rows at even distances, because a file may be sorted.

    Args:
        dataset: Rows with dimension `row`.
        n: The largest number of rows; None for all rows.

    Returns:
        The selected rows.
    """
    rows = dataset.sizes["row"]
    return dataset if n is None or n >= rows else dataset.isel(row=np.arange(n) * rows // n)
