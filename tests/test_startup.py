"""What a command does not import: torch for a refusal or for <TAB>, and nothing that a fit, a draw or a score does not use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probgen
from probgen.api import provenance
from probgen.cli import completion

HEAVY = ("torch", "pyro", "xarray")
CALL = """
import contextlib, io, json, sys
from probgen.cli import main

done = []
for command in json.loads(sys.argv.pop()):
    sys.argv, said = ["probgen", *command.split()], io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    done.append([code, said.getvalue(), sorted(sys.modules)])
print(json.dumps(done))
"""


def called(*commands: str, cwd: Path) -> list[tuple[int, str, set[str]]]:
    """Exit code, messages and imported modules after each command, all of one process."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return [(code, said, set(modules)) for code, said, modules in json.loads(done.stdout)]


RECIPES = {
    "table": '[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n[latnt]\nrows = 3\n',
    "key": '[data]\nname = "iris"\nspilt = "train"\n[models.a]\nfamily = "mixture"\n',
    "family": '[data]\nname = "iris"\n[models.a]\nfamily = "mixtur"\n[latent]\nrows = 3\n',
    "range": '[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n[search.options.components]\nlow = 1\nhgh = 3\n',
    "data": '[data]\nname = "irs"\n[models.a]\nfamily = "mixture"\n',
}
REFUSED = [
    ("fit mixtur --data iris --out o", 3, "did you mean 'mixture'"),
    ("fit mixture --data none.csv --out o", 2, "no file none.csv"),
    ("fit mixture --data irs --out o", 2, "did you mean 'iris'"),
    ("fit mixture --data iris --out file", 1, "file is a file"),
    ("fit mixture --data iris --out o --set components", 2, "NAME=VALUE"),
    ("sample none", 2, "none: there is no such run"),
    ("sample folder", 2, "no fitted model"),
    ("sample file --png no/a.png", 2, "no folder no"),
    ("sample file --given none.csv --png a.png", 2, "no such file"),
    ("score none --data iris", 2, "none: there is no such run"),
    ("score file --data none.csv", 2, "no file none.csv"),
    ("score file --data iris --out no/a.h5", 2, "no folder no"),
    ("show none", 2, "none: there is no such file or folder"),
    ("show folder", 2, "not a run"),
    ("run quickstrt", 2, "did you mean 'quickstart'"),
    ("run quickstart --out file", 1, "file is a file"),
    ("run table.toml", 2, "did you mean 'latent'"),
    ("run key.toml", 2, "did you mean 'split'"),
    ("run family.toml", 3, "did you mean 'mixture'"),
    ("run data.toml", 2, "did you mean 'iris'"),
    ("run quickstart --set modles.a=1", 2, "did you mean 'models'"),
    ("search iris", 2, "[search.options]"),
    ("search quickstrt", 2, "did you mean 'quickstart'"),
    ("search quickstart --out file", 1, "file is a file"),
    ("search range.toml", 2, "did you mean 'high'"),
    ("analyze latnt file --data iris", 3, "did you mean 'latent'"),
    ("analyze latent none --data iris", 2, "none: there is no such run"),
    ("analyze latent file --data none.csv", 2, "no file none.csv"),
    ("diagnose none --data iris", 2, "none: there is no such run"),
    ("diagnose file --data none.csv", 2, "no file none.csv"),
    ("plugins new mixture", 2, "taken"),
    ("plugins check latnt", 3, "did you mean 'latent'"),
]


def test_what_needs_no_torch_is_refused_without_it(tmp_path: Path) -> None:
    """Names, paths and tables. Options of a family are declared in its module, which imports torch."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, text in RECIPES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    before = sorted(tmp_path.iterdir())
    done = called(*(command for command, _, _ in REFUSED), cwd=tmp_path)
    for (command, code, message), (ended, said, modules) in zip(REFUSED, done, strict=True):
        assert ended == code, (command, said)
        assert message in said, command
        assert said.count("\n") == 1, command
        assert not modules.intersection(HEAVY), command
    assert sorted(tmp_path.iterdir()) == before


def test_the_check_finds_what_is_imported(tmp_path: Path) -> None:
    """A command that does import torch."""
    ((code, _, modules),) = called("families mixture", cwd=tmp_path)
    assert code == 0
    assert modules.issuperset(HEAVY)


UNUSED = {"scipy", "sklearn", "matplotlib", "PIL", "pooch", "requests", "rich.progress", "probgen.figures"}
if find_spec("dask"):  # which xarray imports where it is installed, and it scipy
    UNUSED -= {"scipy"}


def test_help_imports_no_torch(tmp_path: Path) -> None:
    commands = ("fit --help", "fit vae --help", "analyze latent --help", "sample x --help", "score --help")
    for code, said, modules in called(*commands, cwd=tmp_path):
        assert code == 0, said
        assert not modules & set(HEAVY)


def test_a_command_imports_what_it_uses(tmp_path: Path) -> None:
    """A fit, draws and scores of one family from one file need none of the rest."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 2)))
    done = called(
        "fit independent --data x.npy --out run", "sample run -n 3", "score run --data x.npy", cwd=tmp_path
    )
    for code, said, modules in done:
        assert code == 0, said
        assert not modules & (UNUSED | {"probgen.evaluation.diagnosis", "probgen.models.mixture"})


def test_a_fit_of_a_mixture_imports_no_figures(tmp_path: Path) -> None:
    """Its start and its data are scikit-learn's, which imports the rest of scipy, and rich where it is installed."""
    ((code, said, modules),) = called("fit mixture --data iris --out run", cwd=tmp_path)
    assert code == 0, said
    assert not modules & (
        UNUSED - {"scipy", "sklearn", "rich.progress"} | {"scipy.signal", "probgen.evaluation.diagnosis"}
    )


def test_versions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = probgen.fit("independent", np.random.default_rng(0).normal(size=(20, 2)))
    read = []
    monkeypatch.setattr(provenance, "version", lambda package: read.append(package) or "1")
    provenance._versions.cache_clear()
    stamped = [probgen.sample(fitted).attrs["torch_version"] for _ in range(3)]
    assert stamped == ["1"] * 3
    assert len(read) == len(set(read)) == 6
    provenance._versions.cache_clear()


# shell completion


def completed(words: str, cwd: Path) -> tuple[list[str], set[str]]:
    """What <TAB> offers after `words` in bash, and what was imported for it."""
    code = (
        "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "sys.argv = ['probgen']\nfrom probgen.cli import main\nmain()"
    )
    protocol = {
        "_PROBGEN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **protocol}, capture_output=True, text=True, check=False, cwd=cwd
    )  # fmt: skip
    return done.stdout.split(), set(done.stderr.split())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with run folders, one of them of a recipe, and one without a model."""
    for place in ("runs/iris", "runs/quickstart/mixture", "runs/begun", ".hidden/run", "a/b/c/too-deep"):
        (tmp_path / place).mkdir(parents=True)
        if "begun" not in place:
            (tmp_path / place / "model.h5").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("probgen fit mixt", ["mixture"]),
        ("probgen families nad", ["nade"]),
        ("probgen fit mixture --data iri", ["iris"]),
        ("probgen score run --data iri", ["iris"]),
        ("probgen run quick", ["quickstart"]),
        ("probgen analyze lat", ["latent"]),
        ("probgen analyze latent runs/i", ["runs/iris"]),
        ("probgen sample r", ["runs/iris", "runs/quickstart/mixture"]),
        ("probgen score runs/q", ["runs/quickstart/mixture"]),
        ("probgen show runs/b", []),
        ("probgen diagnose nothing/", []),
        ("probgen plugins check made", ["made"]),
    ],
)
def test_tab_completes_names_and_runs(words: str, offered: list[str], runs: Path) -> None:
    found, modules = completed(words, runs)
    assert found == offered
    assert "probgen.cli" in modules
    assert not modules.intersection((*HEAVY, "numpy"))


def test_completion_of_places(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    monkeypatch.setenv("HOME", str(runs))
    assert completion.runs("") == ["runs/iris", "runs/quickstart/mixture"]
    assert completion.runs("~/ru") == ["~/runs/iris", "~/runs/quickstart/mixture"]
    assert completion.runs("~nobody-here/ru") == []
    assert completion.runs(f"{runs}/runs/quickstart/") == [f"{runs}/runs/quickstart/mixture"]
    monkeypatch.setattr(completion, "FOLDERS", 1)
    assert len(completion.runs("")) == 0  # of a large tree only so much is looked at


def test_what_is_blocked_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: Any = completion.families("mixt")
    assert offered == ["mixture"]
    monkeypatch.setenv("PROBGEN_DISABLE_PLUGINS", "mixture")
    assert completion.families("mixt") == []
