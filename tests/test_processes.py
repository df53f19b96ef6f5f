"""Several processes: sums in the order of a tree, and fits whose bits do not tell how many processes there were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import probgen
from probgen import recipes
from probgen.cli import launching
from probgen.contract import world as w
from probgen.contract.rows import Moments
from probgen.contract.run import Run
from probgen.contract.state import digest_of
from probgen.contract.world import World
from probgen.errors import InputError
from tests.launch import ended, started


def by_halves(parts: list[Tensor], low: int, width: int) -> Tensor:
    """The sum of the tree, from its definition: of the parts low .. low + width - 1 that there are, width a power of two."""
    if width == 1:
        return parts[low]
    left = by_halves(parts, low, width // 2)
    middle = low + width // 2
    return left + by_halves(parts, middle, width // 2) if middle < len(parts) else left


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13, 31, 64])
def test_the_sum_is_that_of_the_tree_whoever_has_which_blocks(n: int) -> None:
    parts = list(torch.randn(n, 50, generator=torch.Generator().manual_seed(n)).exp())
    wanted = by_halves(parts, 0, 1 << (n - 1).bit_length())
    assert torch.equal(World().sum(n, lambda i: [parts[i]])[0], wanted)
    for size in range(1, n + 1):
        left: dict[w.Node, Tensor] = {}
        for rank in range(size):
            mine: dict[w.Node, list[Tensor]] = {}
            for i in w._share(n, rank, size):
                w._add(mine, n, (0, i), [parts[i]])
            assert sorted(mine) == sorted(w._names(n, w._share(n, rank, size)))
            assert len(mine) <= 2 * n.bit_length()
            left |= {name: value[0] for name, value in mine.items()}
        assert torch.equal(w._finish(n, left), wanted)


def test_sums_keep_names_shapes_and_types() -> None:
    def block(i: int) -> dict[str, Tensor]:
        return {"n": torch.tensor(i), "x": torch.full((2, 3), i / 7, dtype=torch.float64), "y": torch.ones(4)}

    found = Run().sum(5, block)
    assert {name: (v.dtype, tuple(v.shape)) for name, v in found.items()} == {
        "n": (torch.int64, ()), "x": (torch.float64, (2, 3)), "y": (torch.float32, (4,)),
    }  # fmt: skip
    assert found["n"] == 10
    torch.testing.assert_close(found["x"], torch.full((2, 3), 10 / 7, dtype=torch.float64))


def test_a_gradient_in_parts_is_that_of_the_batch() -> None:
    """Of a mean loss by weights, in float64; and buffers are the mean of what the parts leave."""
    x, weight = torch.randn(21, 3, dtype=torch.float64), torch.rand(21, dtype=torch.float64)
    net = torch.nn.Linear(3, 1).double()
    run = Run(parts=4)

    def work() -> dict[str, Tensor]:
        rows = run.rows({"x": x, "weight": weight})
        loss = (rows["weight"] * net(rows["x"])[:, 0].square()).sum() / rows["weight"].sum()
        loss.backward()
        return {"loss": loss, "rows": rows["x"]}

    found = run.descend([net], list(net.parameters()), work)
    wanted = (weight * net(x)[:, 0].square()).sum() / weight.sum()
    gradients = torch.autograd.grad(wanted, list(net.parameters()))
    torch.testing.assert_close(found["loss"], wanted.detach())
    assert torch.equal(found["rows"], x)
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    with pytest.raises(InputError, match="a batch of 3 rows has fewer"):
        run.rows({"x": x[:3]})


def test_moments_of_blocks_are_those_of_all_rows() -> None:
    x = np.random.default_rng(0).normal(1e6, 1, (10_000, 3))
    seen = Moments.of((torch.from_numpy(part), torch.ones(len(part), 1)) for part in np.array_split(x, 7))
    np.testing.assert_allclose(seen.mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(seen.variance, x.var(0), rtol=1e-8)


FITS = """
import sys, json, numpy as np, probgen, xarray as xr
from probgen.contract.state import digest_of

rng = np.random.default_rng(0)
bits = (rng.random((120, 6, 6)) < 0.4).astype(float)
words = xr.Dataset({"x": (("row", "time"), rng.integers(0, 5, (40, 20)), {"support": "token", "levels": 5})})
FITS = {
    "em": ("mixture", rng.normal(size=(20_000, 3)), None, dict(components=3, steps=4, tolerance=0.0)),
    "em of one block": ("mixture", rng.normal(size=(300, 3)), None, dict(components=2, steps=4, tolerance=0.0)),
    "vae": ("vae", rng.normal(size=(300, 6)), rng.normal(size=(50, 6)), dict(latent=2, hidden=[8], epochs=3, patience=1, batch_size=50)),
    "lstm": ("char-rnn", words, None, dict(epochs=2, batch_size=8, window=8, hidden=6)),
    "pixelcnn": ("pixelcnn", bits, bits[:20], dict(epochs=1, batch_size=30, layers=1, channels=4, dropout=0.2)),
    "vqvae": ("vqvae", bits[:, :4, :4], bits[:9, :4, :4], dict(epochs=2, batch_size=30, codes=8, hidden=6, latent=3, halvings=1, blocks=1)),
    "gan": ("gan", rng.normal(size=(200, 2)), None, dict(steps=5, batch_size=32, hidden=[8], members=2)),
    "dcgan": ("dcgan", rng.random((60, 8, 8)).round(), None, dict(steps=3, batch_size=16, channels=[4])),
}
"""


def fits(tmp_path: Path, text: str) -> Path:
    script = tmp_path / "script.py"
    script.write_text(FITS + textwrap.dedent(text))
    return script


def test_fits_have_the_same_bits_on_any_number_of_processes(tmp_path: Path) -> None:
    """EM, and gradients in four parts: validation and patience, dropout, batch normalization, memory, codes that begin anew, two stages, two players."""
    script = fits(
        tmp_path,
        """
        for name, (family, x, valid, options) in FITS.items():
            parts = {} if name[:2] == "em" else {"parts": 4}
            fitted = probgen.fit(family, x, valid=valid, **parts, **options)
            print(name, digest_of(fitted.state), digest_of({k: v.values for k, v in fitted.history.data_vars.items()}), parts and fitted.provenance["parts"])
        """,
    )
    found = {n: ended(started(script, n)) for n in (1, 2, 3)}
    assert [code for each in found.values() for code, *_ in each] == [0] * 6, found
    assert len({out for each in found.values() for _, out, _ in each}) == 1
    lines = found[1][0][1].splitlines()
    assert len(lines) == 8
    assert lines[2].endswith(" 4")


def test_one_that_is_told_to_stop_stops_all_and_any_number_goes_on(tmp_path: Path) -> None:
    script = fits(
        tmp_path,
        """
        family, x, valid, options = FITS["vae"]
        options = {**options, "epochs": 400, "patience": None} | json.loads(sys.argv[2])
        fitted = probgen.fit(family, x, valid=valid, out=sys.argv[1], resume=True, **options)
        print(digest_of(fitted.state), digest_of({k: v.values for k, v in fitted.history.data_vars.items()}), len(fitted.history.step))
        """,
    )
    run, parts = tmp_path / "run", json.dumps({"parts": 3})
    processes = started(script, 2, str(run), parts)
    deadline = time.monotonic() + 60
    while not (run / "history.jsonl").exists() or (run / "history.jsonl").stat().st_size < 2000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    stopped = ended(processes)
    assert all("Interrupted: SIGTERM" in err for _, _, err in stopped), stopped
    steps = {err.split("after step ")[1].split()[0] for _, _, err in stopped}
    assert len(steps) == 1
    gone_on = ended(started(script, 3, str(run), "{}"))
    assert [code for code, *_ in gone_on] == [0, 0, 0], gone_on
    alone = ended(started(script, 1, str(tmp_path / "alone"), parts))
    assert {out for _, out, _ in gone_on} == {alone[0][1]}
    again = ended(started(script, 2, str(run), "{}"))  # it has ended: all have the model
    assert {out for _, out, _ in again} == {alone[0][1]}


def test_what_one_process_refuses_all_refuse(tmp_path: Path) -> None:
    script = fits(
        tmp_path,
        """
        import os
        family, x, valid, options = FITS["vae"]
        rank, how = int(os.environ["RANK"]), sys.argv[2]
        if how == "data" and rank == 1:
            x = x + 1
        if how == "missing" and rank == 1:
            x = "nowhere.csv"
        try:
            probgen.fit(family, x, valid=valid, out=sys.argv[1], **({"parts": 1} if how == "parts" else {}), **options)
        except probgen.errors.ProbgenError as error:
            print(type(error).__name__, error)
        """,
    )
    taken = tmp_path / "taken"
    probgen.fit("independent", np.random.default_rng(0).normal(size=(20, 2)), out=taken)
    for how, out, message in (
        ("data", "a", "other data or options than process 0"),
        ("missing", "b", "there is no file nowhere.csv"),
        ("parts", "c", "parts = 1: 2 processes are more than the parts of a batch"),
        ("taken", "taken", "already contains a run"),
    ):
        found = ended(started(script, 2, str(tmp_path / out), how), seconds=60)
        assert [code for code, *_ in found] == [0, 0], found
        assert all(message in said for _, said, _ in found), found
        assert out == "taken" or not (tmp_path / out / "model.h5").exists()


def test_parts_are_checked_and_kept(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    small = {"latent": 1, "hidden": [4], "epochs": 1}
    for parts in (0, 1.5, "two", True):
        with pytest.raises(InputError, match="a whole number of at least 1"):
            probgen.fit("vae", x, parts=parts, **small)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="graph = true"):
        probgen.fit("vae", x, parts=2, graph=True, **small)
    fitted = probgen.fit("vae", x, parts=2, out=tmp_path / "run", **small)
    assert fitted.provenance["parts"] == 2
    assert "parts = 2" in (tmp_path / "run" / "recipe.toml").read_text()
    assert "parts" not in probgen.fit("vae", x, parts=1, **small).provenance
    with pytest.raises(InputError, match="started with parts = 2, but parts = 3 was requested"):
        probgen.fit("vae", x, parts=3, out=tmp_path / "run", resume=True, **small)


def test_the_journal_has_the_bytes_of_the_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EM: the nodes of the tree that a process has left, in one round. Gradients: a slice of all numbers to each, and its sum to all, in two; what is float64 in
    one more. A round of two numbers tells of signals.
    """
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "3600")  # a checkpoint takes two rounds
    script = fits(
        tmp_path,
        """
        family, x, valid, options = FITS[sys.argv[2]]
        parts = {} if sys.argv[2] == "em" else {"parts": 4}
        probgen.fit(family, x, out=sys.argv[1], **parts, **options | json.loads(sys.argv[3]))
        """,
    )

    def steps(name: str, size: int, **options: object) -> tuple[set[int], set[int]]:
        """Bytes and rounds of each step, without those that tell of signals."""
        out = tmp_path / f"{name}-{size}"
        done = ended(started(script, size, str(out), name, json.dumps(options)))
        assert [code for code, *_ in done] == [0] * size, done
        lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
        told = (size - 1) * 2 * 8
        pairs = list(pairwise(lines))
        return {b["sent"] - a["sent"] - told for a, b in pairs}, {
            b["rounds"] - a["rounds"] - 1 for a, b in pairs
        }

    D, K, blocks = 3, 3, 5  # blocks of 4,096 of 20,000 rows
    of_em = K * (1 + D + D * D + 1) + 3
    assert steps("em", 2) == ({2 * of_em * 8}, {1})  # blocks 2, 3, 4 are two nodes
    nodes = max(len(w._names(blocks, w._share(blocks, rank, 3))) for rank in range(3))
    assert steps("em", 3) == ({2 * nodes * of_em * 8}, {1})

    sent, rounds = steps("vae", 2, hidden=[8000], patience=None)
    module = probgen.load(tmp_path / "vae-2").module
    state = [*module.parameters(), *module.buffers()]
    numbers = {size: sum(each.numel() for each in state if each.itemsize == size) for size in (4, 8)}
    assert rounds == {3}
    beside = len(list(module.parameters())) + 8  # whether each has a gradient, and parts of the loss
    assert 0 <= sent.pop() - (numbers[4] * 4 + numbers[8] * 8) <= beside * 4
    assert not sent


def command(folder: Path, *more: str, checkpoints: str = "60") -> subprocess.Popen[str]:
    """`probgen fit` of a small VAE in parts."""
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(300, 6)))
    settings = {"latent": 2, "hidden": [8], "epochs": 200, "batch_size": 50}
    options = [*(f"--set={name}={value}" for name, value in settings.items()), "--parts=4"]
    return subprocess.Popen(
        [sys.executable, "-m", "probgen", "fit", "vae", "--data", "x.npy", "--out", "run", *options, *more],
        cwd=folder, env={**os.environ, "PROBGEN_CHECKPOINT_SECONDS": checkpoints, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def children_under_way(process: subprocess.Popen[str], folder: Path) -> list[int]:
    """The processes that a launcher has started, once their fit is going."""
    deadline, journal = time.monotonic() + 60, folder / "run" / "history.jsonl"
    size = journal.stat().st_size if journal.exists() else 0
    while not journal.exists() or journal.stat().st_size < size + 2000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def test_one_command_starts_processes_and_ends_those_that_are_left(tmp_path: Path) -> None:
    """SIGKILL to one: one line, the others are gone; on with it on another number; SIGTERM to the launcher: all stop after the same step."""
    first = command(tmp_path, "--processes", "2", checkpoints="0")
    victims = children_under_way(first, tmp_path)
    assert len(victims) == 2
    os.kill(victims[1], signal.SIGKILL)
    at = time.monotonic()
    out, err = first.communicate(timeout=60)
    assert time.monotonic() - at < 5
    assert (first.returncode, out) == (1, "")
    assert (
        err
        == "probgen: process 1 of 2 was ended by SIGKILL. Resume the fit with --resume, on any number of processes.\n"
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in victims)

    second = command(tmp_path, "--processes", "3", "--resume", checkpoints="0")
    children_under_way(second, tmp_path)
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=60)
    assert second.returncode in (0, 143)
    if second.returncode:  # it had not ended before
        assert err.count("\n") == 1
        assert "SIGTERM" in err
    third = command(tmp_path, "--resume")
    assert third.communicate(timeout=120)[1] == ""
    alone = tmp_path / "alone"
    alone.mkdir()
    assert command(alone).communicate(timeout=120)[1] == ""
    one, other = probgen.load(tmp_path / "run"), probgen.load(alone / "run")
    assert digest_of(one.state) == digest_of(other.state)
    assert digest_of(one.history) == digest_of(other.history)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--processes", "5"], 2, "parts = 4: 5 processes are more than the parts of a batch"),
        (["--processes", "0"], 2, "Invalid value for '--processes'"),
        (["--processes", "2", "--set", "latnt=2"], 2, "unknown option 'latnt'"),
    ],
)
def test_what_several_processes_refuse_is_one_line(
    more: list[str], code: int, message: str, tmp_path: Path
) -> None:
    process = command(tmp_path, *more)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert message in err
    assert err.count("probgen:") <= 1
    assert not (tmp_path / "run" / "model.h5").exists()


def test_checkpoints_are_those_of_one_process_byte_for_byte(tmp_path: Path) -> None:
    script = fits(
        tmp_path,
        """
        import os, shutil
        from probgen.store.folder import RunFolder
        os.environ["PROBGEN_CHECKPOINT_SECONDS"] = "0"
        save, kept = RunFolder.save, []
        def saved(self, stage, step, *rest, **how):
            save(self, stage, step, *rest, **how)
            kept.append((stage, step, self._checkpoint(stage, step).read_bytes()))
        RunFolder.save = saved
        for name in ("em", "vae", "vqvae", "gan"):
            family, x, valid, options = FITS[name]
            probgen.fit(family, x, valid=valid, out=f"{sys.argv[1]}-{name}", **({} if name == "em" else {"parts": 4}), **options)
        import hashlib
        if kept:
            print(len(kept), hashlib.sha256(repr(kept).encode()).hexdigest())
        """,
    )
    found = [ended(started(script, n, str(tmp_path / f"run-{n}"))) for n in (1, 2, 3)]
    assert all(code == 0 for each in found for code, *_ in each), found
    assert len({each[0][1] for each in found}) == 1
    assert int(found[0][0][1].split()[0]) > 20
    assert [out for each in found for _, out, _ in each[1:]] == [""] * 3


def test_a_full_disk_at_process_0_ends_all_with_one_line(tmp_path: Path) -> None:
    limit = textwrap.dedent(
        """
        import resource, runpy, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        sys.argv[0] = "probgen"
        runpy.run_module("probgen", run_name="__main__")
        """
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(300, 6)))
    settings = {"latent": 2, "hidden": [200], "epochs": 5, "batch_size": 50}
    options = [*(f"--set={name}={value}" for name, value in settings.items()), "--parts=2"]
    done = subprocess.run(
        [sys.executable, "-c", limit, "fit", "vae", "--data", "x.npy", "--out", "run", *options, "--processes", "2"],
        cwd=tmp_path, env={**os.environ, "PROBGEN_CHECKPOINT_SECONDS": "0"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert not (tmp_path / "run" / "model.h5").exists()


def test_weights_without_a_gradient_have_none_in_parts() -> None:
    """Adam would let them decay."""
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    run = Run(parts=3)

    def work() -> dict[str, Tensor]:
        loss = (run.rows({"x": torch.arange(6.0)[:, None]})["x"] * used).mean()
        loss.backward()
        return {"loss": loss}

    run.descend([], [used, unused], work)
    assert used.grad is not None
    assert unused.grad is None


def test_what_is_no_work_of_one_fit_is_refused_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="without torchrun"):
        probgen.search("mixture", np.zeros((3, 2)), valid=np.zeros((3, 2)), options={"components": [1, 2]})
    with pytest.raises(InputError, match="without torchrun"):
        next(iter(recipes.execute(recipes.read("quickstart", {}), Path("nowhere"))))


class Slow:
    """A process that ends by a signal of its own, or some looks after it is killed."""

    def __init__(self, code: int | None, looks: int = 0):
        self.code, self.looks, self.killed = code, looks, False

    def poll(self) -> int | None:
        if self.killed and self.code is None:
            self.looks -= 1
            self.code = -signal.SIGKILL if self.looks < 0 else None
        return self.code

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> int:
        assert self.code is not None
        return self.code


@pytest.mark.parametrize("looks", [(0, 0), (0, 9), (9, 0)])
def test_the_process_that_died_is_named_and_not_those_that_the_launcher_ends(
    looks: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever of them ends first."""
    ranks = [Slow(None, looks[0]), Slow(-signal.SIGKILL), Slow(None, looks[1])]
    monkeypatch.setattr(launching, "_started", lambda rank, n, folder: ranks[rank])
    monkeypatch.setattr(launching, "PATIENCE", 0.0)
    monkeypatch.delenv(launching.LAUNCHED, raising=False)
    assert launching.launched(3) == 1
    assert capsys.readouterr().err.startswith("probgen: process 1 of 3 was ended by SIGKILL")
