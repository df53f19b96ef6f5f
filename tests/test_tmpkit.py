import numpy as np
import pytest
import xarray as xr

from probgen.testing import FamilyLaws


def pairs(seed=0):
    r = np.random.default_rng(seed)
    low = r.integers(0, 2, (60, 1, 1))
    x = r.uniform(size=(60, 2, 2)) < 0.3 + 0.4 * low
    return xr.Dataset(
        {
            "x": (("row", "height", "width"), x.astype(np.uint8), {"support": "integer", "levels": 2}),
            "low": (
                ("row", "low_height", "low_width"),
                low.astype(np.uint8),
                {"support": "integer", "levels": 2},
            ),
        }
    )


SR = {
    "patch": 2,
    "width": 4,
    "blocks": 1,
    "components": 2,
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 0.02,
}


class TestSRResNet(FamilyLaws):
    family = "srresnet"
    options = SR

    @pytest.fixture
    def data(self):
        return pairs()


class TestSRNormal(FamilyLaws):
    family = "srresnet"
    options = {k: v for k, v in SR.items() if k != "components"} | {"noise": "normal"}

    @pytest.fixture
    def data(self):
        return pairs()


class TestSubscale(FamilyLaws):
    family = "subscale"
    options = SR

    @pytest.fixture
    def data(self):
        return pairs()
