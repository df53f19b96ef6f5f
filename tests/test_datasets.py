"""Data sets and files: what they hold, and where they come from."""

from __future__ import annotations

import gc
import gzip
import hashlib
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest
import xarray as xr
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits

from probgen import datasets
from probgen.datasets.base import Source
from probgen.datasets.mnist import _AMAT
from probgen.datasets.synthetic import _BITS, _STATES
from probgen.errors import FileError, InputError


def test_digits() -> None:
    parts = [datasets.load("digits", split) for split in ("train", "valid", "test")]
    assert [part.sizes["row"] for part in parts] == [1197, 300, 300]
    everything = datasets.load("digits")
    assert everything.sizes == {"row": 1797, "height": 8, "width": 8}
    ours = sorted(row.tobytes() for row in everything["x"].values)
    assert ours == sorted(row.tobytes() for row in load_digits().images.astype(np.uint8))
    binary = datasets.load("digits-binary", "valid")
    np.testing.assert_array_equal(binary["x"], parts[1]["x"] >= 8)
    assert np.bincount(parts[2]["label"]).min() > 15


@pytest.mark.parametrize("name", ["ring", "grid", "moons", "spirals"])
def test_densities_in_the_plane(name: str) -> None:
    """The density integrates to one, and draws fall where it says: Kolmogorov-Smirnov on log p, false alarm 1e-6."""
    found = datasets.find_set(name)
    assert found.density is not None
    x = datasets.load(name, "test")["x"].values
    low, high = x.min(0) - 0.5, x.max(0) + 0.5
    points = 400 if name in ("ring", "grid") else 240
    axes = [lo + (hi - lo) * (np.arange(points) + 0.5) / points for lo, hi in zip(low, high, strict=True)]
    total, levels, masses = 0.0, [], []
    for first in np.array_split(axes[0], 40):
        grid = np.stack(np.meshgrid(first, axes[1], indexing="ij"), -1).reshape(-1, 2)
        p = np.exp(log_p := found.density(grid)) * np.prod((high - low) / points)
        total += p.sum()
        levels.append(log_p[p > 1e-12])
        masses.append(p[p > 1e-12])
    assert total == pytest.approx(1.0, abs=0.01 if name == "ring" else 1e-3)
    order = np.argsort(level := np.concatenate(levels))
    mass = np.cumsum(np.concatenate(masses)[order])
    drawn = np.sort(found.density(x))
    expected = np.interp(drawn, level[order], mass / mass[-1])
    distance = np.abs(expected - (np.arange(len(x)) + 0.5) / len(x)).max()
    assert distance < stats.kstwo.isf(1e-6, len(x)) + 0.01


def test_density_of_bars() -> None:
    found = datasets.find_set("bars")
    x = datasets.load("bars", "test")["x"].values
    assert found.density is not None
    log_p = found.density(x)
    assert np.isfinite(log_p).all()
    pictures = np.unique(np.maximum(_STATES[:, :4, None], _STATES[:, None, 4:]).reshape(256, 16), axis=0)
    assert np.exp(found.density(pictures.reshape(-1, 4, 4))).sum() == pytest.approx(1.0)
    assert found.density(np.eye(4)[None])[0] == -np.inf
    white = (x.reshape(len(x), 16) @ _BITS == 0).mean()
    assert abs(white - 0.75**8) < 5 * np.sqrt(0.1 * 0.9 / len(x))
    assert found.density(np.zeros((1, 4, 4)))[0] == pytest.approx(8 * np.log(0.75))


def original_digest(x: np.ndarray) -> str:
    """SHA-256 of rows of bits written as the original text: what `_AMAT` lists."""
    rows = x.reshape(len(x), -1)
    text = np.full((len(rows), 2 * rows.shape[1]), ord(" "), np.uint8)
    text[:, ::2] = rows + ord("0")
    text[:, -1] = ord("\n")
    return hashlib.sha256(text.tobytes()).hexdigest()


def test_binarized_mnist_is_the_original(real_data: Path) -> None:
    for split, digest in _AMAT.items():
        x = datasets.load("binarized-mnist", split, real_data)["x"].values
        assert original_digest(x) == digest


def test_mnist_and_fashion(real_data: Path) -> None:
    train = datasets.load("mnist", "train", real_data)
    assert train["x"].shape == (50_000, 28, 28)
    assert train["label"].values[:5].tolist() == [5, 0, 4, 1, 9]
    assert datasets.load("mnist", "valid", real_data).sizes["row"] == 10_000
    fashion = datasets.load("fashion-mnist", "test", real_data)
    assert (np.bincount(fashion["label"]) == 1000).all()


def test_faithful(real_data: Path) -> None:
    x = datasets.load("faithful", folder=real_data)["x"]
    assert x.shape == (272, 2)
    np.testing.assert_allclose(x.mean("row"), [3.487783, 70.897059], atol=1e-6)


def test_a_wrong_split_is_named() -> None:
    with pytest.raises(InputError, match="split = 'tset': did you mean 'test'"):
        datasets.load("digits", "tset")
    with pytest.raises(InputError, match="no splits"):
        datasets.load("iris", "test")


# files

X = np.arange(24, dtype=np.float64).reshape(6, 4)


def test_readers(tmp_path: Path) -> None:
    label = np.array([0, 1, 0, 1, 0, 1])
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X, y=label)
    np.savez(tmp_path / "one.npz", whatever=X)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["label"] = X, label
    xr.Dataset({"x": (("row", "feature"), X)}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    (tmp_path / "a.csv").write_text("a,b,c,d,kind\n" + "\n".join(",".join(map(str, r)) + ",k" for r in X))
    idx = b"\0\0\x0e\x02" + np.array([6, 4], ">u4").tobytes() + X.astype(">f8").tobytes()
    (tmp_path / "a-idx2-ubyte").write_bytes(idx)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx))
    for name in ("a.npy", "a.npz", "one.npz", "a.h5", "a.nc", "a.csv", "a-idx2-ubyte", "a.gz"):
        how = {"label": "kind"} if name == "a.csv" else None
        dataset = datasets.load(tmp_path / name, table=how)
        assert dataset["x"].dims == ("row", "feature"), name
        np.testing.assert_array_equal(dataset["x"], X)
    for name in ("a.npz", "a.h5"):
        np.testing.assert_array_equal(datasets.load(tmp_path / name)["label"], label)
    assert datasets.load(tmp_path / "a.csv", table={"label": "kind"})["label"].attrs["symbols"] == ["k"]


def test_packed_bits_and_splits(tmp_path: Path, real_data: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (5, 11)).astype(np.uint8)
    np.savez(tmp_path / "p.npz", train=np.packbits(bits, axis=1), num_vars=11)
    np.testing.assert_array_equal(datasets.load(tmp_path / "p.npz", "train")["x"], bits)
    with pytest.raises(InputError, match="split = 'test'"):
        datasets.load(tmp_path / "p.npz", "test")
    assert datasets.load(real_data / "binary_uci" / "dna.npz", "test")["x"].shape == (1186, 180)
    cifar = datasets.load(real_data / "cifar10_subset" / "cifar10_subset.npz", "test")
    assert cifar["x"].dims == ("row", "channel", "height", "width")


def test_folders_of_images(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for i in range(2):
            Image.fromarray(np.full((5, 4), 10 * i, np.uint8)).save(tmp_path / kind / f"{i}.png")
    dataset = datasets.load(tmp_path)
    assert dataset["x"].shape == (4, 5, 4)
    assert dataset["x"].attrs["levels"] == 256
    assert dataset["label"].values.tolist() == [0, 0, 1, 1]
    Image.fromarray(np.zeros((5, 4, 3), np.uint8)).save(tmp_path / "cat" / "z.png")
    with pytest.warns(UserWarning, match="gray to RGB, the same values: 4 of 5 files"):
        assert datasets.load(tmp_path)["x"].shape == (5, 3, 5, 4)
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(tmp_path / "dog" / "z.png")
    with pytest.raises(InputError, match="images must have one size"):
        datasets.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b"no"),
        ("a.npz", b"PK\3\4 no"),
        ("a.h5", b"no"),
        ("a.gz", b"\x1f\x8b no"),
        ("a-ubyte", b"\0\0\x08\x02\0\0\0\5"),
        ("a-ubyte", b"\0\0\x08\x01\0\0\0\5abc"),
        ("a.csv", b""),
        ("a.xyz", b"1"),
    ],
)
def test_broken_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((FileError, InputError)) as caught:
        datasets.load(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"a\.npy"):
        datasets.load(tmp_path / "a.npy")


# downloads, from a server on this machine

CONTENT = b"0123456789" * 1000


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT: whole, cut off, changed, or not at all."""

    counts: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        self.counts[self.path] = self.counts.get(self.path, 0) + 1
        if self.path == "/500":
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"/cut": CONTENT[:500], "/wrong": CONTENT[::-1]}.get(self.path, CONTENT))

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PROBGEN_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()
    with warnings.catch_warnings():  # requests leaves the socket of a download that failed to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_download_is_verified_and_kept(server: str, tmp_path: Path) -> None:
    source = Source("set/file", f"{server}/good", hashlib.sha256(CONTENT).hexdigest())
    assert source.find(None).read_bytes() == CONTENT
    assert source.find(tmp_path).read_bytes() == CONTENT
    assert Server.counts["/good"] == 1
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").write_bytes(b"mine")
    assert source.find(tmp_path).read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["/cut", "/wrong", "/500"])
def test_a_bad_download_is_refused_and_not_kept(path: str, server: str, tmp_path: Path) -> None:
    source = Source("set/file", f"{server}{path}", hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(InputError, match=r"download from .* failed") as caught:
        source.find(None)
    assert f"{server}{path}" in str(caught.value)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
