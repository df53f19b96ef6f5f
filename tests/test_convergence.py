"""Whether a fit has converged, and what else it says of itself: in its file and in what the commands print."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.run import Run
from probgen.errors import Interrupted
from probgen.inference.active import say_unused
from probgen.inference.convergence import ALARM, gained, settled


def verdicts(loss: np.ndarray) -> float:
    """The share of histories (history, step) of which it is said that they still fall."""
    return float(np.mean([settled({"loss": each})[0] is False for each in loss]))


@pytest.mark.parametrize(("steps", "memory"), [(40, 0.0), (250, 0.0), (1000, 0.0), (2000, 0.8)])
def test_false_alarms_on_a_loss_that_no_longer_falls(steps: int, memory: float) -> None:
    """4,000 stationary histories, of independent losses and of losses that resemble their neighbors (AR(1)) for a shorter time
    than a block lasts: 4 alarms are expected, and 14 or more come once in 9,000 times. With memory blocks still resemble
    each other a little, and as many are allowed.
    """
    noise = np.random.default_rng(steps).normal(size=(4000, steps))
    if memory:
        for t in range(1, steps):
            noise[:, t] = memory * noise[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    assert verdicts(10 + noise) * 4000 < 4000 * ALARM + 10


@pytest.mark.parametrize(("steps", "window"), [(40, 10), (200, 50), (1000, 100)])
def test_a_fall_of_five_and_a_half_standard_errors_is_found(steps: int, window: int) -> None:
    """In more than 9 of 10 histories; of 500 less than 435 come once in 20,000 times where it is 9 of 10."""
    fall = 5.5 * np.sqrt(2 / window)
    trend = -fall * np.arange(steps) / window
    noise = np.random.default_rng(steps).normal(size=(500, steps))
    assert verdicts(trend + noise) > 435 / 500


@pytest.mark.parametrize("rate", [2.0, 5.0])
def test_a_loss_without_noise_is_judged_by_its_fall_alone(rate: float) -> None:
    """exp(-rate t / steps): the fall over the last tenth is known."""
    t = np.arange(1000)
    loss = np.exp(-rate * t / 1000)
    converged, why = settled({"loss": loss})
    fall = loss[-200:-100].mean() - loss[-100:].mean()
    assert converged is False
    assert f"{fall:.2g} over the last 100 of 1000 steps" in why
    assert settled({"loss": 1e-3 * loss}) == (True, "")  # below what tables show


def test_a_rise_is_no_fall_and_few_steps_say_nothing() -> None:
    loss = np.random.default_rng(0).normal(size=1000)
    assert settled({"loss": loss + 0.01 * np.arange(1000)}) == (True, "")
    assert settled({"loss": np.zeros(1000)}) == (True, "")
    assert settled({"loss": loss[:39]}) == (None, "39 steps are too few for a test. Raise epochs or steps.")


def test_held_out_rows_decide_where_an_earlier_epoch_was_the_best() -> None:
    falling = -np.arange(1000.0)
    valid = np.full(1000, np.nan)
    valid[99::100] = [5, 4, 3, 2, 1, 2, 3, 4, 5, 6]
    assert settled({"loss": falling, "valid_loss": valid}) == (True, "")
    valid[99::100] = np.arange(10, 0, -1)
    assert settled({"loss": falling, "valid_loss": valid})[0] is False


def test_an_ascent_is_judged_by_its_last_gain() -> None:
    assert gained(np.array([-2.0, -1.0, -1.0 + 1e-9]), 1e-7) == (True, "")
    converged, why = gained(np.array([-2.0, -1.0, -0.9997]), 1e-7)
    assert converged is False
    assert why == "3 steps done, the last gained 0.0003 nats per row (tolerance = 1e-07). Raise steps."
    assert gained(np.array([-2.0]), 1e-7)[0] is None


# fits


def test_em_says_whether_it_came_to_its_tolerance() -> None:
    short = probgen.fit("mixture", "iris", components=3, steps=3)
    assert short.provenance["converged"] == {"fit": False}
    assert short.notes == [
        next(note for note in short.notes if note.startswith("not converged: 3 steps done, the last gained"))
    ]
    long = probgen.fit("mixture", "iris", components=3)
    assert long.provenance["converged"] == {"fit": True}
    assert not long.notes


def test_every_start_is_judged() -> None:
    fitted = probgen.fit("mixture", "iris", components=3, restarts=2, steps=3)
    assert fitted.provenance["converged"] == {"restart-0": False, "restart-1": False}
    assert [note.split(":")[0] for note in fitted.notes] == ["restart-0", "restart-1"]


def test_gradients_say_whether_the_loss_still_falls() -> None:
    falling = probgen.fit("nade", "digits-binary", steps=150)
    assert falling.provenance["converged"] == {"fit": False}
    assert "the loss still fell by" in falling.notes[0]
    few = probgen.fit("nade", "digits-binary", steps=5)
    assert few.provenance["converged"] == {"fit": None}
    assert few.notes == ["convergence is unknown: 5 steps are too few for a test. Raise epochs or steps."]


def test_patience_that_ran_out_is_convergence() -> None:
    x = (np.random.default_rng(0).random((200, 4)) < 0.5).astype(float)
    fitted = probgen.fit(
        "made", x[:20], valid=x[20:], hidden=20, epochs=500, patience=2, batch_size=20, learning_rate=0.05
    )
    assert fitted.history.sizes["step"] < 500
    assert fitted.provenance["converged"] == {"fit": True}


def test_a_closed_form_and_a_game_are_not_judged() -> None:
    assert probgen.fit("independent", "iris").provenance["converged"] == {"fit": None}
    assert not probgen.fit("independent", "iris").notes
    game = probgen.fit("gan", "ring", steps=3)
    assert set(game.provenance["converged"].values()) == {None}
    assert not game.notes


def test_a_fit_that_went_on_says_what_the_whole_one_says(tmp_path: Path) -> None:
    """Cut off after every step: the verdict follows from the journal and not from what one process saw."""
    how: dict[str, Any] = {"components": 3, "steps": 4}
    whole = probgen.fit("mixture", "iris", **how)

    class Stopper:
        @probgen.hookimpl
        def step(self, run: Run, stage: str, step: int, metrics: Any) -> None:
            if step == self.at:
                os.kill(os.getpid(), signal.SIGINT)

        def __init__(self, at: int):
            self.at = at

    for at in range(3):
        out = tmp_path / str(at)
        with probgen.observing(Stopper(at)), pytest.raises(Interrupted):
            probgen.fit("mixture", "iris", out=out, **how)
        again = probgen.fit("mixture", "iris", out=out, resume=True, **how)
        for key in ("converged", "notes"):
            assert again.provenance[key] == whole.provenance[key]
            assert probgen.load(out).provenance[key] == whole.provenance[key]


# what families say


def test_components_of_less_than_a_row_are_said() -> None:
    """Two distinct rows and eight components: k-means finds two clusters, and the rest begin with nothing."""
    x = np.repeat([[0.0, 0.0], [5.0, 5.0]], 30, axis=0)
    fitted = probgen.fit("mixture", x, components=8)
    assert int((fitted.groups["components"]["pi"].values * 60 < 0.5).sum()) == 6
    assert fitted.notes[-1].startswith("6 of 8 components hold less than one row")
    assert say_unused(np.array([0.5, 0.49, 0.01]), 60) == [
        "1 of 3 components holds less than one row: the data may have fewer clusters. Use fewer components."
    ]
    assert not say_unused(np.array([0.5, 0.5]), 2)


def test_a_collapsed_posterior_is_said() -> None:
    """A weight of the divergence of 100 leaves z nothing to say; none leaves it all it can."""
    x = (np.random.default_rng(0).random((200, 1)) < 0.5) * np.ones(8)
    how: dict[str, Any] = {"latent": 2, "hidden": (8,), "steps": 300, "learning_rate": 0.02}
    collapsed = probgen.fit("vae", x.astype(int), beta=100.0, **how)
    assert collapsed.notes[-1].startswith("no dimension of z is active")
    used = probgen.fit("vae", x.astype(int), beta=0.1, **how)
    assert not any("active" in note for note in used.notes)


def test_the_commands_print_what_a_fit_says(tmp_path: Path) -> None:
    call = ["fit", "mixture", "--data", "iris", "--set", "components=3", "--set", "steps=3"]
    note = "not converged: 3 steps done"
    done = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "a")])
    assert done.stdout.count(note) == 1
    assert CliRunner().invoke(app, ["show", str(tmp_path / "a")]).stdout.count(f"notes: {note}") == 1
    told = json.loads(CliRunner().invoke(app, [*call, "--out", str(tmp_path / "b"), "--json"]).stdout)
    assert told["converged"] == {"fit": False}
    assert told["notes"][0].startswith(note)
