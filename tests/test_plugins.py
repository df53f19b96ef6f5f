"""Plugins: listed unread, imported when used, and a broken one is named without harm to the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

import probgen
from probgen.contract.seeds import numpy_state
from probgen.errors import NotOffered, PluginError
from probgen.plugins.registry import find, registered

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
