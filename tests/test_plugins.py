"""Plugins: listed unread, imported when used, and a broken one is named without harm to the rest."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

import probgen
import probgen.testing
from probgen.cli import app
from probgen.contract.seeds import numpy_state
from probgen.errors import InputError, NotOffered, PluginError
from probgen.plugins.registry import find, registered
from probgen.testing import check

X = np.random.default_rng(0).standard_normal((20, 2))

GOOD = """
import torch, probgen
from probgen import hookimpl, Options
def build(options, event):
    return torch.nn.Linear(2, 1)
@hookimpl
def fit(module, data, run):
    run.train(lambda t: {"loss": 0.0}, 2, keep={"module": module})
@hookimpl
def sample(fitted, n):
    return {"x": torch.zeros(n, 2)}
"""
Make = Callable[[str, str, dict[str, str]], None]


def family(name: str, module: str) -> str:
    return f"[probgen.families]\n{name} = {module}\n"


def test_a_stranger_enters_by_the_same_door(distribution: Make) -> None:
    distribution("stranger", family("odd", "odd_family"), {"odd_family.py": GOOD})
    assert find("families", "odd").distribution == "stranger"
    fitted = probgen.fit("odd", X)
    assert probgen.sample(fitted, 3)["x"].shape == (3, 2)
    with pytest.raises(
        NotOffered, match=r"family 'odd' does not implement score\. It implements: fit, sample"
    ):
        probgen.score(fitted, X)


def test_a_broken_import_is_named_and_harms_nothing(distribution: Make) -> None:
    distribution("broken", family("bad", "bad_family"), {"bad_family.py": "import no_such_module"})
    with pytest.raises(
        PluginError, match=r"'bad' \(bad_family, broken 1.0\).*no_such_module.*pip uninstall broken"
    ):
        probgen.fit("bad", X)
    assert "bad" in registered("families")
    assert probgen.fit("independent", X).family == "independent"


def test_two_of_one_name(distribution: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution("one", family("twice", "first_family"), {"first_family.py": GOOD})
    distribution("two", family("twice", "second_family"), {"second_family.py": GOOD})
    with pytest.raises(PluginError, match=r"more than one family is called 'twice'.*one 1.0.*two 1.0"):
        probgen.fit("twice", X)
    monkeypatch.setenv("PROBGEN_DISABLE_PLUGINS", "two")
    assert probgen.fit("twice", X).provenance["family_origin"] == "one 1.0"


def test_a_builtin_is_not_shadowed(distribution: Make) -> None:
    distribution("shadow", family("mixture", "shadow_family"), {"shadow_family.py": GOOD})
    with pytest.raises(PluginError, match="more than one"):
        probgen.fit("mixture", X)


@pytest.mark.parametrize("blocked", ["odd", "stranger", "*", "mixture, stranger"])
def test_blocking(blocked: str, distribution: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution("stranger", family("odd", "odd_family"), {"odd_family.py": GOOD})
    monkeypatch.setenv("PROBGEN_DISABLE_PLUGINS", blocked)
    with pytest.raises(PluginError, match="blocked"):
        probgen.fit("odd", X)


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def sample(", "def smaple("), "smaple"),
        (("@hookimpl\ndef sample", "def sample"), "'sample' lacks its marker"),
        (("def sample(fitted, n)", "def sample(fitted, number)"), "number"),
        (("hookimpl, Options", "hookimpl"), "has no 'Options'"),
        (("def build", "def biuld"), "has no 'build'"),
        (("return torch.nn.Linear(2, 1)", "return 3"), "returned no torch module"),
        (("return torch.nn.Linear(2, 1)", "return 1 / 0"), "build: ZeroDivisionError"),
        (("run.train(", "1 / 0; run.train("), "fit: ZeroDivisionError"),
        (("run.train(", "return 3; run.train("), "fit: returned int. Return None"),
        (("run.train(", "raise SystemExit(0); run.train("), "fit: SystemExit"),
        (
            ("run.train(", "module.register_buffer('a/b', torch.zeros(1)); run.train("),
            r"fit: array 'a/b' of the state has shape \(1,\) after the fit, and does not exist after `build`",
        ),
        (("run.train(", "module.dims = {'weight': ('a', 'a')}; run.train("), "fit: .*cannot be stored"),
    ],
)
def test_misbehavior_at_fit_is_named(change: tuple[str, str], message: str, distribution: Make) -> None:
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": GOOD.replace(*change)})
    with pytest.raises(PluginError, match=message) as caught:
        probgen.fit("rogue", X)
    assert "rogue 1.0" in str(caught.value)


@pytest.mark.parametrize(
    ("result", "message"),
    [("None", "returned NoneType"), ("{'y': 1}", "with 'x'"), ("{'x': torch.zeros(n + 1, 2)}", "must be")],
)
def test_misbehavior_at_sample_is_named(result: str, message: str, distribution: Make) -> None:
    text = GOOD.replace('{"x": torch.zeros(n, 2)}', result)
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    with pytest.raises(PluginError, match=message):
        probgen.sample(probgen.fit("rogue", X), 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("torch.set_default_dtype(torch.float64)", "torch's default dtype"),
        ("import numpy; numpy.random.rand()", "NumPy's global generator"),
        ("import random; random.random()", "Python's global generator"),
    ],
)
def test_changes_of_global_state_are_named_and_undone(line: str, message: str, distribution: Make) -> None:
    text = GOOD.replace("    run.train(", f"    {line}\n    run.train(")
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    before = numpy_state()
    with pytest.warns(UserWarning, match=f"rogue 1.0.*{message}"):
        probgen.fit("rogue", X)
    assert torch.get_default_dtype() == torch.float32
    assert numpy_state() == before


def test_nothing_is_imported_to_list(distribution: Make) -> None:
    distribution("broken", family("bad", "bad_family"), {"bad_family.py": "raise SystemExit(9)"})
    code = (
        "import sys; import probgen, probgen.cli\nfrom probgen.plugins.registry import registered\n"
        "assert 'bad' in registered('families')\n"
        "assert not {'torch', 'pyro', 'xarray', 'bad_family'} & set(sys.modules)"
    )
    path = ":".join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_global_state_is_restored_where_a_hook_fails(distribution: Make) -> None:
    text = GOOD.replace("    run.train(", "    torch.set_default_dtype(torch.float64); 1 / 0\n    run.train(")
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        probgen.fit("rogue", X)
    assert torch.get_default_dtype() == torch.float32


def test_a_fit_needs_no_gradients_outside() -> None:
    with torch.no_grad():
        assert probgen.fit("mixture", X, method="svi", steps=2).family == "mixture"


OWN = """
import pytest
from probgen.testing import FamilyLaws

class TestOdd(FamilyLaws):
    family = "odd"

    @pytest.fixture
    def data(self):
        DATA

class TestAnother(FamilyLaws):
    family = "independent"

for law in dir(FamilyLaws):
    if law.startswith("test_") and law != "test_files_open_without_probgen":
        setattr(TestOdd, law, None)
"""


def with_tests(make: Make, folder: Path, tests: str) -> None:
    """A family in an editable installation, with a test file in its source tree."""
    sys.modules.pop("test_odd", None)  # of another test: a check runs in a process of its own
    source = folder / "source of odd"
    (source / "tests").mkdir(parents=True)
    (source / "tests" / "test_odd.py").write_text(tests)
    make("stranger", family("odd", "odd_family"), {"odd_family.py": GOOD})
    about = {"url": source.as_uri(), "dir_info": {"editable": True}}
    (folder / "stranger-1.0.dist-info" / "direct_url.json").write_text(json.dumps(about))


def test_a_check_uses_the_test_classes_of_the_package(
    distribution: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of the family alone, which are named; its data have three columns, which no data of the kit have."""
    data = "import numpy as np, xarray as xr; return xr.Dataset({'x': (('row', 'feature'), np.eye(3))})"
    with_tests(distribution, tmp_path, OWN.replace("DATA", data))
    assert check("odd") == 0
    shown = capfd.readouterr().out
    assert "test class TestOdd of" in shown
    assert "TestAnother" not in shown
    assert "1 passed" in shown


def test_a_check_that_tests_nothing_is_refused(distribution: Make, tmp_path: Path) -> None:
    with_tests(distribution, tmp_path, OWN.replace("DATA", "pytest.skip('no data here')"))
    done = CliRunner().invoke(app, ["plugins", "check", "odd"])
    assert done.exit_code == 3
    assert "no law was tested, because every law was skipped" in done.stderr


def test_a_check_tries_counts(distribution: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family is tested with each kind of data that it declares."""
    text = GOOD + "supports = {'count'}\n"
    distribution("stranger", family("odd", "odd_family"), {"odd_family.py": text})
    monkeypatch.setenv("PROBGEN_CHECK", "odd")
    suite = runpy.run_path(str(Path(probgen.testing.__file__).with_name("family_suite.py")))
    found = {name: tests.support for name, tests in suite.items() if name.startswith("Test")}
    assert found == {"TestFamilyOfCounts": "count"}


def test_conditions_of_a_family_without_them_are_refused(distribution: Make) -> None:
    """A hook without the argument `given` would ignore them."""
    distribution("stranger", family("odd", "odd_family"), {"odd_family.py": GOOD})
    fitted = probgen.fit("odd", X)
    with pytest.raises(NotOffered, match=r"family 'odd' does not sample given 'x'"):
        probgen.sample(fitted, 3, given={"x": [0.5, np.nan]})


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("{'x': torch.zeros(n, 3)}", r"'x' has shape \(3, 3\); it must be \(row = 3, feature = 2\)"),
        ("{'x': torch.full((n, 2), float('nan'))}", r"'x' is NaN in row 0 at \(0,\)"),
        ("{'x': torch.zeros(n, 2).to_sparse()}", "dense tensor"),
        ("{'x': torch.zeros(n, 2).numpy()}", "'x' is of type ndarray. Return a torch tensor"),
        ("{'x': torch.zeros(n, 2), 'row': torch.zeros(n)}", "'row' is that of a dimension"),
    ],
)
def test_an_array_of_another_form_is_named(result: str, message: str, distribution: Make) -> None:
    text = GOOD.replace('{"x": torch.zeros(n, 2)}', result)
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    with pytest.raises(PluginError, match=rf"family 'rogue' \(rogue 1.0\), sample: .*{message}"):
        probgen.sample(probgen.fit("rogue", X), 3)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("None", "returned NoneType, not a Dataset"),
        ("log_prob(torch.zeros(n, 2), **EXACT)", r"values has dtype float32 and shape \(20, 2\)"),
        ("log_prob(torch.full((n,), float('nan')), **EXACT)", "'log_prob' is NaN in row 0"),
        ("log_prob(torch.zeros(n + 1), **EXACT)", r"'log_prob' has \{'row': 21\} for 20 rows"),
        ("log_prob(torch.zeros(n), **{**EXACT, 'measure': 'counting'})", "Use measure='lebesgue'"),
        ("xr.Dataset({'log_prob': ('row', np.zeros(n), {'kind': 'true'})})", "kind = 'true'"),
        ("xr.Dataset({'log_prob': ('row', np.array([{}] * n))})", "has dtype object"),
        ("xr.Dataset(coords={'row': range(n)})", "returned no score"),
    ],
)
def test_misbehavior_at_score_is_named(result: str, message: str, distribution: Make) -> None:
    text = GOOD + (
        "import numpy as np, xarray as xr\nfrom probgen import log_prob\n"
        "EXACT = {'kind': 'exact', 'estimator': 'exact', 'measure': 'lebesgue'}\n"
        f"@hookimpl\ndef score(data):\n    n = len(data['x'])\n    return {result}\n"
    )
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    with pytest.raises(PluginError, match=rf"family 'rogue' \(rogue 1.0\), score: .*{message}"):
        probgen.score(probgen.fit("rogue", X), X)


def test_values_whose_squares_overflow_are_blamed_on_the_rows(distribution: Make) -> None:
    """One value is too large for any family that squares in float32; NaN for other rows is an error of the plugin."""
    text = GOOD.replace("return torch.nn.Linear(2, 1)", "return Module()") + (
        "from probgen import log_prob\n"
        "@hookimpl\ndef score(data):\n    x = data['x'].float()\n"
        "    return log_prob((x * x - x * x).sum(1), kind='exact', estimator='exact', measure='lebesgue')\n"
        "class Module(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(2, 1)\n        self.latents = {'z': ('code',)}\n"
        "    def decode(self, start, until='x'):\n        return start['z']\n"
        "    def encoded(self, x):\n        return {'z': x * x - x * x}\n"
    )
    distribution("square", family("square", "square_family"), {"square_family.py": text})
    fitted = probgen.fit("square", X)
    far = np.asarray(X).copy()
    far[3, 1] = -1e30
    for call in (probgen.score, probgen.encode):
        assert call(fitted, np.where(far == -1e30, -1e19, far))
        with pytest.raises(
            InputError, match=r"x has a value of size 1e\+30, whose square overflows in float32"
        ):
            call(fitted, far)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("accepts = {'weights'}", "accepts = {'weights'}. Use a set of: observed, weight"),
        ("supports = 'real'", "supports = 'real'. Use a set of: real"),
        ("dtype = 'float16'", "dtype = 'float16'. Use 'float32' or 'float64'"),
        ("Options = dict", "Use a subclass of probgen.Options"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_named(line: str, message: str, distribution: Make) -> None:
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": f"{GOOD}{line}\n"})
    with pytest.raises(PluginError, match=re.escape(message)):
        probgen.fit("rogue", X)


@pytest.mark.parametrize(
    ("latents", "decode", "encoded", "message"),
    [
        ("['z']", "None", "None", r"build: module.latents = \['z'\]"),
        ("{'z': 'code'}", "None", "None", r"build: module.latents\['z'\] = 'code'"),
        ("{'x': ('code',)}", "None", "None", "build: a latent or place is called 'x'"),
        ("{'z': ('code',)}", "None", "{'z': x}", "decode: 'x' is of type NoneType"),
        ("{'z': ('code',)}", "start['z'][:, :1]", "{'z': x}", r"decode: 'x' has shape \(4, 1\)"),
        ("{'z': ('code',)}", "start['z']", "None", "encode: returned NoneType"),
        ("{'z': ('code',)}", "start['z']", "{'w': x}", r"encode: returned \['w'\], but the latents"),
        (
            "{'z': ('code',)}",
            "start['z']",
            "{'z': x[:, 0]}",
            r"'z' has shape \(20,\); it must be \(row = 20, code\)",
        ),
        ("{'z': ('code',)}", "start['z']", "{'z': x / 0 - x / 0}", "'z' is NaN in row 0 at"),
    ],
)
def test_misbehavior_of_a_module_is_named(
    latents: str, decode: str, encoded: str, message: str, distribution: Make
) -> None:
    text = GOOD.replace("return torch.nn.Linear(2, 1)", "return Module()") + (
        "class Module(torch.nn.Linear):\n"
        f"    def __init__(self):\n        super().__init__(2, 1)\n        self.latents = {latents}\n"
        f"    def decode(self, start, until='x'):\n        return {decode}\n"
        f"    def encoded(self, x):\n        return {encoded}\n"
    )
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})

    def used() -> None:
        fitted = probgen.fit("rogue", X)
        probgen.decode(fitted, {"z": np.zeros((4, 2))})
        probgen.encode(fitted, X)

    with pytest.raises(PluginError, match=rf"family 'rogue' \(rogue 1.0\), .*{message}"):
        used()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("shift = 0.5", "changed 'shift' of the module"),
        ("means = [torch.ones(2)]", "changed 'means' of the module"),
        ("helper = Helper(3.0)", "changed 'helper' of the module"),
    ],
)
def test_numbers_outside_of_the_state_are_told(change: str, message: str, distribution: Make) -> None:
    """A fit that keeps what it learns in an attribute, in a container, or in an object such as an estimator."""
    text = GOOD.replace("    run.train(", f"    module.{change}\n    run.train(")
    text += "class Helper:\n    def __init__(self, mean):\n        self.mean = mean\n"
    distribution("rogue", family("rogue", "rogue_family"), {"rogue_family.py": text})
    with pytest.warns(UserWarning, match=rf"family 'rogue' \(rogue 1.0\), fit {message}"):
        probgen.fit("rogue", X)


class Analysis:
    """An analysis whose parts a test replaces."""

    Options = probgen.Options
    needs = "nothing"

    @staticmethod
    def applies(fitted: probgen.Fitted) -> Any:
        return True

    @staticmethod
    def run(fitted: probgen.Fitted, data: Any, options: Any, call: Any) -> Any:
        return xr.Dataset({"a": 1.0})

    @staticmethod
    def figures(found: xr.Dataset) -> Any:
        return {}


@pytest.mark.parametrize(
    ("part", "result", "message"),
    [
        ("applies", None, "applies: returned NoneType. Return True or False"),
        ("run", None, "run: returned NoneType, not a Dataset"),
        ("run", xr.Dataset({3: 1.0}), "run: the name 3 cannot be stored"),
        ("run", xr.Dataset({"a": ("k", np.array([{}]))}), "run: 'a' has dtype object"),
        ("figures", None, "figures: returned NoneType. Return a dict of Matplotlib figures"),
        ("figures", {"a": 3}, "figures: 'a' is of type int"),
        ("figures", {"a/b": 3}, "figures: the name 'a/b' cannot be stored"),
    ],
)
def test_misbehavior_of_an_analysis_is_named(part: str, result: Any, message: str, tmp_path: Path) -> None:
    rogue = type("Rogue", (Analysis,), {part: staticmethod(lambda *_: result)})
    fitted = probgen.fit("independent", X)
    with pytest.raises(PluginError, match=rf"analysis 'Rogue' \(Rogue\), {message}"):
        probgen.analyze(rogue, fitted, X, out=tmp_path)
