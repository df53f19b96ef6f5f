"""Rows: batches are functions of their number, every row comes once an epoch, wherever the rows lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from probgen.contract.event import Event
from probgen.contract.rows import Rows

N = 30_000


def rows(n: int = N, seed: int = 0, **changes: object) -> Rows:
    dataset = xr.Dataset({"x": (("row", "feature"), np.arange(n, dtype=np.float64)[:, None])})
    return Rows(dataset, Event(("feature",), (1,), "real"), seed=seed, dtype=torch.float64, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [256 << 20, 4096 * 8 * 3])
def test_an_epoch_has_every_row_once(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probgen.contract.rows.WINDOW", window)
    data, size = rows(), 1000
    first = torch.cat([data.batch(t, size)["x"] for t in range(N // size)]).flatten()
    second = torch.cat([data.batch(t, size)["x"] for t in range(N // size, 2 * N // size)]).flatten()
    for epoch in (first, second):
        assert torch.equal(epoch.sort().values, torch.arange(N, dtype=torch.float64))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("window", [256 << 20, 4096 * 8 * 3])
def test_a_batch_is_a_function_of_its_number(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probgen.contract.rows.WINDOW", window)
    data = rows()
    wanted = [17, 3, 300, 3, 29]  # back and forth, over two epochs
    batches = [data.batch(t, 1000)["x"] for t in wanted]
    for t, batch in zip(wanted, batches, strict=True):
        assert torch.equal(batch, rows().batch(t, 1000)["x"])
    assert not torch.equal(batches[0], rows(seed=1).batch(17, 1000)["x"])
    assert not torch.equal(batches[0], rows().batch(17, 1000, "other")["x"])


def test_a_batch_runs_on_into_the_next_epoch() -> None:
    data = rows(10)
    batches = [data.batch(t, 4)["x"].flatten() for t in range(5)]
    assert all(len(batch) == 4 for batch in batches)
    whole = torch.cat(batches)
    assert torch.equal(whole[:10].sort().values, torch.arange(10.0, dtype=torch.float64))
    assert torch.equal(whole[10:].sort().values, torch.arange(10.0, dtype=torch.float64))
    assert data.batch(0, 1000)["x"].shape == (10, 1)


def test_chunks_are_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probgen.contract.rows.WINDOW", 4096 * 8)
    for size in (256, 4096, 5000):
        assert torch.equal(
            torch.cat([c["x"] for c in rows().chunks(size)]).flatten(), torch.arange(N).double()
        )


def test_what_tensors_are() -> None:
    given = {"label": Event((), (), "token", 3)}
    dataset = xr.Dataset(
        {
            "x": (("row", "feature"), np.array([[1.0, np.nan], [0.0, 1.0]], dtype=np.float32)),
            "label": ("row", np.array([2, 0], dtype=np.uint8)),
            "weight": ("row", np.array([1, 2])),
        }
    )
    data = Rows(dataset, Event(("feature",), (2,), "binary", None, given), missing=True, dtype=torch.float64)
    (chunk,) = data.chunks()
    assert {name: tensor.dtype for name, tensor in chunk.items()} == {
        "x": torch.float64,
        "label": torch.int64,
        "weight": torch.float64,
        "observed": torch.bool,
    }
    assert chunk["x"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert chunk["observed"].tolist() == [[True, False], [True, True]]
