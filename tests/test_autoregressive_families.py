"""The autoregressive families behind the hooks: conditions, validation, penalties, conditionals, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import probgen
from probgen.contract.state import digest_of
from probgen.errors import InputError, Interrupted, NotOffered
from probgen.testing import spaces
from probgen.testing.helpers import Stop

SMALL: dict[str, dict[str, Any]] = {
    "fvsbn": {"epochs": 40, "batch_size": 20, "learning_rate": 0.1},
    "nade": {"epochs": 40, "batch_size": 20, "learning_rate": 0.05, "hidden": 8},
    "made": {"epochs": 40, "batch_size": 20, "learning_rate": 0.05, "hidden": 16, "masks": 2},
}
FAMILIES = list(SMALL)


def labeled(rows: int = 400) -> xr.Dataset:
    """Four bits that are mostly those of the label (0, 1, 2) in binary, twice over."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, rows)
    bits = np.stack([label >> 1, label & 1, label >> 1, label & 1], 1)
    x = bits ^ (rng.random((rows, 4)) < 0.1)
    return xr.Dataset({"x": (("row", "feature"), x.astype(np.uint8)), "label": ("row", label, {"levels": 3})})


@pytest.mark.parametrize("family", FAMILIES)
def test_class_conditional(family: str) -> None:
    """p(x | label) sums to one for every label, and knows which bits belong to it."""
    data = labeled()
    fitted = probgen.fit(family, data, given=["label"], dtype="float64", **SMALL[family])
    rows = spaces.all_rows(fitted.event)
    p = []
    for label in range(3):
        every = xr.Dataset({"x": (("row", "feature"), rows), "label": ("row", np.full(len(rows), label))})
        scores = probgen.score(fitted, every)
        assert scores.log_prob.attrs["given"] == "label"
        p.append(np.exp(scores.log_prob.values))
        assert p[-1].sum() == pytest.approx(1, abs=1e-10)
    for label, bits in enumerate(([0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0])):
        assert (rows[np.argmax(p[label])] == bits).all()
    draws = probgen.sample(fitted, 500, given={"label": np.arange(3)}).x
    assert draws.dims == ("sample", "row", "feature")
    # 9 of 10 bits are those of the label: 500 draws are below 0.85 with probability 1e-4 for each of 12 bits
    assert (abs(draws.mean("sample").values - [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]]) < 0.25).all()
    with pytest.raises(InputError, match="label"):
        probgen.sample(fitted, 3)


@pytest.mark.parametrize("family", ["nade", "made"])
def test_a_network_that_can_memorize_its_rows_gets_advice_that_helps(family: str) -> None:
    rng = np.random.default_rng(0)
    train, valid, other = (rng.integers(0, 2, (rows, 10)) for rows in (30, 200, 1000))  # noise: p = 2^-10
    options = {**SMALL[family], "hidden": 100, "epochs": 60, "batch_size": 30}
    alone, helped = probgen.fit(family, train, **options), probgen.fit(family, train, valid=valid, **options)
    large = probgen.fit(family, other, **options | {"epochs": 1})  # more values than parameters
    found = ["memorize the rows" in " ".join(fitted.notes) for fitted in (alone, helped, large)]
    assert found == [True, False, False]
    gain = (probgen.score(helped, other).log_prob - probgen.score(alone, other).log_prob).mean()
    assert gain > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_of_the_best_epoch_are_kept(family: str) -> None:
    """Too long a fit ends with the weights that were best on the validation rows, and with patience it stops early."""
    rng = np.random.default_rng(0)
    train, valid = (
        rng.integers(0, 2, (30, 10)),
        rng.integers(0, 2, (200, 10)),
    )  # noise: it can only be overfitted
    options = {**SMALL[family], "epochs": 60, "batch_size": 30, "dtype": "float64"}
    fitted = probgen.fit(family, train, valid=valid, **options)
    losses = fitted.history.valid_loss.values
    assert np.nanargmin(losses) < len(losses) - 1
    assert -probgen.score(fitted, valid).log_prob.mean() == pytest.approx(np.nanmin(losses), abs=1e-9)
    patient = probgen.fit(family, train, valid=valid, patience=5, **options)
    assert patient.history.sizes["step"] == np.nanargmin(losses) + 1 + 5
    assert digest_of(patient.state) == digest_of(fitted.state)


def test_a_fit_with_validation_resumes_to_the_same_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, valid = rng.integers(0, 2, (40, 6)), rng.integers(0, 2, (40, 6))
    options = {**SMALL["made"], "epochs": 12, "patience": 4}
    whole = probgen.fit("made", train, valid=valid, **options)
    for stop in (1, 5, len(whole.history.step) - 1):
        out = tmp_path / str(stop)
        with pytest.raises(Interrupted), probgen.observing(Stop(stop)):
            probgen.fit("made", train, valid=valid, out=out, **options)
        resumed = probgen.fit("made", train, valid=valid, out=out, resume=True, **options)
        assert digest_of(resumed.state) == digest_of(whole.state)
        assert digest_of(resumed.history) == digest_of(whole.history)


@pytest.mark.parametrize("family", FAMILIES)
def test_penalties_make_weights_smaller(family: str) -> None:
    data = labeled(200).drop_vars("label")

    def size(**more: Any) -> float:
        fitted = probgen.fit(family, data, **{**SMALL[family], **more})
        return sum(float(w.detach().abs().sum()) for w in fitted.module.weights())

    plain = size()
    assert size(l1=0.05) < 0.5 * plain
    assert size(weight_decay=1.0) < 0.8 * plain


@pytest.mark.parametrize(
    ("schedule", "hold"),
    [("constant", 0.0), ("cosine", 0.0), ("cosine", 0.5), ("linear", 0.0), ("linear", 0.5)],
)
def test_learning_rate_schedules(schedule: str, hold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: rates.append(self.param_groups[0]["lr"]) or step(self, *a)
    )
    data = labeled().drop_vars("label")
    probgen.fit("fvsbn", data, steps=8, learning_rate=0.5, schedule=schedule, hold=hold)
    t = np.maximum(0, (np.arange(8) / 8 - hold) / (1 - hold))
    expected = {"constant": 0 * t + 1, "cosine": (1 + np.cos(math.pi * t)) / 2, "linear": 1 - t}[schedule]
    np.testing.assert_allclose(rates, 0.5 * expected)


def test_fused_adam_is_adam() -> None:
    """The optimizer's fused kernel, on gradients that have gone through a transpose, gives what the plain one gives."""
    g = torch.Generator().manual_seed(0)
    start, x = torch.randn(7, 5, generator=g), torch.randn(20, 7, generator=g)
    ends = []
    for fused in (True, False):
        p = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([p], lr=0.1, weight_decay=0.01, fused=fused)
        for _ in range(20):
            optimizer.zero_grad()
            (p.mT @ x.mT).square().sum().backward()
            optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)


# conditionals


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ordering", ["natural", (3, 1, 0, 2)])
def test_conditionals_are_ratios_of_marginals(family: str, ordering: Any) -> None:
    """site_log_prob and site_mean against p(x_i | x_<i) by enumeration, also of an ensemble of masks."""
    data = labeled().drop_vars("label")
    fitted = probgen.fit(family, data, ordering=ordering, dtype="float64", **SMALL[family])
    rows = spaces.all_rows(fitted.event)
    found = probgen.score(fitted, rows, conditionals=True)
    p = np.exp(found.log_prob.values)
    order = np.arange(4) if ordering == "natural" else np.array(ordering)
    for r, x in enumerate(rows):
        for t, i in enumerate(order):
            before = (rows[:, order[:t]] == x[order[:t]]).all(1)
            one = p[before & (rows[:, i] == 1)].sum() / p[before].sum()
            assert found.site_mean.values[r, i] == pytest.approx(one, abs=1e-9)
            expected = math.log(one if x[i] else 1 - one)
            assert found.site_log_prob.values[r, i] == pytest.approx(expected, abs=1e-9)


def test_conditionals_of_reals_are_in_units_of_x() -> None:
    x = np.random.default_rng(0).normal([100.0, -3.0], [5.0, 0.1], (300, 2))
    fitted = probgen.fit("nade", x, dtype="float64", **SMALL["nade"])
    found = probgen.score(fitted, x[:5], conditionals=True)
    np.testing.assert_allclose(found.site_log_prob.sum("feature"), found.log_prob)
    np.testing.assert_allclose(found.site_mean.values, np.tile(x.mean(0), (5, 1)), atol=2)


def test_orderings_have_no_common_conditionals() -> None:
    fitted = probgen.fit("made", labeled().drop_vars("label"), ordering="random", **SMALL["made"])
    with pytest.raises(NotOffered, match="orderings"):
        probgen.score(fitted, spaces.all_rows(fitted.event), conditionals=True)


# real data and completion through the hooks


def test_a_constant_column_has_a_scale_of_one() -> None:
    x = np.random.default_rng(0).normal(0, 3, (300, 2))
    x[:, 1] = 3.3
    fitted = probgen.fit("nade", x, dtype="float64", **SMALL["nade"])
    assert fitted.state["standard.scale"].values[1] == 1
    assert fitted.state["standard.scale"].values[0] == pytest.approx(x[:, 0].std())


def test_known_reals_come_back_as_they_were() -> None:
    x = np.random.default_rng(0).normal(0, 3, (500, 3)).astype(np.float32)
    fitted = probgen.fit("nade", x, steps=2, hidden=3)
    given = x.copy()
    given[:, 1] = np.nan
    draws = probgen.sample(fitted, 1, given={"x": given}, particles=2).x.values[0]
    assert (draws[:, [0, 2]] == x[:, [0, 2]]).all()


def test_validation_comes_once_an_epoch() -> None:
    """Also where batches run on from one epoch into the next: 101 rows, 100 a step."""
    x = np.random.default_rng(0).integers(0, 2, (101, 3))
    fitted = probgen.fit("fvsbn", x, valid=x, batch_size=100, epochs=10)
    assert np.isfinite(fitted.history.valid_loss.values).sum() == 10


def test_completion_keeps_what_is_known_and_says_how_good_it_is() -> None:
    fitted = probgen.fit("made", labeled().drop_vars("label"), **SMALL["made"])
    x = np.array([[np.nan, np.nan, 1, 0], [1, np.nan, np.nan, np.nan]])
    draws = probgen.sample(fitted, 200, given={"x": x}, particles=50)
    assert draws.x.dims == ("sample", "row", "feature")
    assert draws.ess.dims == ("sample", "row")
    assert (draws.x.values[:, 0, 2:] == [1, 0]).all()
    assert (draws.x.values[:, 1, 0] == 1).all()
    assert (draws.ess >= 1).all()
    assert (draws.ess <= 50).all()
    # bits 0 and 1 are those of bits 2 and 3, nine times in ten each
    assert draws.x.values[:, 0, 0].mean() > 0.7
    assert draws.x.values[:, 0, 1].mean() < 0.3


def test_completion_of_reals() -> None:
    """x_2 = x_1 + noise: given x_2, x_1 is drawn around it, within the spread of the exact conditional."""
    rng = np.random.default_rng(0)
    first = rng.normal(50, 4, (2000, 1))
    x = np.concatenate([first, first + rng.normal(0, 1, (2000, 1))], 1)
    fitted = probgen.fit(
        "nade", x, hidden=20, epochs=60, batch_size=100, learning_rate=0.02, schedule="cosine"
    )
    draws = probgen.sample(fitted, 400, given={"x": [np.nan, 54.0]}, particles=200).x.values
    assert (draws[:, 1] == np.float32(54)).all()
    mean = 50 + 4 * 16 / 17  # of the bivariate normal
    assert abs(draws[:, 0].mean() - mean) < 0.5
    assert 0.7 < draws[:, 0].std() < 1.4


# bad input


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("family", "data", "options", "word"),
    [
        ("nade", "binary", {"hidden": 0}, "hidden = 0"),
        ("made", "binary", {"hidden": 0}, "hidden = 0"),
        ("made", "binary", {"masks": 0}, "masks = 0"),
        ("fvsbn", "binary", {"ordering": [0, 1, 2]}, "permutation of 0 .. 3"),
        ("nade", "binary", {"ordering": [0, 1, 2, 2]}, "permutation of 0 .. 3"),
        ("made", "binary", {"ordering": "reverse"}, "ordering"),
        ("nade", "binary", {"components": 3}, "components = 3"),
        ("nade", "binary", {"given": ["label"]}, "label"),
        ("fvsbn", "binary", {"l1": -1.0}, "l1 = -1.0"),
        ("fvsbn", "binary", {"patience": 3}, "patience"),
        ("fvsbn", np.full((5, 4), 2), {}, None),
    ],
)
def test_bad_input_is_one_clear_line(
    family: str, data: Any, options: dict[str, Any], word: str | None
) -> None:
    rows = spaces.example(data) if isinstance(data, str) else data
    if word is None:  # whole numbers above 1 are levels, not bits
        assert probgen.fit(family, rows, steps=1).event.support == "integer"
        return
    with pytest.raises(InputError, match=word.replace(".", r"\.")) as caught:
        probgen.fit(family, rows, steps=1, **options)
    assert "\n" not in str(caught.value)


def test_a_row_that_is_no_event_is_named() -> None:
    fitted = probgen.fit("nade", spaces.example("binary"), hidden=3, steps=1)
    for bad, word in (
        (np.full((2, 4), 0.5), "0.5"),
        (np.full((2, 4), 2), "2"),
        (np.zeros((2, 5), int), "shape"),
        (np.full((2, 4), np.nan), "missing"),
    ):
        with pytest.raises(InputError, match=word):
            probgen.score(fitted, bad)
    with pytest.raises(InputError, match="dimensions"):
        probgen.sample(fitted, 1, given={"x": np.zeros((1, 2, 3))})
    with pytest.raises(InputError, match="particles = 0"):
        probgen.sample(fitted, 1, given={"x": [np.nan, 0, 0, 1]}, particles=0)
