"""Every built-in family meets every law; so does the example plugin, in its own tests."""

from __future__ import annotations

import pytest

from probgen.testing import FamilyLaws, spaces
from probgen.testing.laws import DRAWS


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


@pytest.mark.parametrize(("cells", "distance"), [(64, 0.1), (16, 0.07), (9, 0.07)])
def test_the_test_of_draws_has_power(cells: int, distance: float) -> None:
    assert spaces.power(DRAWS, cells, distance) > 0.999


class TestFVSBN(FamilyLaws):
    family = "fvsbn"
    support = "binary"
    options = {"epochs": 30, "batch_size": 16, "learning_rate": 0.05, "l1": 0.001}


class TestNADEInteger(FamilyLaws):
    family = "nade"
    support = "integer"
    options = {"hidden": 8, "epochs": 30, "batch_size": 16, "learning_rate": 0.05, "ordering": "random"}


class TestRNADE(FamilyLaws):
    family = "nade"
    support = "real"
    options = {"hidden": 8, "epochs": 30, "batch_size": 16, "learning_rate": 0.02, "components": 2}


class TestMADE(FamilyLaws):
    family = "made"
    support = "binary"
    options = {
        "hidden": 12, "layers": 2, "masks": 3, "ordering": "random", "epochs": 30, "batch_size": 16,
        "learning_rate": 0.02, "schedule": "cosine", "weight_decay": 0.01,
    }  # fmt: skip


class TestMADEReal(FamilyLaws):
    family = "made"
    support = "real"
    options = {"hidden": 12, "epochs": 30, "batch_size": 16, "learning_rate": 0.02}
