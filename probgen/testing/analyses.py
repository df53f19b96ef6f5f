"""The laws of an analysis, as a base class for pytest."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

from probgen.api.analyzing import analyze, figures_of, save_analysis
from probgen.api.fitting import fit
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import numpy_state
from probgen.contract.state import state_of
from probgen.errors import InputError, NotOffered
from probgen.plugins.analysis import LoadedAnalysis
from probgen.plugins.analysis import analysis as find_analysis
from probgen.store.trees import read_dataset
from probgen.testing import spaces
from probgen.testing.helpers import same

MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("independent", {}),
    ("made", {"hidden": 8, "epochs": 1}),
    ("vae", {"latent": 2, "hidden": (8,), "epochs": 1}),
)  # small models for the tests of an analysis


class AnalysisLaws:
    """The laws that every analysis must satisfy. Inherit from this class, and set `analysis`.

    Override the fixtures `fitted` and `data` if the analysis applies to none of the small models in `MODELS`.

    Attributes:
        analysis: A registered name, or an analysis object.
        options: Options of the analysis. Choose options for a short run.
    """

    analysis: ClassVar[Any]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Return small binary images with labels."""
        x = spaces.example("binary", rows=120)["x"].values.reshape(-1, 2, 2)
        label = ("row", x.reshape(-1, 4).sum(1) % 2, {"levels": 2})
        return xr.Dataset({"x": (("row", "height", "width"), x, {"support": "binary"}), "label": label})

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> Fitted:
        """Return the first small model to which the analysis applies."""
        for family, options in MODELS:
            try:
                model = fit(family, data, **options)
            except InputError:  # the family does not accept the data
                continue
            if find_analysis(self.analysis).applies(model):
                return model
        pytest.skip(f"{self.analysis!r} applies to none of the small models. Override the fixture `fitted`.")

    def found(self, fitted: Fitted, data: xr.Dataset, **how: Any) -> xr.Dataset:
        """Return the results of the analysis for a model.

        Args:
            fitted: The model.
            data: The data.
            **how: Further arguments of `analyze`.

        Returns:
            The results.
        """
        several = find_analysis(self.analysis).several
        return analyze(self.analysis, {"model": fitted} if several else fitted, data, **how, **self.options)

    def test_same_seed_same_bits(self, fitted: Fitted, data: xr.Dataset) -> None:
        """Two calls with one seed give bit-identical results."""
        first, second = (self.found(fitted, data, seed=3) for _ in range(2))
        same(second, first, "results of two calls with one seed")

    def test_what_surrounds_it_is_left_alone(self, fitted: Fitted, data: xr.Dataset) -> None:
        """The analysis does not change the model, the data, the global generators or the defaults of torch."""
        module = fitted.module
        state, rows = state_of(module), data.copy(deep=True)
        before = torch.get_rng_state(), numpy_state(), random.getstate()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = self.found(fitted, data)
            figures_of(found, self.analysis)
        same(state_of(module), state, "the state of the model after and before the analysis")
        assert not module.training, "the analysis changed the mode of the model"
        same(data, rows, "the data after and before the analysis")
        assert torch.equal(torch.get_rng_state(), before[0]), "the analysis changed torch's global generator"
        assert numpy_state() == before[1], "the analysis changed NumPy's global generator"
        assert random.getstate() == before[2], "the analysis changed Python's global generator"
        assert torch.get_default_dtype() == torch.float32, "the analysis changed torch's default dtype"

    def test_results_and_figures_survive_a_file(
        self, fitted: Fitted, data: xr.Dataset, tmp_path: Path
    ) -> None:
        """Results read back from a file are equal to the original results, and give the same figures."""
        found = self.found(fitted, data, title="a title")
        name = found.attrs["analysis"]
        loaded: LoadedAnalysis = find_analysis(self.analysis)
        files = save_analysis(found, tmp_path, self.analysis)
        again = read_dataset(files[0], name)
        xr.testing.assert_equal(again, found)
        assert {key: again.attrs[key] for key in ("seed", "data_sha256", "options", "title")} == {
            key: found.attrs[key] for key in ("seed", "data_sha256", "options", "title")
        }
        assert set(loaded.figures(again)) == set(loaded.figures(found))
        for file in files:
            assert file.stat().st_size > 0
            assert file.name.startswith(f"{name}.")

    def test_every_dimension_is_named(self, fitted: Fitted, data: xr.Dataset) -> None:
        """Results have named dimensions, and single numbers are finite or NaN, never infinite."""
        found = self.found(fitted, data)
        assert found.data_vars, "the results have no variables"
        for name, value in found.data_vars.items():
            assert not any(str(dim).startswith("dim_") for dim in value.dims), name
            if value.dtype.kind == "f":
                assert not np.isinf(value.values).any(), f"{name} is infinite"

    def test_bad_input_is_refused_by_name(self, fitted: Fitted, data: xr.Dataset) -> None:
        """An unknown option, a bad seed and rows of another shape raise an InputError that names them."""
        models: Any = {"model": fitted} if find_analysis(self.analysis).several else fitted
        with pytest.raises(InputError, match="no_such_option"):
            analyze(self.analysis, models, data, no_such_option=1)
        with pytest.raises(InputError, match="seed"):
            analyze(self.analysis, models, data, seed=-1, **self.options)
        with pytest.raises(InputError, match="shape"):
            analyze(self.analysis, models, np.zeros((3, 5, 7), dtype=np.uint8), **self.options)

    def test_a_model_that_it_does_not_apply_to_is_refused_with_what_it_needs(
        self, fitted: Fitted, data: xr.Dataset
    ) -> None:
        """If `applies` returns False for a model, the analysis raises NotOffered, and the message states its needs."""
        loaded = find_analysis(self.analysis)
        assert loaded.needs.strip()
        for family, options in MODELS:
            try:
                model = fit(family, data, **options)
            except InputError:  # the family does not accept the data
                continue
            if not loaded.applies(model):
                with pytest.raises(NotOffered, match="it needs"):
                    self.found(model, data)
