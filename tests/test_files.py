"""Files of released versions are read, sampled, scored and resumed as when they were written (`tests/files.py`).

Integers are equal. Floats agree to 1e-4: other processors sum in other orders, in float32 to about 1e-6 each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.store.trees import read_dataset
from tests.files import DRAWS, FOLDER, INTERRUPTED, MODELS, STOPPED, expected_of

TOLERANCE = 1e-4


def agree(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if np.issubdtype(array.dtype, np.floating):
            np.testing.assert_allclose(found[name], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def state_of(file: Path) -> dict[str, np.ndarray]:
    return {str(name): array.values for name, array in probgen.load(file).state.items()}


def rows_of(arrays: Mapping[str, np.ndarray], event: probgen.Event) -> xr.Dataset | pd.DataFrame:
    """Arrays by name as rows of an event; classes of a table by their names."""
    if event.columns:
        columns = zip(event.columns, arrays["x"].T, strict=True)
        return pd.DataFrame(
            {c.name: np.array(c.classes)[x.astype(int)] if c.classes else x for c, x in columns}
        )
    others = {name: ("row", array) for name, array in arrays.items() if name != "x"}
    return xr.Dataset({"x": (("row", *event.dims), arrays["x"]), **others})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "files"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_samples_and_scores_as_it_did(name: str) -> None:
    fitted = probgen.load(FOLDER / "models" / f"{name}.h5")
    with np.load(FOLDER / "expected.npz") as file:
        known = {key.removeprefix(f"{name}."): file[key] for key in file if key.startswith(f"{name}.")}
    arrays = {key.removeprefix("rows."): known.pop(key) for key in list(known) if key.startswith("rows.")}
    agree(expected_of(fitted, rows_of(arrays, fitted.event)), known)


def test_a_folder_of_parts_is_read_and_continued(copy: Path) -> None:
    with np.load(FOLDER / "expected.npz") as file:
        np.testing.assert_array_equal(probgen.open_parts(copy / "parts")["x"], file["mixture.samples.x"])
    part = copy / "parts" / "part-000000.h5"
    before = part.read_bytes()
    probgen.sample_to(copy / "parts", probgen.load(copy / "models" / "mixture.h5"), DRAWS)
    assert part.read_bytes() == before


def test_an_interrupted_fit_is_resumed(copy: Path) -> None:
    run = copy / "interrupted"
    assert (run / "checkpoints" / f"fit-{STOPPED:06}.h5").is_file()
    with np.load(run / "rows.npz") as file:
        rows = xr.Dataset(
            {
                "x": (("row", "feature"), file["x"], {"support": "binary"}),
                "label": ("row", file["label"], {"levels": 2}),
            }
        )
    family, _, options = MODELS[INTERRUPTED]
    resumed = probgen.fit(family, rows, out=run, resume=True, **options)
    agree(state_of(run), state_of(FOLDER / "models" / f"{INTERRUPTED}.h5"))
    whole = probgen.load(FOLDER / "models" / f"{INTERRUPTED}.h5").history
    np.testing.assert_allclose(resumed.history["loss"], whole["loss"], rtol=TOLERANCE)


def test_a_run_of_a_recipe_is_read(copy: Path) -> None:
    """Its model, samples, scores with their meaning, analyses and page; the same recipe finds it complete."""
    run = copy / "recipe" / "mixture"
    fitted, scores = probgen.load(run), read_dataset(run / "scores.h5", "scores")
    again = probgen.score(fitted, probgen.datasets.load("wine", split="test"))
    np.testing.assert_allclose(again["log_prob"], scores["log_prob"], rtol=TOLERANCE)
    for name in ("units", "kind", "estimator", "measure"):
        assert again["log_prob"].attrs[name] == scores["log_prob"].attrs[name]
    samples = read_dataset(run / "samples.h5", "samples")
    agree({"x": probgen.sample(fitted, len(samples["sample"]))["x"].values}, {"x": samples["x"].values})
    for name in ("impute", "outliers"):
        found = read_dataset(run / "analyses" / f"{name}.h5", name)
        assert probgen.figures_of(found)
    before = (run / "model.h5").read_bytes()
    for words in (
        ["show", str(run)],
        ["compare", str(run)],
        ["report", str(copy / "recipe"), "--out", str(copy / "page.html")],
        ["run", str(copy / "recipe.toml"), "--out", str(copy / "recipe"), "--resume"],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert (run / "model.h5").read_bytes() == before
