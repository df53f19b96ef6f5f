"""MNIST, Fashion-MNIST, the fixed binarized MNIST, and stacked MNIST: from a data folder, or downloaded and verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet, Source
from probgen.readers.arrays import idx
from probgen.readers.base import joined

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_LAROCHELLE = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"


def _sources(folder: str, url: str, sums: tuple[str, str, str, str]) -> dict[str, tuple[Source, Source]]:
    names = [
        f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ]
    files = [Source(f"{folder}/{name}", url + name, sha) for name, sha in zip(names, sums, strict=True)]
    return {"train": (files[0], files[1]), "test": (files[2], files[3])}


_FILES = {
    "mnist": _sources(
        "mnist",
        _MNIST,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": _sources(
        "fashion_mnist",
        _FASHION,
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}


def _images(name: str, split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the original 60,000 and 10,000 rows. The last 10,000 of the 60,000 are `valid`."""
    rows = {
        "train": ("train", slice(0, 50_000)),
        "valid": ("train", slice(50_000, None)),
        "test": ("test", slice(None)),
    }
    parts = {}
    for part in [split] if split else list(rows):
        images, labels = _FILES[name][rows[part][0]]
        chosen = rows[part][1]
        x, label = idx(images.find(folder))[chosen], idx(labels.find(folder))[chosen]
        parts[part] = xr.Dataset(
            {
                "x": (("row", "height", "width"), x, {"support": "integer", "levels": 256}),
                "label": ("row", label.astype(np.int64), {"levels": 10}),
            }
        )
    return joined(parts, split)


_AMAT = {
    "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "valid": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}
_PACKED = "binarized_mnist/binarized_mnist_packed.npz"


def _binarized(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the packed bits in a data folder, or the original text files."""
    parts = {}
    for part in [split] if split else list(_AMAT):
        if folder is not None and (folder / _PACKED).is_file():
            with np.load(folder / _PACKED, allow_pickle=False) as file:
                bits = np.unpackbits(file[part], axis=1)
        else:
            name = f"binarized_mnist_{part}.amat"
            text = (
                Source(f"binarized_mnist/{name}", _LAROCHELLE + name, _AMAT[part]).find(folder).read_bytes()
            )
            bits = (np.frombuffer(text, np.uint8)[::2] - ord("0")).reshape(-1, 784)  # "0 1 ... 0\n"
        x = bits.reshape(-1, 28, 28)
        parts[part] = xr.Dataset({"x": (("row", "height", "width"), x, {"support": "binary"})})
    return joined(parts, split)


STACKED = {"train": 50_000, "valid": 10_000, "test": 26_000}


def _stacked(split: str | None, folder: Path | None) -> xr.Dataset:
    """Stack three digits of one part of MNIST as channels, sampled with replacement. The label is the number with these digits."""
    parts = {}
    for i, (part, rows) in enumerate(STACKED.items()):
        if split not in (None, part):
            continue
        digits = _images("mnist", part, folder)
        chosen = np.random.Generator(np.random.PCG64(i)).integers(digits.sizes["row"], size=(rows, 3))
        x, label = digits["x"].values[chosen], digits["label"].values[chosen] @ np.array([100, 10, 1])
        parts[part] = xr.Dataset(
            {
                "x": (("row", "channel", "height", "width"), x, digits["x"].attrs),
                "label": ("row", label, {"levels": 1000, "factors": "10 10 10"}),
            }
        )
    return joined(parts, split)


_SPLITS = ("train", "valid", "test")
mnist = DataSet(
    "70,000 handwritten digits, 28 x 28, 0..255 (LeCun et al. 1998)",
    _SPLITS,
    lambda s, f: _images("mnist", s, f),
)
fashion_mnist = DataSet(
    "70,000 pictures of clothing, 28 x 28, 0..255 (Xiao et al. 2017)",
    _SPLITS,
    lambda s, f: _images("fashion-mnist", s, f),
)
binarized_mnist = DataSet(
    "70,000 digits, 28 x 28 bits, sampled once (Salakhutdinov & Murray 2008; Larochelle & Murray 2011)",
    _SPLITS,
    _binarized,
)
stacked_mnist = DataSet(
    "86,000 images of three digits as channels, 28 x 28, 0..255: 1,000 modes (Metz et al. 2017)",
    _SPLITS,
    _stacked,
)
