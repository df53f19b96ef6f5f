"""SIGKILL at every step of every built-in family, and two writers at once."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import probgen
from probgen.errors import FileError, InputError, RunError
from probgen.store.files import read_request
from probgen.store.folder import HISTORY, MODEL, RunFolder
from probgen.store.journal import read_journal
from probgen.store.trees import read_arrays, read_dataset, write_dataset
from probgen.testing import spaces
from probgen.testing.helpers import Stop
from tests.trust.child import run
from tests.trust.crash import Tally, arrays_of, place

SMALL = {"epochs": 10, "batch_size": 20}  # 80 rows: 40 steps
LABELED = spaces.example("binary").assign(label=("row", np.where(np.arange(80) % 3, -1, np.arange(80) % 2)))
IMAGES = spaces.example("binary")["x"].values.reshape(-1, 2, 2)
TEXT = xr.Dataset(
    {"x": (("row", "time"), np.arange(120).reshape(4, 30) % 7 % 3, {"support": "token", "levels": 3})}
)
PAIRS = TEXT.assign(source=(("row", "source_time"), TEXT["x"].values[:, :5], TEXT["x"].attrs))
_X = np.random.default_rng(0).integers(0, 4, (80, 4, 4)).astype(np.uint8)
_FOUR = {"support": "integer", "levels": 4}
SCALED = xr.Dataset(
    {
        "x": (("row", "height", "width"), _X, _FOUR),
        "low": (("row", "low_height", "low_width"), _X[:, ::2, ::2], _FOUR),
    }
)


def _generator() -> str:
    """The file of a small VAE, the same one in all processes of this run."""
    folder = Path(os.environ.setdefault("PROBGEN_TRUST", tempfile.mkdtemp()))
    file = folder / "generator.h5"
    if not file.exists():
        probgen.fit("vae", spaces.example("real"), latent=2, hidden=(4,), steps=5).save(file)
    return str(file)


FITS: dict[str, tuple[Any, dict[str, Any]]] = {
    "attributes": (LABELED, {"hidden": 4, **SMALL}),
    "autoencoder": (spaces.example("integer"), {"latent": 1, "hidden": (4,), "corruption": 0.2, **SMALL}),
    "bayesian-mixture": (spaces.example("real"), {"draws": 30, "warm_up": 10, "chains": 1, "depth": 2}),
    "char-rnn": (TEXT, {"hidden": 4, "window": 3, "epochs": 5, "batch_size": 4, "autocast": True}),
    "fvsbn": (spaces.example("binary"), {"l1": 0.001, **SMALL}),
    "independent": (spaces.example("real"), {}),
    "inverter": (spaces.example("real"), {"generator": _generator(), "hidden": (4,), **SMALL}),
    "m2": (LABELED, {"latent": 1, "classes": 2, "hidden": (4,), **SMALL}),
    "made": (spaces.example("binary"), {"hidden": 8, "masks": 2, "schedule": "cosine", **SMALL}),
    "mixture": (spaces.example("real"), {"components": 3, "restarts": 3, "steps": 10, "tolerance": 0.0}),
    "ngram": (TEXT, {"order": 1}),
    "nade": (spaces.example("integer"), {"hidden": 4, **SMALL}),
    "pixelcnn": (IMAGES, {"channels": 4, "layers": 2, "head": 4, "autocast": True, **SMALL}),
    "pixelrnn": (IMAGES, {"hidden": 3, "layers": 1, "head": 4, "schedule": "cosine", **SMALL}),
    "seq2seq": (
        PAIRS,
        {
            "width": 4,
            "heads": 2,
            "layers": 1,
            "encoder_layers": 1,
            "epochs": 5,
            "batch_size": 4,
            "dropout": 0.1,
        },
    ),
    "srresnet": (SCALED, {"width": 2, "blocks": 1, "patch": 4, "noise": "normal", **SMALL}),
    "subscale": (SCALED, {"width": 2, "blocks": 1, "patch": 4, **SMALL}),
    "transformer": (
        TEXT,
        {"width": 4, "heads": 2, "layers": 1, "window": 3, "epochs": 5, "batch_size": 4, "dropout": 0.1},
    ),
    "vae": (spaces.example("binary"), {"latent": 2, "hidden": (4,), "warm_up": 3.0, **SMALL}),
    "wavenet": (
        TEXT,
        {"channels": 3, "skip": 4, "dilations": (1, 2), "window": 3, "epochs": 5, "batch_size": 4},
    ),
}


def fit(family: str, out: Path, stop: int = 0) -> str:
    """A fit, gone on with where it had begun; its arrays."""
    os.environ["PROBGEN_CHECKPOINT_SECONDS"] = "0"
    data, options = FITS[family]
    with probgen.observing(*([Stop(stop, signal.SIGKILL)] if stop else [])):
        probgen.fit(family, data, out=out, resume=True, **options)
    return arrays_of(out / MODEL)


def kill_every_step(family: str, every: int = 1) -> Tally:
    """Kill a fit after each of its steps and go on: the same arrays."""
    tally = Tally()
    with place() as folder:
        done = run(lambda tell: fit(family, folder / "whole"))
        assert not done.code, done.errors
        expected = done.answer
        steps = probgen.load(folder / "whole").history.sizes["step"]
        for step in range(1, steps + 1, every):
            out = folder / f"run-{step}"
            first = run(lambda tell, s=step, o=out: fit(family, o, s))
            again = run(lambda tell, o=out: fit(family, o))
            tally.points += 1
            if first.code != -signal.SIGKILL or again.answer != expected:
                tally.faults.append(
                    f"{family}, step {step}: {first.code}, {again.errors[-300:] or 'other arrays'}"
                )
    return tally


def races(count: int) -> Tally:
    """Two processes want one run at once; in every other race it is one that was killed.

    No two hold the run at a time; one fits, and the other is refused, or comes when the fit has ended; the run holds every
    row of the history.
    """
    tally = Tally()
    with place() as folder:
        expected = run(lambda tell: fit("nade", folder / "whole")).answer
        for i in range(count):
            out = folder / f"run-{i}"
            if i % 2:
                run(lambda tell, o=out: fit("nade", o, 7))
            together = time.monotonic() + 0.05

            def one(tell: Callable[[Any], None], out: Path = out, together: float = together) -> str:
                _tell_of_claims(tell)
                time.sleep(max(0.0, together - time.monotonic()))
                try:
                    return fit("nade", out)
                except (RunError, InputError) as error:
                    return str(error)

            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(lambda _, one=one: run(one), range(2)))
            tally.points += 1
            results = [done.answer for done in both]
            refused = [r for r in results if r and ("is being written by" in r or "just now" in r)]
            if expected not in results or results.count(expected) + len(refused) != 2:
                tally.faults.append(f"race {i}: {results}")
            held = sorted((done.told[0], done.told[1]) for done in both if done.told)
            if any(before[1] > after[0] for before, after in pairwise(held)):
                tally.faults.append(f"race {i}: two held the run at a time: {held}")
            if arrays_of(out / MODEL) != expected:
                tally.faults.append(f"race {i}: other arrays")
            try:
                steps = sorted(line["step"] for line in read_journal(out / HISTORY))
            except FileError as error:
                tally.faults.append(f"race {i}: {error}")
            else:
                if steps != list(range(40)):
                    tally.faults.append(f"race {i}: the history holds the steps {steps}")
    return tally


def _tell_of_claims(tell: Callable[[Any], None]) -> None:
    """When the run was got, and just before it is let go."""
    enter, leave = RunFolder.__enter__, RunFolder.__exit__

    def entered(self: RunFolder) -> RunFolder:
        enter(self)
        tell(time.monotonic())
        return self

    def left(self: RunFolder, *raised: Any) -> None:
        tell(time.monotonic())
        leave(self, *raised)

    RunFolder.__enter__, RunFolder.__exit__ = entered, left  # type: ignore[method-assign,assignment]


def flips(count: int, seed: int = 0) -> Tally:
    """One bit of one file of a run, turned over: every reader says so."""
    rng = np.random.default_rng(seed)
    tally = Tally()
    with place() as folder:
        out = folder / "run"
        run(lambda tell: fit("nade", out, 30))
        checkpoint = max((out / "checkpoints").glob("fit-*.h5"))
        fitted = probgen.fit("nade", FITS["nade"][0], **FITS["nade"][1])
        fitted.save(out / MODEL)
        write_dataset(out / "samples.h5", "samples", probgen.sample(fitted, 64))
        write_dataset(out / "scores.h5", "scores", probgen.score(fitted, FITS["nade"][0]))
        probgen.sample_to(folder / "draws", fitted, 64)
        readers: dict[Path, Callable[[Path], Any]] = {
            out / MODEL: probgen.load,
            out / "samples.h5": lambda p: read_dataset(p, "samples"),
            out / "scores.h5": lambda p: read_dataset(p, "scores"),
            out / "recipe.toml": read_request,
            out / "history.jsonl": read_journal,
            checkpoint: read_arrays,
            folder / "draws" / "parts.toml": read_request,
            folder / "draws" / "part-000000.h5": lambda p: read_dataset(p, "samples"),
        }
        whole = {path: path.read_bytes() for path in readers}
        for path, reader in readers.items():
            reader(path)  # as it is, it is read
        paths = list(readers)
        for i in range(count):
            path = paths[i % len(paths)]
            content = bytearray(whole[path])
            bit = int(rng.integers(8 * len(content)))
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            tally.points += 1
            try:
                readers[path](path)
            except FileError:
                pass
            except Exception as error:
                tally.faults.append(f"{path.name}, bit {bit}: {type(error).__name__}: {error}")
            else:
                tally.faults.append(f"{path.name}, bit {bit}: silent")
            path.write_bytes(whole[path])
        assert RunFolder(out).steps("fit")
    return tally
