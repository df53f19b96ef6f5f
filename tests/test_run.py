"""The loop: keyed seeds, checkpoints, resume to the same bits, divergence, signals."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import probgen
from probgen.contract.run import Run
from probgen.contract.state import digest_of
from probgen.errors import DivergedError, FileError, InputError, Interrupted, PluginError, RunError
from probgen.store.claim import Claim
from probgen.store.folder import RunFolder
from probgen.store.trees import read_dataset, write_dataset
from probgen.testing.helpers import Stop
from tests.trust import child


class Counter:
    """State that a step depends on."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def state_dict(self) -> dict[str, object]:
        return {"values": torch.tensor(self.values, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, torch.Tensor], /) -> None:
        self.values = state["values"].tolist()


def test_steps_are_seeded_by_stage_and_number() -> None:
    run, kept, other = Run(3), Counter(), Counter()
    run.train(lambda t: kept.values.append(torch.rand(()).item()) or {}, 5, keep={"kept": kept})
    run.train(
        lambda t: other.values.append(torch.rand(()).item()) or {}, 5, keep={"other": other}, stage="other"
    )
    again = Counter()
    Run(3).train(lambda t: again.values.append(torch.rand(()).item()) or {}, 3, keep={"again": again})
    assert again.values == kept.values[:3]
    assert not set(kept.values) & set(other.values)
    assert len(set(kept.values)) == 5


def test_done_ends_a_stage_and_history_keeps_metrics() -> None:
    run = Run()
    run.train(lambda t: {"loss": 1.0 / (t + 1), "done": t == 2}, 10, keep={}, stage="codes")
    run.train(lambda t: {"other": float(t)}, 2, keep={}, stage="prior")
    history = run.history()
    assert history["stage"].values.tolist() == ["codes"] * 3 + ["prior"] * 2
    assert history["step"].values.tolist() == [0, 1, 2, 0, 1]
    assert history["loss"].values[:3].tolist() == [1.0, 0.5, 1 / 3]
    assert np.isnan(history["loss"].values[3:]).all()
    assert history["loss"].attrs["units"] == "nat"


def test_stages_are_restored_and_skipped(tmp_path: Path) -> None:
    """A stage that had ended is not run again, and the next one goes on where it was."""
    calls: list[str] = []

    def fit(fail_at: int | None) -> list[float]:
        with RunFolder(tmp_path) as folder:
            run, kept = Run(folder=folder), Counter()

            def step(t: int) -> dict[str, float]:
                calls.append(f"{run.stage}-{t}")
                if run.stage == "b" and t == fail_at:
                    raise OSError("power cut")
                kept.values.append(torch.rand(()).item())
                return {"value": kept.values[-1]}

            run._pause = 0.0
            run.train(step, 3, keep={"kept": kept}, stage="a")
            run.train(step, 4, keep={"kept": kept}, stage="b")
            assert run.history()["value"].values.tolist() == kept.values
            run.close()
            return kept.values

    with pytest.raises(OSError, match="power cut"):
        fit(2)
    calls.clear()
    resumed = fit(None)
    assert calls == ["b-2", "b-3"]
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    (tmp_path / "history.jsonl").unlink()
    assert fit(None) == resumed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_divergence_is_named(value: float) -> None:
    network = torch.nn.Linear(1, 1)

    def step(t: int) -> dict[str, float]:
        if t == 2:
            with torch.no_grad():
                network.weight.fill_(value)
        return {"loss": network.weight.sum().item() if t >= 2 else 1.0}

    with pytest.raises(DivergedError, match=r"fit step 2: loss is .*'network.weight'"):
        Run().train(step, 5, keep={"network": network})


FIT = """
import sys, numpy as np, probgen
x = np.random.default_rng(0).standard_normal((60, 2))
probgen.fit("mixture", x, components=2, method="svi", steps=40, batch_size=16, out=sys.argv[1],
            resume=len(sys.argv) > 2)
"""


def resume(out: Path) -> subprocess.Popen[str]:
    """The fit, gone on with in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(out), "resume"],
        env={**os.environ, "PROBGEN_CHECKPOINT_SECONDS": "0", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.fixture(scope="module")
def whole() -> probgen.Fitted:
    """The same fit, not disturbed."""
    x = np.random.default_rng(0).standard_normal((60, 2))
    return probgen.fit("mixture", x, components=2, method="svi", steps=40, batch_size=16)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process that is killed is a fork")
@pytest.mark.parametrize("steps", [1, 7, 39])
def test_killed_and_resumed_is_the_same(
    steps: int, whole: probgen.Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after a step; the fit that goes on ends in the arrays of the one that was not disturbed."""
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    x = np.random.default_rng(0).standard_normal((60, 2))
    request: dict[str, Any] = {
        "components": 2, "method": "svi", "steps": 40, "batch_size": 16, "out": tmp_path / "cut"
    }  # fmt: skip

    def killed(tell: Any) -> None:
        with probgen.observing(Stop(steps, signal.SIGKILL)):
            probgen.fit("mixture", x, **request)

    assert child.run(killed).code == -signal.SIGKILL
    assert not (tmp_path / "cut" / "model.h5").exists()
    probgen.fit("mixture", x, resume=True, **request)
    cut = probgen.load(tmp_path / "cut")
    assert digest_of(whole.state) == digest_of(cut.state)
    assert digest_of(whole.history) == digest_of(cut.history)
    assert not list((tmp_path / "cut" / "checkpoints").iterdir())


def test_signals_end_the_command_with_their_code(tmp_path: Path) -> None:
    """SIGINT and SIGTERM: the step ends, a checkpoint is written, and the exit code says which it was."""
    command = [str(Path(sys.executable).parent / "probgen"), "fit", "mixture", "--data", "iris"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = tmp_path / str(code)
        process = subprocess.Popen(
            [*command, "--set", "method=svi", "--set", "steps=100000", "--out", str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        limit = time.monotonic() + 60
        while not ((out / "history.jsonl").exists() and (out / "history.jsonl").stat().st_size > 500):
            assert time.monotonic() < limit
            time.sleep(0.05)
        process.send_signal(number)
        returned, errors = finish(process)
        assert returned == code, errors
        assert "Resume with --resume" in errors
        assert len(errors.strip().splitlines()) == 1
        assert list((out / "checkpoints").glob("fit-*.h5"))


def test_a_second_signal_ends_it_at_once(whole: probgen.Fitted, tmp_path: Path) -> None:
    """In the middle of a step that would take a minute; what was saved before it is whole, and goes on to the same bits."""
    slow = """
class Slow:
    @probgen.hookimpl
    def step(self, step):
        if step == 5:
            print("slow", flush=True)
            time.sleep(60)
with probgen.observing(Slow()):
"""
    code = "import time, probgen\n" + slow + textwrap.indent(FIT, "    ")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "cut")],
        env={**os.environ, "PROBGEN_CHECKPOINT_SECONDS": "0", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "slow\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None  # the first one waits for the step
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM
    assert time.monotonic() - began < 20
    process.stdout.close()
    code, errors = finish(resume(tmp_path / "cut"))
    assert code == 0, errors
    cut = probgen.load(tmp_path / "cut")
    assert digest_of(whole.state) == digest_of(cut.state)
    assert digest_of(whole.history) == digest_of(cut.history)


def test_another_request_is_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((30, 2))
    probgen.fit("mixture", x, out=tmp_path / "run")
    with pytest.raises(InputError, match="already contains a run"):
        probgen.fit("mixture", x, out=tmp_path / "run")
    for changes, word in (
        ({"components": 3}, "components"),
        ({"seed": 1}, "seed"),
        ({"dtype": "float32"}, "dtype"),
    ):
        with pytest.raises(InputError, match=f"started with .*{word}"):
            probgen.fit("mixture", x, out=tmp_path / "run", resume=True, **changes)
    with pytest.raises(InputError, match=r"started with data.sha256"):
        probgen.fit("mixture", x + 1, out=tmp_path / "run", resume=True)
    again = probgen.fit("mixture", x, out=tmp_path / "run", resume=True)
    assert digest_of(again.state) == digest_of(probgen.load(tmp_path / "run").state)


def test_two_writers(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path),
        pytest.raises(RunError, match="is being written by process"),
        RunFolder(tmp_path),
    ):
        pytest.fail("a second writer was let in")
    with RunFolder(tmp_path):
        pass  # and free again


def test_a_stage_has_a_name_of_its_own() -> None:
    run = Run()
    run.train(lambda t: {}, 1, keep={})
    for stage in ("fit", "prior.1", "../x", ""):
        with pytest.raises(PluginError, match="its own name"):
            run.train(lambda t: {}, 1, keep={}, stage=stage)
    with pytest.raises(PluginError, match="the metric name 'step' is reserved"):
        run.train(lambda t: {"step": 1.0}, 1, keep={}, stage="other")


def test_a_signal_after_the_last_step_is_minded(tmp_path: Path) -> None:
    """The fit is saved, not swallowed into the next: the same call with resume goes on."""
    x = np.random.default_rng(0).standard_normal((30, 2))

    class Last:
        @probgen.hookimpl
        def step(self, run: Run, step: int) -> None:
            if step == 1:  # `independent` takes two steps
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"), probgen.observing(Last()):
        probgen.fit("independent", x, out=tmp_path)
    assert probgen.fit("independent", x, out=tmp_path, resume=True).history.sizes["step"] == 2


def test_a_fit_that_is_refused_or_fails_at_once_leaves_no_claim(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((30, 2))
    with pytest.raises(InputError, match="the data have only 30 rows"):
        probgen.fit("mixture", x, components=31, out=tmp_path)
    assert probgen.fit("mixture", x, out=tmp_path).family == "mixture"


def test_draws_in_parts_are_the_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts put together are what `sample` returns; a missing or damaged one is made again; others are refused."""
    monkeypatch.setattr(
        "probgen.api.sampling.part_bytes", lambda total: 1
    )  # the smallest parts: those that end with a shard
    monkeypatch.setattr("probgen.api.sampling.shard_rows", lambda event, numbers=None: 256)
    x = np.random.default_rng(0).standard_normal((30, 2))
    fitted = probgen.fit("mixture", x)
    for n, given in ((600, None), (300, {"x": np.array([[0.5, np.nan], [np.nan, 1.0], [2.0, np.nan]])})):
        folder = tmp_path / str(n)
        files = probgen.sample_to(folder, fitted, n, given=given, seed=3)
        assert len(files) == -(-n // 256)
        before = [file.read_bytes() for file in files]
        whole = probgen.sample(fitted, n, given=given, seed=3)
        parts = xr.concat([read_dataset(file, "samples") for file in files], "sample", combine_attrs="drop")
        assert digest_of(parts) == digest_of(whole)
        files[0].unlink()
        files[1].write_bytes(before[1][:-100])
        probgen.sample_to(folder, fitted, n, given=given, seed=3)
        assert digest_of(parts) == digest_of(
            xr.concat([read_dataset(file, "samples") for file in files], "sample", combine_attrs="drop")
        )
        with pytest.raises(InputError, match="holds samples with seed = 3, but seed = 4 was requested"):
            probgen.sample_to(folder, fitted, n, given=given, seed=4)
    other = probgen.fit("mixture", x + 1)
    with pytest.raises(InputError, match="holds samples with state_sha256"):
        probgen.sample_to(tmp_path / "600", other, 600, seed=3)
    with Claim(tmp_path / "600"), pytest.raises(RunError, match="is being written by process"):
        probgen.sample_to(tmp_path / "600", fitted, 600, seed=3)


def test_a_claim_outlives_no_process(tmp_path: Path) -> None:
    """A writer that died leaves a claim that the next one takes over; that of another machine is asked about."""
    dead = os.fork()
    if dead == 0:
        Claim(tmp_path).__enter__()
        os._exit(1)
    time.sleep(0.2)
    with Claim(tmp_path):  # dead, and not even reaped
        pass
    os.waitpid(dead, 0)
    (newest,) = tmp_path.glob(".writer-*")
    newest.write_text('{"process": 1, "started": "x", "host": "elsewhere", "machine": "another"}')
    with (
        pytest.raises(
            RunError, match=r"process 1 on elsewhere.*if the process has ended, remove .*\.writer-"
        ),
        Claim(tmp_path),
    ):
        pytest.fail("let in")
    newest.write_text("")  # being written, on a file system without hard links
    with pytest.raises(RunError, match="being written"), Claim(tmp_path):
        pytest.fail("let in")


def test_what_was_there_before_a_fit_that_fails_is_there_after_it(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((30, 2))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="the data have only 30 rows"):
        probgen.fit("mixture", x, components=31, out=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]
    (tmp_path / "model.h5").write_bytes(b"mine too")
    with pytest.raises(InputError, match=r"contains model\.h5, but no request"):
        probgen.fit("mixture", x, out=tmp_path)
    assert (tmp_path / "model.h5").read_bytes() == b"mine too"

    run = tmp_path / "run"
    probgen.fit("mixture", x, out=run)
    (run / "history.jsonl").unlink()
    (run / "model.h5").write_bytes((run / "model.h5").read_bytes()[:-9])
    with pytest.raises(FileError):
        probgen.fit("mixture", x, out=run, resume=True)
    assert {"model.h5", "recipe.toml"} <= {p.name for p in run.iterdir()}


def test_force_is_done_or_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended anywhere while the old run is removed, the folder holds no old result under a new request."""
    x = np.random.default_rng(0).standard_normal((30, 2))
    for stop in range(3):
        out = tmp_path / str(stop)
        fitted = probgen.fit("mixture", x, out=out)
        write_dataset(out / "samples.h5", "samples", probgen.sample(fitted, 3))
        left, unlink = [stop], Path.unlink

        def ended(path: Path, missing_ok: bool = False, left: list[int] = left, unlink: Any = unlink) -> None:
            if path.exists() and not path.name.startswith("."):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", ended)
        with pytest.raises(KeyboardInterrupt):
            probgen.fit("mixture", x, components=3, out=out, force=True)
        monkeypatch.setattr(Path, "unlink", unlink)
        with pytest.raises(InputError, match="started with"):
            probgen.fit("mixture", x, components=3, out=out, resume=True)
        again = probgen.fit("mixture", x, components=3, out=out, force=True)
        assert again.state.sizes["component"] == 3
        assert not (out / "samples.h5").exists()


def test_draws_that_fail_leave_no_claim(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((30, 4)) < 0.5
    fitted = probgen.fit("vae", x, latent=1, hidden=(3,), steps=2, decoder="made", context=2)
    with pytest.raises(InputError, match="mean"):
        probgen.sample_to(tmp_path / "draws", fitted, 10, mean=True)
    assert not (tmp_path / "draws").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "part-000000.h5").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds 'part-000000.h5' and no parts.toml"):
        probgen.sample_to(tmp_path / "other", fitted, 10)
    assert (tmp_path / "other" / "part-000000.h5").exists()


def test_a_claim_is_let_go_however_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = RunFolder.sweep
    monkeypatch.setattr(RunFolder, "sweep", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).__enter__()
    monkeypatch.setattr(RunFolder, "sweep", sweep)
    (tmp_path / ".x.99999999999999999999-00000000-aaaaaaaa.tmp").touch()
    with RunFolder(tmp_path):
        pass
    number = 1 + max(int(p.name[-6:]) for p in tmp_path.glob(".writer-*"))
    for content in ("3", "[1]", '{"process": [], "machine": 3}'):
        (tmp_path / f".writer-{number:06d}").write_text(content)
        with pytest.raises(RunError, match="if the process has ended, remove"), RunFolder(tmp_path):
            pytest.fail("let in")


def test_a_number_comes_only_once(tmp_path: Path) -> None:
    """One who has seen the newest writer and pauses is refused, whatever happened since."""
    with Claim(tmp_path):
        pass
    slow = Claim(tmp_path)
    newest = slow._newest
    seen = [newest()]
    with Claim(tmp_path) as failing:
        failing.leave_nothing()
    slow._newest = lambda: seen.pop() if seen else newest()  # type: ignore[method-assign]
    with Claim(tmp_path), pytest.raises(RunError, match="just now"), slow:
        pytest.fail("let in")


def test_a_process_that_nothing_can_be_told_of_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Claim(tmp_path):
        monkeypatch.setattr("probgen.store.claim.started", lambda process: "alive")
        with pytest.raises(RunError, match="is being written by process"), Claim(tmp_path):
            pytest.fail("let in")


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "1"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"WORLD_SIZE": "0"},
        {"RANK": "x"},
        {"PROBGEN_CHECKPOINT_SECONDS": "nan"},
        {"PROBGEN_CHECKPOINT_SECONDS": "-1"},
    ],
)
def test_an_environment_that_describes_no_process_is_refused(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Such a fit would end with success, and would write nothing."""
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=next(iter(wrong))):
        probgen.fit("independent", np.zeros((4, 2)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
