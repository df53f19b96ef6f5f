"""The rows of a data set as tensors: batches by number, and chunks of all of them in order."""

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

BLOCK = 4096  # rows that are read from disk together; fewer where rows are large
WINDOW = 256 << 20  # bytes of `x` that are shuffled together; smaller data sets are one window


def _moments_of(x: Tensor, w: Tensor) -> Tensor:
    """Sum of weights, mean, and sum of squares about it, of rows x: (3, dimension), float64."""
    x, w = x.double(), w.double().expand_as(x)
    part = w.sum(0)
    mean = (w * x).sum(0) / part.clamp(min=1e-300)
    return torch.stack([part, mean, (w * (x - mean).square()).sum(0)])


@dataclass(frozen=True)
class Moments:
    """Of each dimension of x, flattened: n (the sum of weights), mean, variance; all (dimension,), float64."""

    n: Tensor
    mean: Tensor
    variance: Tensor

    @staticmethod
    def of(parts: Iterable[tuple[Tensor, Tensor]]) -> Moments:
        """Of rows x: (row, dimension), and their weights, of the same shape or (row, 1), part by part.

        One pass (Chan, Golub & LeVeque 1983), so that an offset of many deviations costs no digits.
        """
        return Moments.joined(_moments_of(x, w) for x, w in parts)

    @staticmethod
    def joined(parts: Iterable[Tensor]) -> Moments:
        """Of what `_moments_of` has of parts."""
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
        """Whether a dimension varies, beyond the rounding of a sum: (dimension,)."""
        return self.variance.sqrt() > 1e-12 * self.mean.abs()

    @property
    def scale(self) -> Tensor:
        """Standard deviations: (dimension,); 1 for a dimension that never varies."""
        return torch.where(self.varies, self.variance.sqrt(), 1)

    @property
    def units(self) -> Tensor:
        """Variances: (dimension,); for a dimension that never varies the mean of the others', 1 if there are none."""
        varies = self.varies
        others = self.variance[varies].mean() if varies.any() else 1.0
        return torch.where(varies, self.variance, others)

    @property
    def shared_scale(self) -> Tensor:
        """One standard deviation for all dimensions, each about its own mean: ()."""
        deviation = ((self.n * self.variance).sum() / self.n.sum().clamp(min=1)).sqrt()
        return torch.where(deviation > 1e-12 * self.mean.abs().max(), deviation, 1)

    def pooled(self) -> Moments:
        """Of all numbers together: (1,) each."""
        n = self.n.sum()
        mean = (self.n * self.mean).sum() / n
        variance = (self.n * (self.variance + (self.mean - mean).square())).sum() / n
        return Moments(n[None], mean[None], variance[None])


class Rows:
    """Data that a family is fitted to.

    n            how many rows; one of weight 0 is none
    event        what one row is
    dataset      the data as given, without rows of weight 0: `x (row, ...)`, and what goes with it
    mean_weight  of the rows; 1 where they have no weights
    valid        the rows to choose by (early stop), or None
    world        the processes of the fit, which share what has to be done with all rows

    Batches and chunks are tensors by name, on the run's device: `x` (`real`, `count` and `mixed` in `x_dtype`, `binary` and `integer` in
    the run's dtype, `token` as int64), `observed` (bool; `x` is 0 where it is False), `weight`, `length` (int64), the conditions of
    `event.given` and their lengths, and where it is asked for in `beside`, a `label` that is not known of every row (int64; -1 where it is not).
    `pair` (row, ...), where it is asked for: what x is of the other kind, which scores are held against and nothing is learned of.
    Where the event has attributes, `attribute` (row, factor), float64, NaN where one is not known.

    Images of any size come in chunks of one size; for batches of them patches are cut (`contract.patches`).
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
        """Of the order of batches."""
        return self._seed

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables that batches and chunks have."""
        return tuple(self._names)

    def some(self, rows: np.ndarray) -> Rows:
        """Some of the rows, by number, shuffled by themselves."""
        other = copy.copy(self)
        other.dataset, other.n = self.dataset.isel(row=rows), len(rows)
        other._window_rows = min(other.n, self._window_rows)
        other._kept = other._whole = None
        return other

    def reseeded(self, seed: int) -> Rows:
        """The same rows, shuffled by another seed: for several fits that go on at once."""
        other = copy.copy(self)
        other._seed, other._kept = seed, None
        return other

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Batch number t of `size` rows: a function of (seed, stage, t) alone.

        Batches follow one another through a shuffled epoch and on into the next, so that every row comes once an
        epoch whatever the size. A data set larger than a window is shuffled as blocks of 4,096 rows and then
        within a window (single rows from disk cost thirty times as much as slices).
        """
        if "size" in self.dataset:
            raise PluginError("rows of several sizes have no batches: cut patches of them, contract.patches")
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
        """All rows in order, `size` at a time, of any size fewer. They may be views of the data: to be read, not written to."""
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
        """The chunks of `chunks(size)` by number, where rows are of one size."""
        return Blocks(self, size)

    @torch.no_grad()
    def moments(self) -> Moments:
        """Weighted mean and variance of each dimension of x over all rows, of what is observed, in float64."""
        if self.event.any_size:
            return Moments.of(map(_weighted, self.chunks()))
        blocks, size = self.blocks(), self.event.size
        each = self.world.each(blocks.n, lambda i: _moments_of(*_weighted(blocks[i])).flatten(), 3 * size)
        return Moments.joined(part.view(3, size) for part in each)

    def between(self, start: int, end: int) -> dict[str, Tensor]:
        """Rows by number, as chunks are; what is not in memory is read."""
        if self._window_rows == self.n:
            return self.ready({name: tensor[start:end] for name, tensor in self._all().items()})
        return self.ready(self._read(slice(start, end)))

    def _window(self, stage: str, epoch: int, window: int) -> tuple[dict[str, Tensor], Tensor]:
        """The rows of a window, as they are stored, and the order to take them in."""
        wanted = (stage, epoch, window)
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # let go of the old window before the new one is read
            tensors = self._all() if self._window_rows == self.n else self._blocks(*wanted)
            order = self._shuffled(len(tensors["x"]), "rows", *wanted)
            self._kept = (wanted, tensors, order)
        return self._kept[1], self._kept[2]

    def _blocks(self, stage: str, epoch: int, window: int) -> dict[str, Tensor]:
        blocks = self._shuffled(-(-self.n // self._block), "blocks", stage, epoch)
        # the last block of the data may be short; put last, it leaves all windows but the last one full
        blocks = torch.cat([blocks[blocks != len(blocks) - 1], torch.tensor([len(blocks) - 1])])
        each = self._window_rows // self._block
        picked = sorted(blocks[window * each : (window + 1) * each].tolist())
        rows = [slice(b * self._block, min((b + 1) * self._block, self.n)) for b in picked]
        whole: dict[str, Tensor] = {}  # put together as they are read: never twice in memory
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
        """Parts of these data that somebody else has cut out, as batches and chunks are."""
        return ready(tensors, self.event, self._missing, self._device, self._dtype, self._x_dtype)


class Blocks:
    """Rows i size up to (i + 1) size, by number: n of them."""

    def __init__(self, rows: Rows, size: int):
        self.rows, self.size, self.n = rows, size, -(-rows.n // size)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return self.rows.between(i * self.size, min((i + 1) * self.size, self.rows.n))


def _weighted(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """x, flattened, and its weights: 0 where it is not observed."""
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
    """Tensors as a hook gets them: dtypes and device as said at `Rows`, NaN turned into `observed`."""
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
        kind = torch.float64 if name == "attribute" else kind  # in units of their own
        wanted = torch.bool if name == "observed" else torch.int64 if whole else kind
        out[name] = tensor.to(device, wanted)
    if missing:
        there = ~torch.isnan(tensors["x"]).to(device)
        out["observed"] = out["observed"] & there if "observed" in out else there
        out["x"] = torch.where(out["observed"], out["x"], 0)
    return out


_UNKNOWN_TO_TORCH = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "float128": np.float64}


def as_tensor(values: np.ndarray) -> Tensor:
    """An array as a tensor, without a copy where torch can read it as it lies."""
    native = values.dtype.newbyteorder("=")
    dtype = np.dtype(_UNKNOWN_TO_TORCH.get(native.name, native))
    values = np.ascontiguousarray(values, dtype=dtype)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def numpy_dtype(dtype: torch.dtype) -> type[np.float32 | np.float64]:
    """NumPy's name for the dtype of a run."""
    return np.float64 if dtype == torch.float64 else np.float32


def evenly(dataset: xr.Dataset, n: int | None) -> xr.Dataset:
    """At most n rows, evenly spaced, since a file may be sorted; all of them for None."""
    rows = dataset.sizes["row"]
    return dataset if n is None or n >= rows else dataset.isel(row=np.arange(n) * rows // n)
