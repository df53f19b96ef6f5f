"""Files: whole or not at all, damage is known, and what could harm is refused unread."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

import probgen
from probgen.contract.state import flatten, unflatten
from probgen.errors import FileError, RunError
from probgen.store.files import read_file, write_file
from probgen.store.journal import Journal, read_journal
from probgen.store.trees import (
    open_arrays,
    read_arrays,
    read_dataset,
    read_tree,
    write_arrays,
    write_dataset,
    write_tree,
)
from tests.trust import hostile


def test_files_are_sealed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"content")
    assert read_file(path) == b"content"
    whole = path.read_bytes()
    for i in range(len(whole)):  # one flipped bit anywhere
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with pytest.raises(FileError):
            read_file(path)
    for i in range(len(whole)):  # cut off anywhere
        path.write_bytes(whole[:i])
        with pytest.raises(FileError):
            read_file(path)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failed_write_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_file(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RunError, match="No space left on device"):
        write_file(path, b"new")
    monkeypatch.undo()
    assert read_file(path) == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_trees_and_datasets(tmp_path: Path) -> None:
    data = xr.Dataset(
        {"z": (("row", "latent"), np.ones((2, 3))), "ok": ("row", [True, False])}, attrs={"seed": 1}
    )
    write_dataset(tmp_path / "a.h5", "samples", data)
    xr.testing.assert_identical(read_dataset(tmp_path / "a.h5", "samples"), data)
    with xr.open_datatree(tmp_path / "a.h5") as tree:
        assert tree["/probgen/samples/z"].dims == ("row", "latent")
        assert not tree.to_dataset().sizes
    with pytest.raises(FileError, match="no scores"):
        read_dataset(tmp_path / "a.h5", "scores")


def test_states_come_back_to_the_bit(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    network.register_buffer("mask", torch.tensor([True, False]))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best": [1.5, None, ("a", True)],
    }
    arrays: list[np.ndarray] = []
    write_arrays(tmp_path / "c.h5", flatten(state, arrays), arrays)
    back = unflatten(*read_arrays(tmp_path / "c.h5"))
    assert back["best"] == state["best"]
    for name, tensor in network.state_dict().items():
        assert torch.equal(back["network"][name], tensor)
        assert back["network"][name].dtype == tensor.dtype
    again = torch.optim.Adam(network.parameters(), lr=0.5)
    again.load_state_dict(back["optimizer"])
    assert again.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_the_journal_drops_a_torn_line_and_keeps_the_last_of_a_step(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    journal = Journal(path)
    for step in range(3):
        journal.write({"stage": "fit", "step": step, "loss": 0.1 * step})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"stage": "fit", "st')
    assert [line["step"] for line in read_journal(path)] == [0, 1, 2]
    journal = Journal(path)  # as after a crash
    journal.write({"stage": "fit", "step": 1, "loss": 7.0})
    journal.close()
    assert [(line["step"], line["loss"]) for line in read_journal(path)] == [(0, 0.0), (2, 0.2), (1, 7.0)]
    path.write_bytes(path.read_bytes().replace(b"7.0", b"8.0"))
    with pytest.raises(FileError, match="damaged in line 4"):
        read_journal(path)


@pytest.mark.parametrize("body", [b"", b"not JSON", b"7", b"[" * 100_000])
def test_a_line_with_its_checksum_that_is_no_line_is_refused(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lines = (body + b', "crc": %d}\n' % zlib.crc32(body), b"%d}\n" % zlib.crc32(b""))
    for line in lines:
        path.write_bytes(line)
        with pytest.raises(FileError, match="damaged in line 1"):
            read_journal(path)


@pytest.mark.parametrize("build", hostile.WORDS, ids=lambda build: build.__name__)
def test_hostile_files_are_refused(build: Callable[[h5py.File, Path], None], tmp_path: Path) -> None:
    """Both as data and, with a good seal, as results; `tests/trust` does the same from the command line."""
    path = hostile.hdf5(build, sealed=False)(tmp_path)
    with pytest.raises(FileError, match=hostile.WORDS[build]) as caught:
        open_arrays(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=hostile.WORDS[build]):
        probgen.datasets.load(path)
    path.unlink()
    with pytest.raises(FileError, match=hostile.WORDS[build]):
        read_tree(hostile.hdf5(build, sealed=True)(tmp_path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    torch.save({"a": 1}, path)
    with pytest.raises(FileError):
        probgen.load(path)
    write_file(path, path.read_bytes())
    with pytest.raises(FileError, match="not an HDF5 file"):
        probgen.load(path)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"probgen_schema": 2})})
    write_file(path, tree.to_netcdf(engine="h5netcdf"))
    with pytest.raises(FileError, match=r"schema 2.*Upgrade"):
        probgen.load(path)
    write_tree(path, xr.DataTree())
    with pytest.raises(FileError, match="not a fitted model"):
        probgen.load(path)
    with pytest.raises(FileError, match="there is no such run"):
        probgen.load(tmp_path / "none.h5")


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    fitted = probgen.fit("mixture", np.random.default_rng(0).standard_normal((30, 2)))
    good = fitted.to_tree()

    def changed(state: xr.Dataset, **about: str) -> Path:
        tree = xr.DataTree.from_dict(
            {**{n.path: n.to_dataset() for n in good.subtree}, "/probgen/state": state}
        )
        tree["/probgen"].attrs.update(about)
        write_tree(tmp_path / "m.h5", tree)
        return tmp_path / "m.h5"

    cases = [
        (changed, (fitted.state.drop_vars("mu"),), {}, "no array 'mu'"),
        (changed, (fitted.state.assign(extra=1.0),), {}, "'extra', which the model does not know"),
        (changed, (fitted.state.assign(mu=("a", [1.0])),), {}, "'mu' has shape"),
        (changed, (fitted.state * np.nan,), {}, "is not finite"),
        (changed, (fitted.state,), {"options": "[" * 100_000}, "not JSON"),
        (changed, (fitted.state,), {"options": '{"componets": 2}'}, "did you mean 'components'"),
    ]
    for make, args, about, message in cases:
        with pytest.raises((FileError, probgen.errors.InputError), match=message):
            probgen.load(make(*args, **about))
    with pytest.raises(probgen.errors.PluginError, match=r"no family is called 'os:system'"):
        probgen.load(changed(fitted.state, family="os:system"))
    assert probgen.load(changed(fitted.state)).family == "mixture"


def test_float64_stays(tmp_path: Path) -> None:
    fitted = probgen.fit("mixture", np.random.default_rng(0).standard_normal((30, 2)))
    fitted.save(tmp_path / "m.h5")
    again = probgen.load(tmp_path / "m.h5")
    assert again.module.mu.dtype == torch.float64
    xr.testing.assert_identical(again.state, fitted.state)
    xr.testing.assert_identical(again.history, fitted.history)
    assert again.options == fitted.options
    assert again.event == fitted.event
    assert again.provenance == fitted.provenance
    assert again.groups.keys() == fitted.groups.keys() == {"criteria", "components"}
    for name, group in fitted.groups.items():
        xr.testing.assert_identical(again.groups[name], group)
