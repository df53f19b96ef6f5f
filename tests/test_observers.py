"""Observers are told what a call is, what it does and what it makes; one that fails is named and changes nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.state import digest_of
from probgen.errors import Interrupted
from probgen.store.journal import read_journal, read_remarks
from probgen.testing.helpers import Stop

X = np.random.default_rng(0).standard_normal((60, 2))
FIT: dict[str, Any] = {"components": 2, "method": "svi", "steps": 8, "batch_size": 16}
Make = Callable[[str, str, dict[str, str]], None]


class Ear:
    """An observer that keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def of(self, hook: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.told if name == hook]

    @probgen.hookimpl
    def started(self, hook: str, family: str, run: Any, call: Any) -> None:
        self.told.append(("started", {"hook": hook, "family": family, "run": run, "call": call}))

    @probgen.hookimpl
    def restored(self, run: Any, stage: str, steps: int, metrics: Any, call: Any) -> None:
        self.told.append(("restored", {"stage": stage, "steps": steps, "metrics": metrics, "call": call}))

    @probgen.hookimpl
    def step(self, run: Any, stage: str, step: int, metrics: Any, call: Any) -> None:
        self.told.append(("step", {"stage": stage, "step": step, "metrics": metrics, "call": call}))

    @probgen.hookimpl
    def made(self, kind: str, path: Path, call: Any) -> None:
        assert path.is_file(), "a file is complete when it is told of"
        self.told.append(("made", {"kind": kind, "path": path, "call": call}))

    @probgen.hookimpl
    def ended(
        self, hook: str, family: str, run: Any, error: Any, call: Any, result: Any, seconds: float
    ) -> None:
        self.told.append(
            ("ended", {"hook": hook, "error": error, "result": result, "seconds": seconds, "call": call})
        )


class Broken:
    """An observer that fails in each hook."""

    @probgen.hookimpl
    def step(self) -> None:
        raise ValueError("no\nserver")


OBSERVER = """
import probgen
heard = []
@probgen.hookimpl
def started(hook, family):
    heard.append((hook, family))
@probgen.hookimpl
def step(stage, step, metrics):
    heard.append((stage, step, sorted(metrics)))
@probgen.hookimpl
def ended(hook, error):
    heard.append((hook, error))
"""


def test_registered_observers_are_told(distribution: Make) -> None:
    """An observer may leave out arguments: those of an earlier version are enough."""
    distribution("watch", "[probgen.observers]\nwatch = watch_observer\n", {"watch_observer.py": OBSERVER})
    probgen.fit("independent", X)
    heard = sys.modules["watch_observer"].heard
    assert heard[0] == ("fit", "independent")
    assert heard[1] == ("fit", 0, ["log_likelihood", "objective"])
    assert heard[-1] == ("fit", None)


def test_a_call_is_told_with_its_circumstances(tmp_path: Path) -> None:
    ear = Ear()
    with probgen.observing(ear):
        fitted = probgen.fit("mixture", X, out=tmp_path / "run", **FIT)
        probgen.fit("mixture", X, **FIT)
        draws = probgen.sample(fitted, 5)
        scores = probgen.score(fitted, X[:7])
    calls = [told["call"] for told in ear.of("started")]
    assert [call.hook for call in calls] == ["fit", "fit", "sample", "score"]
    assert len({call.id for call in calls}) == 4
    assert calls[0].options == fitted.options
    assert all(call.event == fitted.event for call in calls)
    assert calls[0].data == fitted.provenance["data"]
    assert calls[2].data["samples"] == 5
    assert calls[3].data == {"rows": 7, "sha256": scores.log_prob.attrs["rows"]}
    assert [call.folder for call in calls] == [tmp_path / "run", None, None, None]
    ended = ear.of("ended")
    assert [told["call"] for told in ended] == calls
    xr.testing.assert_identical(ended[0]["result"].to_tree(), fitted.to_tree())
    xr.testing.assert_identical(ended[2]["result"], draws)
    xr.testing.assert_identical(ended[3]["result"], scores)
    assert all(0 < told["seconds"] < 600 for told in ended)
    steps = [(told["call"].id, told["step"]) for told in ear.of("step") if told["stage"] == "fit"]
    assert steps == [(call.id, t) for call in calls[:2] for t in range(8)]
    assert [(told["kind"], told["path"], told["call"]) for told in ear.of("made")] == [
        ("model", tmp_path / "run" / "model.h5", calls[0])
    ]


class Meddler:
    """An observer that tries to change all that it receives, each attempt on its own."""

    def __init__(self) -> None:
        self.refused = 0

    def tried(self, *attempts: Callable[[], Any]) -> None:
        for attempt in attempts:
            try:
                attempt()
            except (AttributeError, ValueError, TypeError):  # read-only
                self.refused += 1

    @probgen.hookimpl
    def started(self, run: Any, call: Any) -> None:
        self.tried(lambda: setattr(run, "seed", 7), lambda: call.data.update(rows=3, sha256="no"))

    @probgen.hookimpl
    def step(self, run: Any, metrics: Any) -> None:
        self.tried(
            lambda: run.notes.append("an observer was here"),
            lambda: setattr(run, "notes", ["an observer was here"]),
            lambda: run.converged.update(fit=True),
            lambda: metrics.update(loss=0.0),
        )

    @probgen.hookimpl
    def ended(self, run: Any, result: Any) -> None:
        if isinstance(result, xr.Dataset):
            first = next(iter(result.data_vars))
            self.tried(
                lambda: result[first].values.__setitem__(..., 0),
                lambda: result.__delitem__(first),
                lambda: result.attrs.clear(),
            )
            return
        self.tried(
            lambda: result.provenance["notes"].append("an observer was here"),
            lambda: next(iter(result.module.parameters())).data.zero_(),
            lambda: next(iter(result.state.values())).values.__setitem__(..., 0),
            lambda: result.groups.clear(),
        )


def test_an_observer_cannot_change_a_result() -> None:
    """The same bits, notes and provenance with an observer that tries to change them; the next observer sees true metrics."""
    fitted = probgen.fit("mixture", X, **FIT)
    draws, scores = probgen.sample(fitted, 5), probgen.score(fitted, X)
    meddler, ear = Meddler(), Ear()
    with probgen.observing(meddler, ear):
        again = probgen.fit("mixture", X, **FIT)
        others = probgen.sample(again, 5), probgen.score(again, X)
    assert meddler.refused > 8
    assert {**again.provenance, "created": ""} == {**fitted.provenance, "created": ""}
    assert digest_of(again.state) == digest_of(fitted.state)
    assert again.groups.keys() == fitted.groups.keys()
    for found, expected in zip(others, (draws, scores), strict=True):
        xr.testing.assert_equal(found, expected)
        assert found.attrs.keys() == expected.attrs.keys()
    steps = [each["metrics"]["loss"] for each in ear.of("step") if each["metrics"]]
    np.testing.assert_array_equal(steps, fitted.history["loss"])


def test_an_error_is_told_without_a_result() -> None:
    ear = Ear()
    with probgen.observing(ear), pytest.raises(probgen.errors.DivergedError):
        probgen.fit("mixture", X, **{**FIT, "learning_rate": 1e300})
    (ended,) = ear.of("ended")
    assert isinstance(ended["error"], probgen.errors.DivergedError)
    assert ended["result"] is None


def test_steps_before_a_resume_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restored steps are those of the whole fit, and no step is told twice."""
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    whole = probgen.fit("mixture", X, **FIT).history["loss"].values
    with pytest.raises(Interrupted), probgen.observing(Stop(3)):
        probgen.fit("mixture", X, out=tmp_path, **FIT)
    ear = Ear()
    with probgen.observing(ear):
        probgen.fit("mixture", X, out=tmp_path, resume=True, **FIT)
    (restored,) = ear.of("restored")
    assert (restored["stage"], restored["steps"]) == ("fit", 3)
    np.testing.assert_array_equal(restored["metrics"]["loss"], whole[:3])
    assert [(t["step"], t["metrics"]["loss"]) for t in ear.of("step")] == list(enumerate(whole))[3:]


def test_each_file_of_a_recipe_is_told(tmp_path: Path) -> None:
    """All files but the request and the journal, each once, with the model and the recipe that they belong to."""
    ear, out = Ear(), tmp_path / "out"
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'title = "Two"\n[data]\nname = "iris"\n[models.a]\nfamily = "independent"\n'
        '[models.b]\nfamily = "mixture"\ncomponents = 2\n[sample]\nn = 20\n'
    )
    with probgen.observing(ear):
        done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    told = [each["path"] for each in ear.of("made")]
    there = {
        p for p in out.rglob("*") if p.is_file() and p.suffix in {".h5", ".png", ".html", ".tsv", ".csv"}
    }
    assert len(told) == len(set(told))
    assert set(told) == there
    for each in ear.of("made"):
        call, place = each["call"], each["path"].relative_to(out).parts
        assert call.recipe == "Two"
        assert call.model == (place[0] if len(place) > 1 else "")
        assert call.folder == (out / call.model if call.model else out)
    assert {each["kind"] for each in ear.of("made")} >= {
        "model",
        "samples",
        "scores",
        "rows",
        "picture",
        "report",
    }
    assert {(t["call"].model, t["call"].recipe, t["call"].folder) for t in ear.of("started")} == {
        (name, "Two", out / name) for name in "ab"
    }


@pytest.mark.parametrize("command", ["sample", "score"])
def test_files_of_commands_are_told(command: str, tmp_path: Path) -> None:
    probgen.fit("mixture", "iris", components=2, out=tmp_path)
    more = ["--data", "iris"] if command == "score" else ["--png", str(tmp_path / "draws.png")]
    ear = Ear()
    with probgen.observing(ear):
        assert CliRunner().invoke(app, [command, str(tmp_path), *more]).exit_code == 0
    told = [(each["kind"], each["path"].name, each["call"].folder) for each in ear.of("made")]
    wanted = {
        "sample": [("samples", "samples.h5"), ("picture", "draws.png")],
        "score": [("scores", "scores.h5")],
    }
    assert told == [(*each, tmp_path) for each in wanted[command]]


def test_parts_are_told(tmp_path: Path) -> None:
    fitted, ear = probgen.fit("mixture", X, **FIT), Ear()
    with probgen.observing(ear):
        parts = probgen.sample_to(tmp_path / "draws", fitted, 300) + probgen.score_to(
            tmp_path / "scores", fitted, X
        )
    assert [each["path"] for each in ear.of("made")] == parts
    assert [each["kind"] for each in ear.of("made")] == ["samples", "scores"]


def test_an_observer_that_fails_is_named_in_the_journal_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr with all warnings off, one in the journal, and the bits of a fit without it."""
    ear = Ear()
    with warnings.catch_warnings(), probgen.observing(Broken(), ear):
        warnings.simplefilter("ignore")
        fitted = probgen.fit("mixture", X, out=tmp_path, **FIT)
    assert digest_of(fitted.state) == digest_of(probgen.fit("mixture", X, **FIT).state)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(Broken) failed in 'step' and is disabled: ValueError: no server")
    assert [f"probgen: {remark}" for remark in read_remarks(tmp_path / "history.jsonl")] == [line]
    assert [each["step"] for each in read_journal(tmp_path / "history.jsonl")] == list(range(8))
    assert len(ear.of("step")) == 8
    shown = CliRunner().invoke(app, ["show", str(tmp_path)]).stdout
    assert read_remarks(tmp_path / "history.jsonl")[0] in " ".join(shown.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        (OBSERVER.replace("def started", "def statred"), "statred"),
        (OBSERVER.replace("def step(stage", "def step(stagge"), "stagge"),
        (OBSERVER.replace("heard.append((hook, family))", "raise SystemExit(3)"), "failed in 'started'"),
    ],
)
def test_a_broken_observer_is_named_and_the_fit_goes_on(
    text: str, message: str, distribution: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distribution("watch", "[probgen.observers]\nwatch = watch_observer\n", {"watch_observer.py": text})
    fitted = probgen.fit("mixture", X, out=tmp_path)
    assert fitted.history.sizes["step"] > 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "watch 1.0" in line
    assert message in line
    assert [f"probgen: {remark}" for remark in read_remarks(tmp_path / "history.jsonl")] == [line]


class Silent(Exception):
    """An error whose text cannot be read."""

    def __str__(self) -> str:
        raise TypeError("no text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Silent(), "Silent: its text cannot be read"),
        (ValueError("a\x1b[31m\nb"), "ValueError: a\\x1b[31m b"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_of_an_observer_is_one_harmless_line(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing:
        @probgen.hookimpl
        def started(self) -> None:
            raise error

    with probgen.observing(Failing()):
        assert probgen.fit("mixture", X, **FIT).history.sizes["step"] > 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"failed in 'started' and is disabled: {said}")


def test_a_closed_stderr_does_not_end_a_fit() -> None:
    code = """
import sys, numpy as np, probgen
class Broken:
    @probgen.hookimpl
    def step(self): 1 / 0
sys.stderr.close()
with probgen.observing(Broken()):
    print(probgen.fit("independent", np.ones((9, 2)) * np.arange(9)[:, None]).family)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["independent"]
