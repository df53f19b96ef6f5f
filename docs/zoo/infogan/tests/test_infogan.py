import numpy as np
import pytest
from scipy.stats import entropy

import probgen
from probgen.testing import FamilyLaws

MODES = 5


class TestInfoGAN(FamilyLaws):
    family = "infogan"
    options = {"categories": 3, "hidden": (8,), "steps": 6, "batch_size": 20}


def ring(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A planted mixture: n rows around five points of a circle, and the number of the point of each row."""
    rng = np.random.default_rng(seed)
    k = rng.integers(MODES, size=n)
    angle = 2 * np.pi * k / MODES
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal((n, 2)), k


def information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) of two columns of numbers below MODES, in nats."""
    table = np.histogram2d(a, b, np.arange(MODES + 1) - 0.5)[0]
    return entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table.ravel())


def test_the_code_is_the_planted_mode() -> None:
    """On new rows, Q tells the mode: I(Q(x); mode) is at least 1.5 of at most log 5 = 1.609 nats.

    The bound L_I of the fit is below the entropy of the code, and close to it. A code without the mode has 0 nats.
    """
    fitted = probgen.fit("infogan", ring(4000, 0)[0], categories=MODES, hidden=(64, 64), steps=600)
    x, mode = ring(2000, 1)
    told = probgen.attributes(fitted, x).sel(factor="k")
    assert information(told.values, mode) > 1.5
    bound = float(fitted.history.information_k[-100:].mean())
    assert 1.55 < bound <= np.log(MODES)
    draws = probgen.sample(fitted, 1000, given={"k": 2}, seed=1)
    again = probgen.attributes(fitted, draws.x.values).sel(factor="k")
    assert (again == 2).mean() > 0.95


def test_codes_out_of_range_are_refused() -> None:
    fitted = probgen.fit("infogan", ring(50, 0)[0], steps=1, batch_size=20)
    with pytest.raises(probgen.errors.InputError, match="k"):
        probgen.sample(fitted, given={"k": 8})
