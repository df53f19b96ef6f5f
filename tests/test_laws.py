"""Every built-in family meets every law; so does the example plugin, in its own tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import probgen
from probgen.testing import FamilyLaws, spaces
from probgen.testing.densities import DRAWS


class TestMixture(FamilyLaws):
    family = "mixture"


class TestMixtureTiedRestarts(FamilyLaws):
    family = "mixture"
    options = {"components": 3, "covariance": "tied", "restarts": 2, "steps": 20}


class TestMixtureDiagonal(FamilyLaws):
    family = "mixture"
    options = {"components": 3, "covariance": "diagonal", "steps": 20}


class TestMixtureSpherical(FamilyLaws):
    family = "mixture"
    options = {"components": 3, "covariance": "spherical", "steps": 20}


class TestMixtureSVI(FamilyLaws):
    family = "mixture"
    options = {"method": "svi", "steps": 12, "batch_size": 32}


class TestIndependentReal(FamilyLaws):
    family = "independent"
    support = "real"


class TestIndependentBinary(FamilyLaws):
    family = "independent"
    support = "binary"


class TestIndependentInteger(FamilyLaws):
    family = "independent"
    support = "integer"


class TestIndependentCounts(FamilyLaws):
    family = "independent"
    support = "count"


class TestIndependentMixed(FamilyLaws):
    family = "independent"
    support = "mixed"


class TestMixtureCounts(FamilyLaws):
    family = "mixture"
    support = "count"
    options = {"steps": 20}


class TestMixtureMixed(FamilyLaws):
    family = "mixture"
    support = "mixed"
    options = {"components": 3, "restarts": 2, "steps": 20}


class TestMixtureMixedPoisson(FamilyLaws):
    family = "mixture"
    support = "mixed"
    options = {"covariance": "diagonal", "counts": "poisson", "steps": 20}


@pytest.mark.parametrize(("cells", "distance"), [(64, 0.1), (16, 0.07), (9, 0.07)])
def test_the_test_of_draws_has_power(cells: int, distance: float) -> None:
    assert spaces.power(DRAWS, cells, distance) > 0.999


class TestFVSBN(FamilyLaws):
    family = "fvsbn"
    support = "binary"
    options = {"epochs": 12, "batch_size": 16, "learning_rate": 0.05, "l1": 0.001}


class TestNADEInteger(FamilyLaws):
    family = "nade"
    support = "integer"
    options = {"hidden": 8, "epochs": 12, "batch_size": 16, "learning_rate": 0.05, "ordering": "random"}


class TestRNADE(FamilyLaws):
    family = "nade"
    support = "real"
    options = {"hidden": 8, "epochs": 12, "batch_size": 16, "learning_rate": 0.02, "components": 2}


class TestMADE(FamilyLaws):
    family = "made"
    support = "binary"
    options = {
        "hidden": 12, "layers": 2, "masks": 3, "ordering": "random", "epochs": 12, "batch_size": 16,
        "learning_rate": 0.02, "schedule": "cosine", "weight_decay": 0.01,
    }  # fmt: skip


class TestMADEReal(FamilyLaws):
    family = "made"
    support = "real"
    options = {"hidden": 12, "epochs": 12, "batch_size": 16, "learning_rate": 0.02}


def as_images(support: str, *image: int) -> xr.Dataset:
    """The same rows, laid out as images."""
    data = spaces.example(support)
    x = data["x"].values.reshape(-1, *image)
    dims = ("row", *("channel", "height", "width")[-len(image) :])
    return xr.Dataset({"x": (dims, x, data["x"].attrs)})


PIXELS = {"epochs": 8, "batch_size": 16, "learning_rate": 0.02, "head": 8}


class TestMADEMixed(FamilyLaws):
    family = "made"
    support = "mixed"
    options = {
        "hidden": 8,
        "epochs": 12,
        "batch_size": 16,
        "learning_rate": 0.02,
        "components": 2,
        "masks": 2,
        "ordering": "random",
    }


class TestMADECounts(FamilyLaws):
    family = "made"
    support = "count"
    options = {"hidden": 8, "epochs": 12, "batch_size": 16, "learning_rate": 0.02}


class TestPixelCNN(FamilyLaws):
    family = "pixelcnn"
    options = {"channels": 6, "layers": 3, **PIXELS}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Images of 2 x 2 bits."""
        return as_images("binary", 2, 2)


class TestPixelCNNColors(FamilyLaws):
    family = "pixelcnn"
    options = {
        "channels": 6,
        "layers": 2,
        "chain": (1, 0),
        "likelihood": "logistic",
        "components": 2,
        **PIXELS,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Images of two pixels of two colors, of two levels."""
        data = as_images("binary", 2, 2, 1)
        data["x"].attrs = {"support": "integer", "levels": 2}
        return data


class TestPixelCNNReal(FamilyLaws):
    family = "pixelcnn"
    options = {"channels": 6, "layers": 2, "components": 2, **PIXELS}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Images of two real pixels."""
        return as_images("real", 2, 1)


class TestRowLSTM(FamilyLaws):
    family = "pixelrnn"
    options = {"hidden": 4, "layers": 2, "cell": "row", **PIXELS}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Images of 2 x 2 bits."""
        return as_images("binary", 2, 2)


class TestDiagonalLSTM(FamilyLaws):
    family = "pixelrnn"
    options = {"hidden": 4, "layers": 2, "autocast": True, **PIXELS}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Images of two pixels of three levels."""
        return as_images("integer", 2, 1)


CODES = {"hidden": (8,), "epochs": 5, "batch_size": 16, "learning_rate": 0.02}


class TestVAE(FamilyLaws):
    family = "vae"
    support = "binary"
    options = {"latent": 2, **CODES}


class TestVAEInteger(FamilyLaws):
    family = "vae"
    support = "integer"
    options = {"latent": 2, "prior": "mixture", "bound": "iwae", "k": 3, "warm_up": 2.0, **CODES}


class TestVAEReal(FamilyLaws):
    family = "vae"
    support = "real"
    options = {"latent": 1, "prior": "vamp", "sigma": "feature", **CODES}


class TestVAEMixed(FamilyLaws):
    family = "vae"
    support = "mixed"
    options = {"latent": 2, "hidden": [8], "epochs": 12, "batch_size": 16, "learning_rate": 0.02}


class TestVAECaptured(FamilyLaws):
    family = "vae"
    support = "binary"
    options = {"latent": 2, "graph": True, "warm_up": 3.0, **CODES}


class TestAutoencoder(FamilyLaws):
    family = "autoencoder"
    support = "integer"
    options = {"latent": 1, "corruption": 0.2, **CODES}


def of_two_classes(support: str) -> xr.Dataset:
    data = spaces.example(support)
    return data.assign(label=("row", np.arange(data.sizes["row"]) % 2, {"levels": 2}))


class TestVAEDecoders(FamilyLaws):
    family = "vae"
    support = "integer"
    options = {"latent": 2, "given": ("label",), "conditioning": "decoders", **CODES}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Integers of two classes."""
        return of_two_classes("integer")


class TestAutoencoderDecoders(FamilyLaws):
    family = "autoencoder"
    support = "real"
    options = {"latent": 1, "given": ("label",), "conditioning": "decoders", **CODES}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Numbers of two classes."""
        return of_two_classes("real")


class TestM2(FamilyLaws):
    family = "m2"
    support = "binary"
    options = {"latent": 1, "classes": 2, **CODES}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Bits, of which every third row has a class."""
        data = spaces.example("binary")
        label = np.where(np.arange(80) % 3 == 0, data["x"].values[:, 0].astype(np.int64), -1)
        return data.assign(label=("row", label))


@cache
def generator() -> str:
    """The file of a small VAE of the same rows."""
    file = Path(tempfile.mkdtemp()) / "generator.h5"
    probgen.fit("vae", spaces.example("real"), latent=2, **CODES).save(file)
    return str(file)


class TestInverter(FamilyLaws):
    family = "inverter"
    support = "real"

    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]  # the generator is fitted once it is asked for
        """With the run of a generator."""
        return {"generator": generator(), **CODES}


class TestBayesianMixture(FamilyLaws):
    family = "bayesian-mixture"
    support = "real"
    options = {"draws": 4, "warm_up": 10, "chains": 1, "depth": 2}


class TestBayesianMixtureSVI(FamilyLaws):
    family = "bayesian-mixture"
    support = "real"
    options = {"method": "svi", "prior": "lkj", "draws": 20, "steps": 12}


def words(support: str = "token") -> xr.Dataset:
    """Five symbols out of three, a row each."""
    x = np.random.default_rng(0).choice(3, (60, 5), p=[0.5, 0.3, 0.2])
    return xr.Dataset({"x": (("row", "time"), x, {"support": support, "levels": 3})})


class TestCharRNN(FamilyLaws):
    family = "char-rnn"
    options = {"hidden": 6, "window": 4, "epochs": 4, "batch_size": 8, "learning_rate": 0.02}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Words of five symbols out of three."""
        return words()


class TestTransformer(FamilyLaws):
    family = "transformer"
    options = {
        "width": 8,
        "layers": 1,
        "heads": 2,
        "window": 4,
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.02,
        "dropout": 0.1,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Words of five symbols out of three: longer than the window."""
        return words()


class TestNGram(FamilyLaws):
    family = "ngram"
    options = {"order": 2}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Words of five symbols out of three."""
        return words()


class TestSeq2Seq(FamilyLaws):
    family = "seq2seq"
    options = {
        "width": 8,
        "layers": 1,
        "encoder_layers": 1,
        "heads": 2,
        "window": 4,
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.02,
        "dropout": 0.1,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Words of five symbols out of three, and sources of two to four out of two that say which are likely."""
        rng = np.random.default_rng(0)
        source, length = rng.integers(0, 2, (60, 4)), rng.integers(2, 5, 60)
        x = (rng.choice(3, (60, 5), p=[0.5, 0.3, 0.2]) + source[:, :1]) % 3
        of_two, of_three = ({"support": "token", "levels": n} for n in (2, 3))
        return xr.Dataset(
            {
                "x": (("row", "time"), x, of_three),
                "source": (("row", "source_time"), source, of_two),
                "source_length": ("row", length),
            }
        )


class TestWaveNet(FamilyLaws):
    family = "wavenet"
    options = {
        "channels": 4,
        "skip": 6,
        "dilations": (1, 2),
        "stacks": 1,
        "window": 3,
        "likelihood": "logistic",
        "components": 2,
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.02,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Sounds of five samples of three levels."""
        return words("integer")
