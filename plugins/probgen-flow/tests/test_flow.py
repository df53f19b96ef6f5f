"""The flows against Jacobians by autograd, known densities, an enumeration, and the laws of every family."""

from __future__ import annotations

import pytest
import xarray as xr

from probgen.testing import FamilyLaws
from probgen.testing import spaces

class TestFlow(FamilyLaws):
    family = "flow"
    options = {"epochs": 3, "batch_size": 20, "layers": 2, "hidden": (8, 8), "bins": 4}


class TestFlowByCoupling(FamilyLaws):
    family = "flow"
    options = {"epochs": 3, "batch_size": 20, "layers": 2, "hidden": 8, "structure": "coupling", "transform": "affine"}


class TestFlowOfWholeNumbers(FamilyLaws):
    family = "flow"
    support = "integer"
    options = {"epochs": 3, "batch_size": 20, "layers": 2, "hidden": 8, "bins": 4, "dequantization": "variational", "noise_layers": 1}
