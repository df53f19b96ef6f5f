"""Images from images by games: cyclegan, pix2pix, srgan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from probgen.testing import FamilyLaws

LEVELS: dict[str, Any] = {"support": "integer", "levels": 4}


def two_kinds(rows: int = 40, seed: int = 0, side: int = 4) -> xr.Dataset:
    """Images of four levels; kind 1 is dark where kind 0 is light."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (rows, side, side))
    label = rng.integers(0, 2, rows)
    x = np.where(label[:, None, None] == 1, 3 - x // 2, x // 2).astype(np.uint8)
    return xr.Dataset({"x": (("row", "height", "width"), x, LEVELS), "label": ("row", label, {"levels": 2})})


def pairs(rows: int = 40, seed: int = 0, scale: int = 1, side: int = 4) -> xr.Dataset:
    """Images of four levels, and what they are conditioned on: their means over cells, or the same in other levels."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (rows, side, side)).astype(np.uint8)
    low = x.reshape(rows, side // scale, scale, side // scale, scale).mean((2, 4)).round().astype(np.uint8)
    name = "low" if scale > 1 else "source"
    low = low if scale > 1 else (3 - low).astype(np.uint8)
    return xr.Dataset(
        {
            "x": (("row", "height", "width"), x, LEVELS),
            name: (("row", f"{name}_height", f"{name}_width"), low, LEVELS),
        }
    )


SMALL = {"steps": 6, "batch_size": 8, "width": 4}


class TestCycleGAN(FamilyLaws):
    family = "cyclegan"
    options = {**SMALL, "d_channels": (4, 4), "pool": 10, "identity": 0.5}
    without_effect = {
        "fit.latent": "see the test with z",
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Of two kinds."""
        return two_kinds()


class TestCycleGANWithZ(FamilyLaws):
    family = "cyclegan"
    options = {
        **SMALL,
        "d_channels": (4, 4),
        "latent": 2,
        "norm": "instance",
        "halvings": 1,
        "through": False,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Of two kinds."""
        return two_kinds(side=8)


class TestPix2Pix(FamilyLaws):
    family = "pix2pix"
    options = {**SMALL, "halvings": 1, "d_channels": (4,)}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Pairs."""
        return pairs()


class TestPix2PixWithZ(FamilyLaws):
    family = "pix2pix"
    options = {**SMALL, "halvings": 1, "d_channels": (4, 4), "latent": 2, "norm": "none"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Pairs."""
        return pairs()


class TestSRGAN(FamilyLaws):
    family = "srgan"
    options = {
        **SMALL, "pixels": 4, "patch": 4, "blocks": 1, "shuffled": 2, "d_channels": (3, 4), "game_batch_size": 4,
    }  # fmt: skip

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """With what they are at half the size."""
        return pairs(scale=2)
