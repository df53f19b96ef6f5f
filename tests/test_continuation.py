"""Rows of sequences that are known in part, in every family: against all words, with each option, and with an end."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import xarray as xr

import probgen
from probgen.contract.fitted import Fitted
from probgen.errors import InputError
from probgen.testing.spaces import FALSE_ALARM, p_value

STEPS, LEVELS, DRAWS = 4, 3, 2000
WORDS = np.array(list(product(range(LEVELS), repeat=STEPS)))
FAMILIES: dict[str, dict[str, Any]] = {
    "ngram": {"order": 2},
    "char-rnn": {"hidden": 8, "epochs": 4, "learning_rate": 0.05},
    "transformer": {"width": 8, "heads": 2, "layers": 1, "window": 8, "epochs": 4, "learning_rate": 0.02},
    "wavenet": {"channels": 4, "dilations": [1, 2], "stacks": 1, "epochs": 4, "learning_rate": 0.02},
    "seq2seq": {"width": 8, "heads": 2, "layers": 1, "encoder_layers": 1, "window": 8, "epochs": 4, "learning_rate": 0.02},
}  # fmt: skip
END = 0  # of seq2seq: the line feed
FITS: dict[str, Fitted] = {}


def words(rows: int = 300) -> np.ndarray:
    """Each symbol follows itself half of the time; of seq2seq the ends are cut by `data`."""
    rng = np.random.default_rng(1)
    x = np.zeros((rows, STEPS), dtype=np.int64)
    x[:, 0] = rng.choice(LEVELS, rows, p=[0.2, 0.5, 0.3])
    for t in range(1, STEPS):
        x[:, t] = np.where(rng.random(rows) < 0.5, x[:, t - 1], rng.choice(LEVELS, rows, p=[0.3, 0.3, 0.4]))
    return x


def data(name: str) -> xr.Dataset:
    if name != "seq2seq":
        return xr.Dataset({"x": (("row", "time"), words(), {"support": "token", "levels": LEVELS})})
    x = words()
    x[(x == END).cumsum(1) > 0] = END  # nothing follows an end
    attrs = {"support": "token", "levels": LEVELS, "symbols": ["\n", "a", "b"]}
    source = {"support": "token", "levels": 2}
    return xr.Dataset(
        {
            "x": (("row", "time"), x, attrs),
            "source": (("row", "place"), np.random.default_rng(2).integers(2, size=(len(x), 3)), source),
        }
    )


def fitted(name: str) -> Fitted:
    if name not in FITS:
        FITS[name] = probgen.fit(name, data(name), **FAMILIES[name])
    return FITS[name]


def condition(name: str, rows: int | None = None) -> dict[str, np.ndarray]:
    if name != "seq2seq":
        return {}
    source = np.array([0, 1, 1])
    return {"source": source if rows is None else np.repeat(source[None], rows, 0)}


def log_p(name: str) -> np.ndarray:
    """log p(x_t | x_<t) of every word: (word, step)."""
    given = {key: (("row", "place"), value, {"support": "token", "levels": 2}) for key, value in condition(name, len(WORDS)).items()}  # fmt: skip
    scores = probgen.score(
        fitted(name), data(name)[["x"]].isel(row=[0] * len(WORDS)).assign(x=(("row", "time"), WORDS, data(name)["x"].attrs), **given), conditionals=True
    )  # fmt: skip
    np.testing.assert_allclose(scores["site_log_prob"].sum("time"), scores["log_prob"], atol=1e-5)
    return scores["site_log_prob"].values.astype(np.float64)


def test_of(drawn: np.ndarray, p: np.ndarray) -> float:
    """Of a G-test of draws (sample, step) of the words, whose probabilities (word,) are normalized here."""
    number = drawn.astype(int) @ LEVELS ** np.arange(STEPS)[::-1]
    p = p / p.sum()
    assert not (p[number] == 0).any(), f"{drawn[p[number] == 0][0]} has probability 0"
    if (p > 0).sum() == 1:
        return 1.0
    return p_value(np.bincount(number, minlength=len(p)), p)


test_of.__test__ = False  # type: ignore[attr-defined]  # a helper


def draws(name: str, x: list[float], **options: Any) -> xr.Dataset:
    given = {"x": np.array(x, dtype=float), **condition(name)}
    return probgen.sample(fitted(name), DRAWS, given=given, seed=5, **options)


def agree(words: np.ndarray, x: list[float]) -> np.ndarray:
    """Which words have the known steps of x: (word,)."""
    return np.all([np.isnan(value) | (words[:, t] == value) for t, value in enumerate(x)], axis=0)


NAN = float("nan")


@pytest.mark.parametrize("name", FAMILIES)
def test_all_words_have_the_probability_1(name: str) -> None:
    assert np.exp(log_p(name).sum(1)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("x", [[2, NAN, NAN, NAN], [NAN, 2, NAN, 1], [NAN, NAN, NAN, 2], [1, NAN, NAN, 1]])
@pytest.mark.parametrize("name", FAMILIES)
def test_completions_have_the_conditional_probabilities(name: str, x: list[float]) -> None:
    """Also where a missing step of x comes before an observed one, by 100 particles; what is known is kept. With a control."""
    p = np.exp(log_p(name).sum(1)) * agree(WORDS, x)
    found = draws(name, x, particles=100)
    assert test_of(found["x"].values, p) > FALSE_ALARM
    assert test_of(found["x"].values, (p + 1e-9) ** 1.6 * (p > 0)) < FALSE_ALARM
    if name == "seq2seq":
        ended = (found["x"].values == END).argmax(1)
        expected = np.where((found["x"].values == END).any(1), ended + 1, STEPS)
        np.testing.assert_array_equal(found["length"], expected)


@pytest.mark.parametrize(
    "options", [{"temperature": 0.4}, {"temperature": 2.5}, {"top_k": 2}, {"top_p": 0.7}], ids=str
)
@pytest.mark.parametrize("name", FAMILIES)
def test_what_follows_a_prompt_minds_every_option(name: str, options: dict[str, Any]) -> None:
    """The conditionals, tempered or cut, and normalized anew; without the option the draws are another distribution's."""
    each = log_p(name)
    x = [2, NAN, NAN, NAN]
    changed = np.zeros(len(WORDS))
    for t in range(1, STEPS):
        shape = (
            -1,
            LEVELS,
            LEVELS ** (STEPS - 1 - t),
        )  # words by their first steps, the symbol, and the rest
        logits = each[:, t].reshape(shape)[:, :, 0] / options.get("temperature", 1)
        p = np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))
        order = np.argsort(-p, 1, kind="stable")
        ordered = np.take_along_axis(p, order, 1)
        kept = np.arange(LEVELS) < options.get("top_k", LEVELS)
        kept = kept & (ordered.cumsum(1) - ordered < options.get("top_p", 1.0))
        np.put_along_axis(p, order, ordered * kept, 1)
        with np.errstate(divide="ignore"):
            changed += np.log(p / p.sum(1, keepdims=True))[:, :, None].repeat(shape[2], 2).ravel()
    found = draws(name, x, **options)["x"].values
    assert test_of(found, np.exp(changed) * agree(WORDS, x)) > FALSE_ALARM
    plain = draws(name, x)["x"].values
    assert not np.array_equal(plain, found)


@pytest.mark.parametrize("name", FAMILIES)
def test_as_many_steps_are_drawn_as_are_asked_for(name: str) -> None:
    x = [2, 1, NAN, NAN]
    assert draws(name, x, length=3)["x"].shape == (DRAWS, 5)
    assert draws(name, [2, 1, 1, 1], length=3)["x"].shape == (DRAWS, 7)
    assert (draws(name, x, length=3)["x"].values[:, :2] == [2, 1]).all()
    rows = np.array([[2, NAN, NAN, NAN], [1, 2, 2, NAN]])
    both = probgen.sample(fitted(name), 50, given={"x": rows, **condition(name, 2)}, temperature=0.5)[
        "x"
    ].values
    assert (both[:, 0, 0] == 2).all()
    assert (both[:, 1, :3] == [1, 2, 2]).all()
    with pytest.raises(InputError, match="length = 3: the rows have 1 to 3 observed steps"):
        probgen.sample(fitted(name), 1, given={"x": rows, **condition(name, 2)}, length=3)


@pytest.mark.parametrize(
    "options", [{"temperature": 0.5}, {"top_k": 1}, {"top_p": 0.5}, {"length": 2}], ids=str
)
@pytest.mark.parametrize("name", FAMILIES)
def test_what_cannot_be_minded_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a missing step of x comes before an observed one"):
        draws(name, [NAN, 1, NAN, NAN], **options)
    if "length" not in options:
        with pytest.raises(InputError, match="no step is sampled"):
            draws(name, [2, 1, 1, 1], **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_known_whole_are_no_obstacle_to_others(name: str) -> None:
    """A row known whole stays as it is where others are gone on with, whatever options say how; so little is left to a low temperature."""
    rows = np.array([[2, 1, 2, 1], [2, NAN, NAN, NAN]])
    given = {"x": rows, **condition(name, 2)}
    found = probgen.sample(fitted(name), 30, given=given, temperature=1e-320)["x"].values
    assert (found[:, 0] == rows[0]).all()
    assert (found[:, 1] == found[0, 1]).all()  # the most probable


def test_prompts_and_rows_known_in_part_are_drawn_in_calls_of_their_own() -> None:
    x = xr.Dataset(
        {
            "x": (("row", "time"), words(), {"support": "token", "levels": LEVELS}),
            "length": ("row", np.random.default_rng(3).integers(2, STEPS + 1, size=300)),
        }
    )
    table = probgen.fit("ngram", x, order=1)
    with pytest.raises(InputError, match="row 0 is complete and would be continued, row 1 is incomplete"):
        probgen.sample(table, 1, given={"x": np.array([[1, 2, 1, 1], [1, NAN, NAN, NAN]])})
    assert probgen.sample(table, 2, given={"x": np.array([[1, 2, 1, 1]])}, length=3)["x"].shape == (2, 1, 7)
    steps = np.full((9000, 4), NAN)
    steps[:, 0], steps[8192:, 1] = 1, 2  # another number of known steps in another shard
    with pytest.raises(InputError, match="shapes"):
        probgen.sample(fitted("ngram"), 1, given={"x": steps}, length=3)


@pytest.mark.parametrize("options", [{"temperature": 0.5}, {"top_k": 1}, {"top_p": 0.5}], ids=str)
def test_a_beam_is_no_draw(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="beam search does not sample"):
        probgen.sample(fitted("seq2seq"), 1, given=condition("seq2seq"), beams=2, **options)


def test_one_of_equally_probable_symbols_is_one() -> None:
    """Of rows of all words alike every symbol is as probable: top_k = 1 draws one of them, top_k = 2 two."""
    alike = xr.Dataset({"x": (("row", "time"), WORDS, {"support": "token", "levels": LEVELS})})
    table = probgen.fit("ngram", alike, order=0)
    for k in (1, 2):
        found = probgen.sample(table, 400, top_k=k)["x"].values
        assert len(np.unique(found)) == k


def test_what_an_end_says() -> None:
    """Nothing follows it, in draws, prompts and completions, by a beam too; with a symbol after it a row has no probability."""
    model, given = fitted("seq2seq"), condition("seq2seq")
    free = probgen.sample(model, DRAWS, given=given)["x"].values
    p = np.exp(log_p("seq2seq").sum(1))
    assert test_of(free, p) > FALSE_ALARM
    after = ((WORDS == END).cumsum(1) > 0)[:, :-1] & (WORDS[:, 1:] != END)
    assert (p[after.any(1)] == 0).all()
    for options in ({}, {"beams": 3}):
        over = probgen.sample(model, 20, given={"x": np.array([1, END, NAN, NAN]), **given}, **options)
        assert (over["x"].values == [1, END, END, END]).all()
        assert (over["length"] == 2).all()
    before = probgen.sample(model, DRAWS, given={"x": np.array([NAN, NAN, NAN, 1.0]), **given})["x"].values
    assert not (before == END).any()
    for x in ([NAN, END, NAN, 1.0], [END, 1, NAN, NAN], [END, 1, 1, 2], [NAN, END, 1, NAN]):
        with pytest.raises(InputError, match="a symbol comes after the end"):
            probgen.sample(model, 1, given={"x": np.array(x), **given})
    broken = data("seq2seq")
    broken["x"][7] = [1, END, 2, END]
    with pytest.raises(InputError, match="x, row 7: symbols come after"):
        probgen.fit("seq2seq", broken, **FAMILIES["seq2seq"])
