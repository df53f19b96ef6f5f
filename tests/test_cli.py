"""The commands: results on stdout, one line on stderr for what is wrong, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner, Result

import probgen
from probgen.cli import app

COMMANDS = (
    "run",
    "fit",
    "sample",
    "score",
    "diagnose",
    "compare",
    "show",
    "families",
    "datasets",
    "recipes",
    "plugins",
)


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def good(*args: object) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "iris"
    good("fit", "mixture", "--data", "iris", "--set", "components=3", "--out", out)
    return out


def test_fit_sample_score_compare_show(fitted: Path, tmp_path: Path) -> None:
    listed = json.loads(good("sample", fitted, "-n", 20, "--png", tmp_path / "a.png", "--json").stdout)
    assert listed["variables"]["x"] == {"sample": 20, "feature": 4}
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 200
    with xr.open_datatree(fitted / "samples.h5") as tree:
        expected = probgen.sample(probgen.load(fitted), 20)
        np.testing.assert_array_equal(tree["/probgen/samples/x"], expected["x"])
    scored = json.loads(good("score", fitted, "--data", "iris", "--json").stdout)
    (line,) = scored["scores"]
    assert line["mean"] == pytest.approx(
        probgen.score(probgen.load(fitted), "iris")["log_prob"].mean().item()
    )
    assert line["kind"] == "exact"
    good("fit", "independent", "--data", "iris", "--out", tmp_path / "b")
    good("score", tmp_path / "b", "--data", "iris")
    models = json.loads(good("compare", fitted, tmp_path / "b", "--json").stdout)["models"]
    assert [model["model"] for model in models] == ["iris", "b"]
    assert models[1]["difference"] < 0
    shown = good("show", fitted).stdout
    for word in ("components: 3", "log_pi", "nat", "samples.h5", "sha256"):
        assert word in shown
    good("show", fitted / "model.h5")


def test_diagnose_writes_what_python_says(fitted: Path) -> None:
    told = json.loads(good("diagnose", fitted, "--data", "iris", "-n", 100, "--json").stdout)
    found = probgen.diagnose(probgen.load(fitted), "iris", n=100)
    assert told["verdict"] == found.attrs["verdict"]
    assert {line["measure"]: line["value"] for line in told["measures"]} == found[
        "value"
    ].to_series().to_dict()
    with xr.open_datatree(fitted / "analyses" / "diagnose.h5") as tree:
        kept = tree["/probgen/diagnose"].to_dataset()
        xr.testing.assert_equal(kept[list(found.data_vars)], found)
        assert float(kept["precision"]) == float(found["value"].sel(measure="precision"))
        assert tree.attrs["features"] == "x, unchanged"
    with Image.open(fitted / "analyses" / "diagnose.measures.png") as picture:
        assert picture.size[0] > 800
    assert "samples compared with 75 rows" in good("diagnose", fitted, "--data", "iris").stdout


def test_given_from_a_file(fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text(
        "petal length,sepal width,sepal length,petal width\n1.4,,5.1,\n,3.0,6.0,\n"
    )
    good("sample", fitted, "-n", 5, "--given", tmp_path / "given.csv", "--out", tmp_path / "s.h5")
    with xr.open_datatree(tmp_path / "s.h5") as tree:
        x = tree["/probgen/samples/x"]
        assert x.dims == ("sample", "row", "feature")
        assert (x[:, 0, 0] == 5.1).all()
        assert (x[:, 1, 2].std() > 0).item()


def test_lists() -> None:
    assert "mixture" in good("families").stdout
    assert "regularization" in good("families", "mixture").stdout
    assert "digits" in good("datasets").stdout
    assert "1197" in good("datasets", "digits").stdout
    assert "quickstart" in good("recipes").stdout
    assert "[models.mixture]" in good("recipes", "quickstart").stdout
    assert "probgen.models.mixture:Mixture" in good("plugins").stdout
    assert probgen.__version__ in good("--version").stdout


def test_a_recipe_from_dry_run_to_check(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'title = "T"\n[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n[models.b]\nfamily = "independent"\n'
        "[expect.a]\nlog_prob = { at_least = -1.5 }\n"
    )
    out = tmp_path / "out"
    assert "no errors" in good("run", recipe, "--out", out, "--dry-run").stdout
    assert not out.exists()
    result = json.loads(good("run", recipe, "--out", out, "--check", "--json", "--quiet").stdout)
    assert [row["model"] for row in result["models"]] == ["a", "b"]
    assert result["expected"][0]["met"] is True
    assert result["models"][1]["difference"] < 0
    assert all(Path(picture).exists() for picture in result["pictures"])
    assert run("run", recipe, "--out", out).exit_code == 2
    good("run", recipe, "--out", out, "--resume")
    failed = run("run", recipe, "--out", out, "--force", "--check", "--set", "expect.a.log_prob.at_least=0.0")
    assert failed.exit_code == 1
    assert "1 of 1 figures are outside their expected bounds, e.g. log_prob = -1.4290" in failed.stderr
    good("run", out / "recipe.toml", "--out", tmp_path / "again")  # what a run wrote can be run


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("fit mixtur --data iris --out o", 3, "no family is called 'mixtur'; did you mean 'mixture'"),
        ("fit mixture --data irsi --out o", 2, "did you mean 'iris'"),
        ("fit mixture --data none.csv --out o", 2, "no file none.csv"),
        ("fit mixture --data iris --split test --out o", 2, "no splits"),
        ("fit mixture --data digits --split tset --out o", 2, "did you mean 'test'"),
        ("fit mixture --data iris --out o --set componets=3", 2, "did you mean 'components'"),
        ("fit mixture --data iris --out o --set components=0", 2, "components = 0"),
        ("fit mixture --data iris --out o --set components", 2, "NAME=VALUE"),
        ("fit mixture --data iris --out o --set components=1000", 2, "the data have only 150 rows"),
        ("fit mixture --data iris --out o --seed -1", 2, "seed = -1"),
        ("fit mixture --data iris --out o --set seed=3", 2, "Use --seed"),
        ("run quickstart --dry-run --set score.kk=3", 2, "unknown option 'kk'"),
        ("fit mixture --data iris --out o --device tpu", 2, "device = 'tpu'"),
        ("fit mixture --data iris --out /proc/o", 1, "cannot be written"),
        (
            "fit mixture --data iris --out o --set method=svi --set learning_rate=1e30 --set steps=20",
            4,
            "is nan",
        ),
        ("run nothing", 2, "no recipe is called 'nothing'"),
        ("run none.toml", 2, "No such file"),
        ("run quickstart --set models.mixture.componets=3", 2, "did you mean 'components'"),
        ("run quickstart --set dta.name=iris", 2, "unknown option 'dta'; did you mean 'data'"),
        (
            "run quickstart --set sample.m=3",
            2,
            "sample: unknown option 'm'; known: given, n, prompt",
        ),
        ("run quickstart --set data.name=digtis", 2, "did you mean 'digits'"),
        ("run quickstart --set score.split=tset", 2, "did you mean 'test'"),
        ("run quickstart --set models.mixture.family=mixtrue", 3, "did you mean 'mixture'"),
        ("run quickstart --set data.path=x", 2, "give either 'name' or 'path'"),
        ("sample none", 2, "there is no such run"),
        ("sample {run} -n 0", 2, "n = 0"),
        ("sample {run} --out none/a.h5", 2, "no folder none"),
        ("sample {run} --given none.csv", 2, "--given none.csv: there is no such file"),
        ("sample {run}/model.h5", 2, "is a file, not a run folder"),
        ("score {run} --data digits --force", 2, "a row of x has shape (8, 8)"),
        ("score {run} --data iris --set posterior=1 --force", 2, "posterior = 1"),
        ("compare {run} none", 2, "there are no scores"),
        ("diagnose none --data iris", 2, "there is no such run"),
        ("diagnose {run} --data digits", 2, "a row of x has shape (8, 8)"),
        (
            "diagnose {run} --data iris -n 49",
            2,
            "75 rows and 49 samples: a diagnosis needs at least 50 of each",
        ),
        ("diagnose {run} --data iris -n 0", 2, "n = 0"),
        ("diagnose {run} --data iris -k 75", 2, "k = 75: it must be at least 1"),
        ("diagnose {run} --data iris --out none", 2, "no such folder"),
        ("show none", 2, "none: there is no such file or folder"),
        ("show .", 2, "is not a run"),
        ("families nothing", 3, "no family is called 'nothing'"),
        ("datasets nothing", 3, "no data set is called 'nothing'"),
        ("recipes nothing", 2, "no recipe"),
        ("plugins new Bad-Name", 2, "lower-case"),
        ("plugins check nothing", 3, "no family"),
    ],
)
def test_what_is_wrong_is_one_line(
    args: str, code: int, message: str, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args.replace("{run}", str(fitted)).split())
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not result.stdout
    if code == 2:
        assert not list((tmp_path / "o").glob("[!.]*.*"))
        assert not list(tmp_path.rglob("*.tmp"))


def test_an_unfinished_run_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    result = run("sample", tmp_path / "run")
    assert result.exit_code == 2
    assert "holds no fitted model" in result.stderr


def test_help_is_quick_and_heavy_imports_wait() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom probgen.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['families']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['plugins']).exit_code == 0\n"
        "print(sorted({'torch', 'pyro', 'xarray', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_help_and_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # which there need not be
    for command in COMMANDS:
        assert "Usage" in good(command, "--help").stdout
    assert "complete" in CliRunner().invoke(app, ["--show-completion", "bash"]).output.lower()


def test_a_closed_pipe_is_quiet() -> None:
    probgen_ = str(Path(sys.executable).parent / "probgen")
    done = subprocess.run(
        f"{probgen_} recipes quickstart | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("title")
    assert not done.stderr
