"""Analyses: the laws for the built-in ones, a stranger's from every door, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

import probgen
from probgen import recipes
from probgen.analyses import latent
from probgen.cli import app
from probgen.errors import InputError, NotOffered, PluginError
from probgen.testing import AnalysisLaws, spaces
from probgen.testing.analyses import MODELS

Make = Callable[..., None]


class TestComplete(AnalysisLaws):
    analysis = "complete"
    options = {"rows": 3, "n": 2}

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> probgen.Fitted:
        return probgen.fit("independent", data)


class TestConditionals(AnalysisLaws):
    analysis = "conditionals"
    options = {"rows": 3}


class TestLatent(AnalysisLaws):
    analysis = "latent"
    options = {"codes": 20, "rows": 3, "steps": 3, "side": 3, "clusters": 2}


class TestDiagnose(AnalysisLaws):
    analysis = "diagnose"
    options = {"n": 60}


class TestTranslate(AnalysisLaws):
    analysis = "translate"
    options = {"rows": 3, "beams": 2}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return probgen.datasets.pairs(["eins zwei", "zwei eins"] * 20, ["one two", "two one"] * 20)

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> probgen.Fitted:
        small = {"width": 8, "heads": 2, "layers": 1, "encoder_layers": 1, "epochs": 1}
        return probgen.fit("seq2seq", data, **small)


# the laws themselves

GOOD = '''"""Moments: mean and deviation of draws beside those of rows."""
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
import probgen

needs = "draws of real or whole numbers"


class Options(probgen.Options):
    n: int = 200


def applies(fitted):
    return fitted.definition.offers("sample") and fitted.event.support != "token"


def run(fitted, data, options, call):
    draws = probgen.sample(fitted, options.n, **call.common)["x"].values
    rows = data["x"].values.reshape(data.sizes["row"], -1)
    both = {"rows": rows.reshape(len(rows), -1), "draws": draws.reshape(len(draws), -1)}
    found = xr.Dataset({f"mean_of_{k}": ("feature", v.mean(0)) for k, v in both.items()})
    return found.assign(largest_gap=float(np.abs(found.mean_of_rows - found.mean_of_draws).max()))


def figures(found):
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(found["mean_of_rows"], found["mean_of_draws"], "o")
    return {"means": figure}
'''
BROKEN = {
    "test_same_seed_same_bits": ("float(np.abs", "float(np.random.default_rng().random() + np.abs"),
    "test_what_surrounds_it_is_left_alone": ("    draws =", "    np.random.seed(1)\n    draws ="),
    "test_results_and_figures_survive_a_file": (
        "    figure = Figure()",
        "    figure, _ = Figure(), found.attrs['not_kept_by_a_file'].append(1)",
    ),
    "test_every_dimension_is_named": ("largest_gap=float(", "largest_gap=np.inf * float(1 + "),
    "test_bad_input_is_refused_by_name": (
        "class Options(probgen.Options):",
        "class Options(probgen.Options):\n    model_config = {'extra': 'ignore'}",
    ),
    "test_a_model_that_it_does_not_apply_to_is_refused_with_what_it_needs": (
        'needs = "draws of real or whole numbers"',
        'needs = " "',
    ),
}


def breaks(text: str, law: str, tmp_path: Path) -> str:
    """What the law says against an analysis, or nothing."""
    import types

    source = types.ModuleType("mine")
    exec(compile(text, "mine.py", "exec"), source.__dict__)  # noqa: S102 (our own text)
    laws = type("Laws", (AnalysisLaws,), {"analysis": source, "options": {}})()
    data = AnalysisLaws.data.__wrapped__(laws)  # type: ignore[attr-defined]
    known: dict[str, Any] = {"data": data, "fitted": probgen.fit("independent", data), "tmp_path": tmp_path}
    method = getattr(laws, law)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    try:
        method(**{name: known[name] for name in names})
    except (Exception, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("law", BROKEN)
def test_a_good_analysis_breaks_no_law_and_a_broken_one_is_caught(law: str, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    assert not breaks(GOOD, law, tmp_path / "good")
    assert BROKEN[law][0] in GOOD
    assert breaks(GOOD.replace(*BROKEN[law]), law, tmp_path)


def test_every_law_is_broken_by_one() -> None:
    assert {name for name in dir(AnalysisLaws) if name.startswith("test_")} == set(BROKEN)


# a stranger's analysis


@pytest.fixture
def stranger(distribution: Make) -> None:
    assert GOOD.count("\n") <= 60
    distribution("odd", "[probgen.analyses]\nmoments = odd_moments\n", {"odd_moments.py": GOOD})


RECIPE = """
[data]
name = "iris"
[models.a]
family = "independent"
[models.b]
family = "mixture"
components = 2
[score]
split = "train"
[moments]
n = 50
[expect.a]
largest_gap = { at_most = 3.0 }
"""


def test_a_stranger_is_listed_run_from_a_recipe_the_command_line_and_python(
    stranger: None, tmp_path: Path
) -> None:
    listed = CliRunner().invoke(app, ["analyses", "--json"])
    assert {row["analysis"] for row in json.loads(listed.stdout)} >= {"moments", "latent"}
    shown = CliRunner().invoke(app, ["analyses", "moments"])
    assert "odd 1.0" in shown.stdout
    assert "needs: draws of real" in shown.stdout
    (tmp_path / "r.toml").write_text(RECIPE.replace('[score]\nsplit = "train"\n', ""))
    plan = recipes.read(str(tmp_path / "r.toml"))
    results = list(recipes.execute(plan, tmp_path / "out"))
    assert all(line["met"] for line in recipes.expectations(plan, results))
    for result in results:
        assert (result.run / "analyses" / "moments.means.png") in result.pictures
        with xr.open_datatree(result.run / "analyses" / "moments.h5") as tree:
            kept = tree["/probgen/moments"].load().to_dataset()
        assert result.figures["largest_gap"] == float(kept["largest_gap"])
        assert json.loads(kept.attrs["options"]) == {"n": 50}
    run = tmp_path / "out" / "a"
    fitted = probgen.load(run)
    found = probgen.analyze("moments", fitted, "iris", n=50)
    assert float(found["largest_gap"]) == results[0].figures["largest_gap"]
    assert found.attrs["analysis_origin"] == "odd 1.0"
    assert set(probgen.figures_of(found)) == {"means"}
    told = CliRunner().invoke(
        app, ["analyze", "moments", str(run), "--data", "iris", "--set", "n=50", "--json"]
    )
    assert json.loads(told.stdout)["figures"] == {"largest_gap": float(found["largest_gap"])}
    with Image.open(run / "analyses" / "moments.means.png") as picture:
        assert picture.size[0] > 100


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("[moments]", "[momnets]"), 2, "unknown option 'momnets'; did you mean 'moments'?"),
        (("n = 50", "m = 50"), 2, "moments: unknown option 'm'; known: n"),
        (("[moments]\nn = 50", "moments = 3\n[sample]"), 2, "moments: a table of options is needed, not 3"),
    ],
)
def test_a_wrong_table_is_one_line_and_nothing_is_written(
    change: tuple[str, str], code: int, message: str, stranger: None, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(
        RECIPE.replace(*change)
        if "moments = 3" not in change[1]
        else "moments = 3\n" + RECIPE.replace("[moments]\nn = 50\n", "")
    )
    done = CliRunner().invoke(app, ["run", str(tmp_path / "r.toml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    draws =", "    1 / 0\n    draws ="), "analysis 'moments' .odd 1.0., run: ZeroDivisionError"),
        (("return found.assign", "return 3\n    return found.assign"), "run: returned int, not a Dataset"),
        (
            ("return fitted.definition.offers", "1 / 0\n    return fitted.definition.offers"),
            "applies: ZeroDivisionError",
        ),
        (("    figure = Figure()", "    1 / 0\n    figure = Figure()"), "figures: ZeroDivisionError"),
        (("def figures", "def pictures"), "has no 'figures'"),
        (("import numpy", "import no_such_module\nimport numpy"), "cannot be imported: ModuleNotFoundError"),
        (
            ('("feature", v.mean(0))', '("feature", np.array([{}] * 4, dtype=object))'),
            "unsupported operand|cannot be stored",
        ),
    ],
)
def test_a_failure_names_distribution_and_part(
    change: tuple[str, str], message: str, distribution: Make, tmp_path: Path
) -> None:
    assert change[0] in GOOD
    text = GOOD.replace(*change)
    distribution("odd", "[probgen.analyses]\nmoments = odd_moments\n", {"odd_moments.py": text})
    fitted = probgen.fit("independent", "iris")
    with pytest.raises(PluginError, match=message) as caught:
        probgen.analyze("moments", fitted, "iris", out=tmp_path)
    assert "odd 1.0" in str(caught.value)
    assert not list(tmp_path.rglob("*.h5"))
    assert not list(tmp_path.rglob("*.png"))


def test_what_does_not_apply_says_why_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        '[data]\nname = "digits-binary"\nrows = 60\n[models.a]\nfamily = "independent"\n'
        '[models.b]\nfamily = "vae"\nepochs = 1\nhidden = [8]\n[latent]\ncodes = 20\nrows = 2\n'
    )
    a, b = recipes.execute(recipes.read(str(tmp_path / "r.toml")), tmp_path / "out")
    assert a.notes == [
        f"latent was left out: analysis 'latent' does not apply to 'independent': it needs {latent.needs}"
    ]
    assert not b.notes
    assert (b.run / "analyses" / "latent.h5").exists()
    done = CliRunner().invoke(app, ["analyze", "latent", str(a.run), "--data", "digits-binary"])
    assert done.exit_code == 2
    assert "it needs a latent vector" in done.stderr
    assert not (a.run / "analyses").exists()


SEVERAL = '''"""Gap: the difference of the mean scores of two models."""
import numpy as np
import xarray as xr
import probgen

needs = "scores"
several = True


class Options(probgen.Options):
    pass


def applies(fitted):
    return fitted.definition.offers("score")


def run(fitted, data, options, call):
    means = [float(probgen.score(model, data, **call.common)["log_prob"].mean()) for model in fitted.values()]
    return xr.Dataset({"gap": ("model", np.array(means) - max(means))}, {"model": list(fitted)})


def figures(found):
    return {}
'''


def test_an_analysis_of_several_models_comes_last(distribution: Make, tmp_path: Path) -> None:
    distribution("odd", "[probgen.analyses]\ngap = odd_gap\n", {"odd_gap.py": SEVERAL})
    (tmp_path / "r.toml").write_text(
        RECIPE.replace("[moments]\nn = 50\n", "[gap]\n")
        .replace("largest_gap", "gap")
        .replace('[score]\nsplit = "train"\n', "")
    )
    results = list(recipes.execute(recipes.read(str(tmp_path / "r.toml")), tmp_path / "out"))
    means = {result.model: result.figures["log_prob"] for result in results}
    for result in results:
        assert result.figures["gap"] == pytest.approx(means[result.model] - max(means.values()))
    assert (tmp_path / "out" / "analyses" / "gap.h5").exists()
    runs = [str(tmp_path / "out" / name) for name in "ab"]
    done = CliRunner().invoke(
        app, ["analyze", "gap", *runs, "--data", "iris", "--out", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "analyses" / "gap.h5").exists()
    with pytest.raises(InputError, match="'latent' accepts one model, but 2 were given"):
        probgen.analyze("latent", {run: probgen.load(run) for run in runs}, "iris")


def test_force_removes_analyses_and_figures_of_the_family(tmp_path: Path) -> None:
    """A run that another family replaces keeps nothing of the old one, and what is not of a run stays."""
    data = spaces.example("binary")
    fitted = probgen.fit("independent", data, out=tmp_path)
    probgen.analyze("complete", fitted, data, out=tmp_path, hide="last")
    (tmp_path / "pictures").mkdir()
    for stale in ("pictures/game.png", "analyses/mine.h5", "analyses/mine.tsv"):
        (tmp_path / stale).write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine")
    probgen.fit("made", data, hidden=4, epochs=1, out=tmp_path, force=True)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "checkpoints", "history.jsonl", "model.h5", "notes.txt", "recipe.toml",
    ]  # fmt: skip


def test_force_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.h5").write_bytes(b"kept")
    run = tmp_path / "run"
    probgen.fit("independent", spaces.example("binary"), out=run)
    (run / "analyses").symlink_to(tmp_path / "elsewhere")
    probgen.fit("independent", spaces.example("binary"), out=run, force=True)
    assert (tmp_path / "elsewhere" / "a.h5").read_bytes() == b"kept"


def test_decode_of_families_without_a_decoder_is_refused() -> None:
    fitted = probgen.fit(MODELS[0][0], spaces.example("binary"))
    with pytest.raises(NotOffered, match="'independent' does not decode latents"):
        probgen.decode(fitted, {"z": np.zeros(2)})
    vae = probgen.fit("vae", spaces.example("binary"), latent=2, hidden=(8,), epochs=1)
    with pytest.raises(InputError, match="decode from nothing until x requires 'z' as well"):
        probgen.decode(vae, {})
    assert probgen.decode(vae, {"z": np.zeros((300, 2))})["x"].shape == (300, 4)
