"""SIGKILL to a random process of a fit over several, at a random moment, through the launcher; then on with it on another number of processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import probgen
from probgen.contract.state import digest_of
from tests.trust.crash import Tally

COMMANDS = {
    "em": "mixture --set components=4 --set steps=80 --set tolerance=0.0 --set restarts=2",
    "vae": "vae --set latent=2 --set hidden=[8] --set epochs=40 --set batch_size=100 --parts 4",
    "vqvae": "vqvae --set epochs=4 --set batch_size=60 --set codes=8 --set hidden=8 --set latent=3 --set halvings=1 --set blocks=1 --set prior={epochs=2} --parts 4",
}
SECONDS = 5.0  # in which the others are to end


def rows(name: str) -> np.ndarray:
    """What a fit is of."""
    rng = np.random.default_rng(0)
    if name == "vqvae":
        return (rng.random((240, 8, 8)) < 0.4).astype(np.uint8)
    return rng.normal(size=(20_000, 4) if name == "em" else (600, 6))


def begun(name: str, folder: Path, processes: int, *more: str) -> subprocess.Popen[str]:
    """The command, with a checkpoint after each step."""
    return subprocess.Popen(
        [sys.executable, "-m", "probgen", "fit", *COMMANDS[name].split(), "--data", str(folder.parent / "x.npy"), "--out", str(folder),
         "--processes", str(processes), *more],
        env={**os.environ, "PROBGEN_CHECKPOINT_SECONDS": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return list(map(int, found.read_text().split())) if found.exists() else []


def digest(folder: Path) -> str:
    """Of what was learned, and of how."""
    fitted = probgen.load(folder)
    history = {name: variable.values for name, variable in fitted.history.data_vars.items()}
    return digest_of(fitted.state) + digest_of(history)


def lines(folder: Path) -> int:
    """How many steps a fit has written down."""
    file = folder / "history.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed(name: str, trials: int, seed: int = 0) -> Tally:
    """So many kills that met a running fit. The moment is a step of the fit, or, once in five, a time in which processes still join."""
    tally, draw = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place) / "x.npy", rows(name))
        whole = Path(place) / "whole"
        assert begun(name, whole, 1).wait() == 0
        wanted, steps = digest(whole), lines(whole)
        while tally.points < trials:
            folder = Path(place) / f"run-{draw.random()}"
            processes, step = draw.choice([2, 3]), draw.randrange(steps - 1)
            early = draw.random() < 0.2
            fit = begun(name, folder, processes)
            deadline = time.monotonic() + 120
            pause = draw.uniform(0.5, 6)
            while fit.poll() is None and len(children(fit.pid)) < processes:
                time.sleep(0.01)
            victims, began = children(fit.pid), time.monotonic()
            while fit.poll() is None and time.monotonic() < deadline:
                if time.monotonic() - began > pause if early else lines(folder) > step:
                    break
                time.sleep(0.002)
            if fit.poll() is not None or len(victims) != processes:
                fit.communicate()
                continue  # it was over before
            rank = draw.randrange(processes)
            os.kill(victims[rank], signal.SIGKILL)
            at = time.monotonic()
            try:
                _, said = fit.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(fit.pid, signal.SIGKILL)
                fit.communicate()
                said = "hung"
            took = time.monotonic() - at
            if fit.returncode == 0:
                continue  # its work was done
            tally.points += 1
            where = f"{name}, {processes} processes, {rank} killed {'early' if early else f'at step {step}'}"
            if (
                took > SECONDS
                or said.count("\n") != 1
                or f"process {rank} of {processes} was ended by SIGKILL" not in said
            ):
                tally.faults.append(f"{where}: {took:.1f} s: {said!r}")
            on = draw.choice([1, 2, 3])
            gone_on = begun(name, folder, on, "--resume")
            said = gone_on.communicate(timeout=300)[1]
            if gone_on.returncode or digest(folder) != wanted:
                tally.faults.append(f"{where}, on {on}: {said!r}, other bits")
    return tally
