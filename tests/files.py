"""Write files that later versions read: `python -m tests.files`, in the version that makes the promise.

The folder has models of several families (`models`) with rows, samples and scores of each (`expected.npz`), samples in
parts (`parts`), a fit that was interrupted (`interrupted`), and a run of a recipe with analyses (`recipe`).
`tests/test_files.py` reads them. The files of a released version are never written again.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.errors import Interrupted
from probgen.testing import spaces
from probgen.testing.helpers import Stop

FOLDER = Path(__file__).parent / "files-0.1.0"
SMALL: dict[str, Any] = {"epochs": 5, "batch_size": 20}  # of 80 rows: 20 steps
STOPPED = 7  # steps before the interruption
SCORED = 8  # rows
DRAWS = 6

RECIPE = """\
title = "Wines: a model with analyses"

[data]
name = "wine"

[models.mixture]
family = "mixture"
components = 2
regularization = 0.05
steps = 20

[sample]
n = 6

[score]

[impute]
hide = 0.2
rows = 6
draws = 4

[outliers]
rows = 2
"""


def images() -> xr.Dataset:
    """Bits in blocks of 2 x 2."""
    blocks = np.random.default_rng(0).integers(0, 2, (80, 2, 2))
    x = np.kron(blocks, np.ones((2, 2), dtype=int)).astype(np.uint8)
    return xr.Dataset({"x": (("row", "height", "width"), x, {"support": "binary"})})


def symbols() -> xr.Dataset:
    """Sequences of three symbols."""
    x = np.random.default_rng(1).integers(0, 3, (80, 6))
    return xr.Dataset({"x": (("row", "time"), x, {"support": "token", "levels": 3})})


def labeled() -> xr.Dataset:
    """Bits, of which the first is the label, too."""
    data = spaces.example("binary")
    return data.assign(label=("row", data["x"].values[:, 0].astype(int), {"levels": 2}))


CODES = {"codes": 3, "latent": 2, "hidden": 4, "blocks": 0, "halvings": 1}
# name of a model: family, rows, options
MODELS: dict[str, tuple[str, xr.Dataset, dict[str, Any]]] = {
    "independent": ("independent", spaces.example("count"), {}),
    "mixture": ("mixture", spaces.example("real"), {"components": 2, "steps": 20}),
    "table": ("mixture", spaces.example("mixed"), {"components": 2, "steps": 20}),
    "nade": ("nade", labeled(), {"hidden": 4, "given": ("label",), **SMALL}),
    "ngram": ("ngram", symbols(), {"order": 1}),
    "vae": ("vae", spaces.example("binary"), {"latent": 2, "hidden": (4,), **SMALL}),
    "gan": ("gan", spaces.example("real"), {"steps": 12, "batch_size": 32, "hidden": (8,), "latent": 2}),
    "vqvae": (
        "vqvae",
        images(),
        {**CODES, **SMALL, "prior": {"channels": 4, "layers": 1, "head": 4, **SMALL}},
    ),
    "flow": ("flow", spaces.example("real"), {"depth": 2, "hidden": (4,), "bins": 4, **SMALL}),
    "diffusion": (
        "diffusion",
        spaces.example("real"),
        {"hidden": (4,), "blocks": 1, "steps": 12, "batch_size": 20},
    ),
}
INTERRUPTED = "nade"  # its model is that of the same fit without an interruption


def expected_of(fitted: Any, rows: xr.Dataset) -> dict[str, np.ndarray]:
    """Samples with their latents, and scores, by name; the condition is the label of the first row."""
    given = {"label": rows["label"].values[0]} if "label" in rows else None
    drawn, scored = probgen.sample(fitted, DRAWS, given=given), probgen.score(fitted, rows)
    return {
        **{f"samples.{name}": array.values for name, array in drawn.data_vars.items()},
        **{f"scores.{name}": array.values for name, array in scored.data_vars.items()},
    }


def main() -> None:
    """Write the folder, which must not exist."""
    FOLDER.mkdir()
    arrays: dict[str, np.ndarray] = {}
    (FOLDER / "models").mkdir()
    for name, (family, data, options) in MODELS.items():
        fitted, rows = probgen.fit(family, data, **options), data.isel(row=slice(SCORED))
        fitted.save(FOLDER / "models" / f"{name}.h5")
        found = {f"rows.{each}": array.values for each, array in rows.data_vars.items()}
        arrays |= {f"{name}.{each}": array for each, array in (found | expected_of(fitted, rows)).items()}
    np.savez_compressed(FOLDER / "expected.npz", **arrays)
    probgen.sample_to(FOLDER / "parts", probgen.load(FOLDER / "models" / "mixture.h5"), DRAWS)
    family, data, options = MODELS[INTERRUPTED]
    with suppress(Interrupted), probgen.observing(Stop(STOPPED)):
        probgen.fit(family, data, out=FOLDER / "interrupted", **options)
    np.savez_compressed(FOLDER / "interrupted" / "rows.npz", **dict(data.items()))
    (FOLDER / "recipe.toml").write_text(RECIPE)
    done = CliRunner().invoke(
        app, ["run", str(FOLDER / "recipe.toml"), "--out", str(FOLDER / "recipe"), "--quiet"]
    )
    if done.exit_code:
        sys.exit(done.output)
    for pattern in ("*.png", "report.html", ".writer-*"):  # of which nothing is promised
        for file in FOLDER.rglob(pattern):
            file.unlink()


if __name__ == "__main__":
    main()
