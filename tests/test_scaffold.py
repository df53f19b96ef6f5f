"""A new plugin works, and passes its check, as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import probgen
from probgen import testing
from probgen.cli import app
from probgen.cli.scaffold import What, example, write
from probgen.errors import InputError, NotOffered

Make = Callable[..., None]
MOST_LINES = 60  # of Python, of the example of an analysis


def probgen_with(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that finds one folder more."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [str(Path(sys.executable).parent / "probgen"), *words],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=site,
        check=False,
    )


def test_a_new_family_passes_its_check(tmp_path: Path) -> None:
    folder = write("my_own", tmp_path)
    assert not any("laplace" in f.read_text() for f in folder.rglob("*") if f.is_file())
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(site), str(folder)], check=True, capture_output=True)
    done = probgen_with(site, "plugins", "check", "my_own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[100%]" in done.stdout
    assert "my_own" in probgen_with(site, "families").stdout
    again = probgen_with(site, "plugins", "new", "my_own", "--into", str(tmp_path / "site"))
    assert again.returncode == 2
    assert "family 'my_own' (probgen_my_own, probgen-my_own 0.1.0)" in again.stderr


@pytest.fixture
def analysis(tmp_path: Path, distribution: Make) -> Path:
    """A new analysis `my_own`, as if it were installed; the folder that it is installed in."""
    folder = write("my_own", tmp_path, "analysis")
    text = (folder / "probgen_my_own" / "__init__.py").read_text()
    assert (
        '[project.entry-points."probgen.analyses"]\nmy_own = "probgen_my_own"'
        in (folder / "pyproject.toml").read_text()
    )
    distribution(
        "probgen-my_own", "[probgen.analyses]\nmy_own = probgen_my_own\n", {"probgen_my_own.py": text}
    )
    return tmp_path


def test_a_new_analysis_works(analysis: Path) -> None:
    """Its results are those of NumPy, and it leaves out what it cannot be asked of."""
    x = np.random.default_rng(0).normal([1, -2], [1, 3], size=(200, 2))
    fitted = probgen.fit("independent", x)
    found = probgen.analyze("my_own", fitted, x, n=500, seed=3, out=analysis, title="T")
    draws = probgen.sample(fitted, 500, seed=3)["x"].values
    for i, values in enumerate((x, draws)):
        np.testing.assert_allclose(found["mean"][i], values.mean(0), rtol=1e-6)
        np.testing.assert_allclose(found["std"][i], values.std(0), rtol=1e-6)
    assert found["largest_difference"] == pytest.approx(
        (np.abs(draws.mean(0) - x.mean(0)) / x.std(0)).max(), rel=1e-6
    )
    files = sorted(file.name for file in (analysis / "analyses").iterdir())
    assert files == ["my_own.features.png", "my_own.h5"]
    labeled = probgen.datasets.load("iris")
    conditional = probgen.fit("nade", labeled, given=("label",), hidden=2, steps=1)
    with pytest.raises(NotOffered, match="it needs samples that depend on no condition"):
        probgen.analyze("my_own", conditional, labeled)


def test_a_new_analysis_passes_its_check(analysis: Path) -> None:
    if not hasattr(testing, "AnalysisLaws"):
        pytest.skip("there are no laws of analyses yet")
    done = probgen_with(analysis, "plugins", "check", "my_own")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["family", "analysis"])
def test_what_is_written(kind: What, tmp_path: Path) -> None:
    """Package, test, README; the name of the example nowhere; three lines of test."""
    folder = write("my_own", tmp_path, kind)
    written = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert written == ["README.md", "probgen_my_own/__init__.py", "pyproject.toml", "tests/test_my_own.py"]
    laws = {"family": "FamilyLaws", "analysis": "AnalysisLaws"}[kind]
    assert (folder / "tests/test_my_own.py").read_text() == (
        f'from probgen.testing import {laws}\n\n\nclass TestMyOwn({laws}):\n    {kind} = "my_own"\n'
    )


def test_the_example_of_an_analysis_is_short() -> None:
    lines = sum(len(file.read_text().splitlines()) for file in example("analysis").rglob("*.py"))
    assert lines <= MOST_LINES + len(["from", ' ""', ' ""', " class", " name"])


@pytest.mark.parametrize(("name", "kind"), [("mixture", "family"), ("latent", "analysis")])
def test_a_registered_name_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    """In one line, with nothing written; a name of the other kind is free."""
    refused = CliRunner().invoke(app, ["plugins", "new", name, "--kind", kind, "--into", str(tmp_path)])
    assert refused.exit_code == 2
    assert f"{name!r}: it is taken by the {kind} {name!r} (probgen." in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    other = "analysis" if kind == "family" else "family"
    assert (
        CliRunner().invoke(app, ["plugins", "new", name, "--kind", other, "--into", str(tmp_path)]).exit_code
        == 0
    )


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    write("mine", tmp_path)
    with pytest.raises(InputError, match="already exists"):
        write("mine", tmp_path)


def test_a_name_of_two_kinds_needs_its_kind(distribution: Make) -> None:
    distribution("two", "[probgen.analyses]\nmixture = nowhere\n", {})
    refused = CliRunner().invoke(app, ["plugins", "check", "mixture"])
    assert refused.exit_code == 2
    assert "Add --kind family or --kind analysis" in refused.stderr
    refused = CliRunner().invoke(app, ["plugins", "check", "mixture", "--kind", "analysis"])
    assert refused.exit_code == 3
    assert "cannot be imported" in refused.stderr
