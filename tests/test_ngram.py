"""Tables of symbols: by hand, and what they make of texts."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import probgen
from probgen.errors import InputError
from probgen.recipes import execute, read
from tests.test_symbols import text

WORDS = ("abracadabra", "bar", "cab")


def smoothed(n: int, alpha: float) -> dict[str, dict[str, float]]:
    """The formula at the head of the file; "^" stands before the start."""
    symbols = sorted(set("".join(WORDS)))
    p = {"": dict.fromkeys(symbols, 1 / len(symbols))}
    shorter = ""
    for known in range(n):
        counts: Counter[str] = Counter()
        for word in WORDS:
            whole = "^" * known + word
            counts.update(whole[i : i + known + 1] for i in range(len(word)))
        contexts = ["".join(c) for c in product([*symbols, "^"], repeat=known)]
        new = {}
        for c in contexts:
            total = sum(counts[c + x] for x in symbols)
            lower = p[c[1:]] if known else p[shorter]
            new[c] = {x: (counts[c + x] + alpha * lower[x]) / (total + alpha) for x in symbols}
        p = new
    return p


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("alpha", [0.1, 2.0])
def test_the_table_is_the_formula(n: int, alpha: float) -> None:
    data = text(*WORDS)
    fitted = probgen.fit("ngram", data, order=n - 1, alpha=alpha)
    p, before = smoothed(n, alpha), "^" * (n - 1)
    expected = []
    for word in WORDS:
        whole = before + word
        expected.append(sum(np.log(p[whole[i : i + n - 1]][x]) for i, x in enumerate(word)))
    scores = probgen.score(fitted, data, conditionals=True)
    np.testing.assert_allclose(scores.log_prob, expected, rtol=1e-9)
    assert float(fitted.history["log_likelihood"][-1]) == pytest.approx(np.mean(expected), rel=1e-9)


def test_draws_go_on_as_texts_do() -> None:
    fitted = probgen.fit("ngram", text("abc" * 100), order=1, alpha=1e-6)
    draws = probgen.sample(fitted, 5, given={"x": "ab"}, length=7)
    assert (draws.x.values == [0, 1, 2, 0, 1, 2, 0, 1, 2]).all()


def test_what_is_rare_is_one_symbol() -> None:
    data = text("aabbaabbxz", "abyab")
    fitted = probgen.fit("ngram", data, rare=2)
    assert fitted.event.symbols == ("a", "b", "\N{REPLACEMENT CHARACTER}")
    new = probgen.score(fitted, text("abq")).log_prob.item()  # never seen
    assert new == pytest.approx(probgen.score(fitted, text("abx")).log_prob.item())
    assert probgen.sample(fitted, given={"x": "aq"}, length=1).x.values[0, 1] == 2
    with pytest.raises(InputError, match="'q' is not in the vocabulary of the fit"):
        probgen.score(probgen.fit("ngram", data), text("abq"))
    with pytest.raises(InputError, match="rare = 2: x is not a text of characters"):
        probgen.fit("ngram", np.zeros((3, 4), int), rare=2)


def test_a_table_that_is_too_large_is_told_in_a_line() -> None:
    with pytest.raises(InputError, match="order = 11: with 5 levels, the table would have more than"):
        probgen.fit("ngram", text(*WORDS), order=11)
    with pytest.raises(InputError, match="not symbols"):
        probgen.fit("ngram", text(*WORDS).assign(x=(("row", "time"), np.zeros((3, 11)))))


def test_what_is_looked_at_is_in_the_symbols_of_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("abcabcabz" * 10)
    (tmp_path / "r.toml").write_text(
        f"""
[data]
path = "{tmp_path / "a.txt"}"
split = "train"
[models.table]
family = "ngram"
rare = 11
[sample]
length = 5
[score]
split = "valid"
[conditionals]
"""
    )
    seen: list[str] = []
    monkeypatch.setattr(
        "probgen.analyses.conditionals.draw.surprise",
        lambda symbols, *rest, **named: seen.append("".join(symbols)) or Figure(),
    )
    monkeypatch.setattr("probgen.api.analyzing.save", lambda figure, path: None)
    list(execute(read(str(tmp_path / "r.toml")), tmp_path / "out"))
    assert seen == ["abcabcab\N{REPLACEMENT CHARACTER}"]
