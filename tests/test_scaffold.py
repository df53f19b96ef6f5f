"""A new plugin works, and passes its check, as it is written."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import probgen
from probgen import testing
from probgen.cli import app
from probgen.cli.scaffold import EXAMPLES, What, example, write
from probgen.errors import InputError, NotOffered
from tests.packages import environment, install, run_tests

Make = Callable[..., None]
MOST_LINES = 60  # of Python, of the example of an analysis


def probgen_with(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that finds one folder more."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "probgen"), *words],
        env=environment(site),
        capture_output=True,
        text=True,
        cwd=site,
        check=False,
    )


def test_a_new_family_passes_its_check(tmp_path: Path) -> None:
    folder = write("my_own", tmp_path)
    assert not any("laplace" in f.read_text() for f in folder.rglob("*") if f.is_file())
    site = install(folder, tmp_path / "site")
    done = probgen_with(site, "plugins", "check", "my_own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[100%]" in done.stdout
    assert "my_own" in probgen_with(site, "families").stdout
    again = probgen_with(site, "plugins", "new", "my_own", "--into", str(tmp_path / "site"))
    assert again.returncode == 2
    assert "family 'my_own' (probgen_my_own, probgen-my_own 0.1.0)" in again.stderr


@pytest.mark.parametrize("kind", ["pair", "gan", "dataset", "observer"])
def test_a_new_package_passes_its_tests(kind: What, tmp_path: Path) -> None:
    """Under a name with '-' and digits; the two other kinds are those of `plugins check`, above and below."""
    folder = write("my-own-2", tmp_path, kind)
    assert not any(EXAMPLES[kind].name in f.read_text() for f in folder.rglob("*") if f.is_file())
    run_tests(folder, install(folder, tmp_path / "site"))


@pytest.fixture
def analysis(tmp_path: Path, distribution: Make) -> Iterator[Path]:
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
    yield tmp_path
    sys.modules.pop("probgen_my_own", None)  # imported, it would be an installed package for the next test


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


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_files_that_are_written(kind: What, tmp_path: Path) -> None:
    """A package, a test and a README, with the registered name in the group of its kind; valid Python."""
    folder = write("my-own", tmp_path, kind)
    written = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert written == ["README.md", "probgen_my_own/__init__.py", "pyproject.toml", "tests/test_my_own.py"]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "probgen-my-own"
    ((group, entries),) = project["entry-points"].items()
    assert group == f"probgen.{EXAMPLES[kind].group}"
    assert entries["my-own"].partition(":")[0] == "probgen_my_own"
    for file in folder.rglob("*.py"):
        ast.parse(file.read_text())


@pytest.mark.parametrize("kind", ["family", "analysis"])
def test_the_test_that_is_written(kind: What, tmp_path: Path) -> None:
    """Three lines: the laws."""
    folder = write("my_own", tmp_path, kind)
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


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("My", "pair", "lower-case"),
        ("2nd", "gan", "lower-case"),
        ("a--b", "gan", "lower-case"),
        ("a-", "gan", "lower-case"),
        ("../up", "dataset", "lower-case"),
        ("class", "family", "a word of Python"),
        ("sample", "analysis", "recipes have a table"),
        ("observers", "observer", "a package probgen_observers is already installed"),
        ("ring", "dataset", "taken by the data set"),
    ],
)
def test_a_name_that_is_not_valid_is_refused_in_one_line(
    name: str, kind: str, reason: str, tmp_path: Path
) -> None:
    refused = CliRunner().invoke(app, ["plugins", "new", name, "--kind", kind, "--into", str(tmp_path)])
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"probgen: name = {name!r}: ")
    assert reason in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


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
