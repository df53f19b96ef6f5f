"""Texts as whole numbers: vocabularies, prompts, and texts in another vocabulary than that of the fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.codecs.texts import (
    UNKNOWN,
    decode,
    encode,
    encode_all,
    frequent,
    pieces,
    recode,
    symbols_of,
    texts_of,
)
from probgen.data.describe import event_of
from probgen.errors import InputError
from tests.test_lengths import Unigram, by_hand


def text(*rows: str, symbols: list[str] | None = None) -> xr.Dataset:
    """Texts, one a row."""
    symbols = symbols or symbols_of("".join(rows))
    length = np.array([len(row) for row in rows])
    x = np.zeros((len(rows), length.max()), np.uint8)
    for i, row in enumerate(rows):
        x[i, : len(row)] = encode(row, symbols)
    attrs = {"support": "token", "levels": len(symbols), "symbols": symbols}
    return xr.Dataset({"x": (("row", "time"), x, attrs), "length": ("row", length)})


@given(st.text(min_size=1))
def test_there_and_back(written: str) -> None:
    symbols = symbols_of(written)
    assert sorted(set(written)) == symbols
    tokens = encode(written, symbols)
    assert tokens.tolist() == [symbols.index(c) for c in written]
    assert decode(tokens, symbols) == written


def test_pieces_are_the_longest_that_fit() -> None:
    words = ["a", "b", " ", " a", "ab", "aba"]
    assert encode("abab ab", words).tolist() == [5, 1, 3, 1]
    assert decode(np.array([5, 1, 3, 1]), words) == "abab ab"
    across = ["a", "b", " ", "a b"]  # a piece that goes beyond a word
    assert encode("ba ba b", across).tolist() == [1, 3, 3]


def test_the_most_frequent_neighbors_are_joined_first() -> None:
    """By hand: of low x 5, lowest x 2, newer x 6 and wider x 3 (Sennrich et al. 2016) e-r comes 9 times, and so on."""
    lines = ["low"] * 5 + ["lowest"] * 2 + ["newer"] * 6 + ["wider"] * 3
    letters = sorted(set("".join(lines)))
    assert pieces(lines, 0) == letters
    assert pieces(lines, 6) == [*letters, "er", "lo", "low", "ew", "ewer", "newer"]


@given(st.lists(st.text("ab \n", min_size=1), min_size=1), st.integers(0, 30))
def test_pieces_write_what_they_come_from(lines: list[str], merges: int) -> None:
    symbols = pieces(lines, merges)
    assert len(set(symbols)) == len(symbols) <= len(set("".join(lines))) + merges
    for line in lines:
        assert decode(encode(line, symbols), symbols) == line
    tokens, length = encode_all(lines, symbols)
    assert [decode(row[:n], symbols) for row, n in zip(tokens, length, strict=True)] == lines


def test_what_the_vocabulary_cannot_write_is_mapped_if_it_says_so() -> None:
    assert encode("abcd", ["a", UNKNOWN, "c"]).tolist() == [0, 1, 2, 1]
    assert encode("xabc", ["a", "ab", UNKNOWN]).tolist() == [2, 1, 2]
    tokens, length = recode(np.array([[0, 1, 2]]), np.array([3]), ["a", "b", "c"], ["c", "a", UNKNOWN])
    assert tokens.tolist() == [[1, 2, 0]]
    assert length.tolist() == [3]
    assert frequent(np.array([[0, 0, 1, 2, 2, 1]]), np.array([5]), ["a", "b", "c"], 2) == ["a", "c", UNKNOWN]


@pytest.mark.parametrize(
    ("written", "symbols", "message"),
    [
        ("abcé", list("abc"), "character 3: 'é' is not in the vocabulary"),
        ("zab", list("cab"), "character 0: 'z'"),
        ("a cat", ["a", " d"], "character 1: ' '"),
    ],
)
def test_what_was_not_seen_is_named(written: str, symbols: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(written, symbols)


@given(st.text("abcdef", min_size=1), st.permutations("abcdefg"))
def test_one_vocabulary_in_another(written: str, wanted: list[str]) -> None:
    own = symbols_of(written)
    tokens = encode(written, own)[None]
    other, length = recode(tokens, np.array([len(written)]), own, wanted)
    assert decode(other[0], wanted) == written
    assert length.tolist() == [len(written)]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([[0, 9]], "position 1: 9; allowed"), ([[0.5, 0]], "position 0: 0.5"), ([[0, -1]], "-1")],
)
def test_what_is_no_symbol_is_told_in_a_line(tokens: list[list[float]], message: str) -> None:
    attrs = {"support": "token", "levels": 2, "symbols": ["a", "b"]}
    data = xr.Dataset({"x": (("row", "time"), np.array(tokens), attrs)})
    fitted = probgen.fit(Unigram, text("abracadabra"))
    with pytest.raises(InputError, match=message):
        probgen.score(fitted, data)
    with pytest.raises(InputError, match=message):
        probgen.fit("ngram", data, rare=2)


def test_what_is_past_the_end_of_a_row_is_no_matter() -> None:
    fitted = probgen.fit(Unigram, text("bcbcb", "bc"))
    data = text("abbb", "bc").isel(row=[1])
    assert probgen.score(fitted, data).log_prob.item() == pytest.approx(
        probgen.score(fitted, text("bc")).log_prob.item()
    )
    whole = probgen.fit("ngram", text("ababab").drop_vars("length"))
    rows = text("ab", "bababa", symbols=list("ba"))
    own = text("ab", "bababa", symbols=list("ab"))
    np.testing.assert_allclose(probgen.score(whole, rows).log_prob, probgen.score(whole, own).log_prob)


def test_prompts_in_other_symbols(tmp_path: Path) -> None:
    """As a file, a Dataset, an array with a vocabulary, of one row and of none."""
    fitted = probgen.fit("ngram", text("abcabcabc hello" * 20), order=2, alpha=1e-6, out=tmp_path / "run")
    prompt = text("bca")
    (tmp_path / "p.txt").write_text("bca")
    expected = probgen.sample(fitted, 2, given={"x": "bca"}, length=4).x.values
    for start in (prompt, prompt.isel(row=0), prompt.isel(row=0)[["x"]], {"x": prompt.x}, {"x": prompt.x[0]}):
        assert (probgen.sample(fitted, 2, given=start, length=4).x.values.reshape(2, -1) == expected).all()
    args = [
        "sample",
        str(tmp_path / "run"),
        "-n",
        "2",
        "--given",
        str(tmp_path / "p.txt"),
        "--set",
        "length=4",
    ]
    done = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "s.h5"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["texts"] == texts_of(
        probgen.sample(fitted, 2, given={"x": "bca"}, length=4).x
    )


def test_a_text_in_other_symbols_is_the_same_text(tmp_path: Path) -> None:
    fitted = probgen.fit(Unigram, text("abracadabra", "cab"))
    assert fitted.event.symbols == ("a", "b", "c", "d", "r")
    fitted.save(tmp_path / "model.h5")
    fitted = probgen.load(tmp_path / "model.h5", Unigram)
    same = text("abba", "card")
    other = text("abba", "card", symbols=list("rdcba"))
    np.testing.assert_allclose(
        probgen.score(fitted, other).log_prob,
        by_hand(fitted, text("abba", "card", symbols=list("abcdr"))),
        rtol=1e-6,
    )
    assert (probgen.score(fitted, other).log_prob == probgen.score(fitted, same).log_prob).all()
    other.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    assert (
        probgen.score(fitted, str(tmp_path / "other.nc")).log_prob == probgen.score(fitted, same).log_prob
    ).all()
    with pytest.raises(InputError, match="row 1, position 2: 'z' is not in the vocabulary of the fit"):
        probgen.score(fitted, text("ab", "caz"))
    with pytest.raises(InputError, match="row 0, position 0: 'z'"):
        probgen.fit(Unigram, text("ab"), valid=text("za"))


def test_prompts_are_texts_and_so_are_draws() -> None:
    fitted = probgen.fit(Unigram, text("abracadabra"))
    draws = probgen.sample(fitted, 4, given={"x": "bra"})
    assert all(decode(x, draws.x.attrs["symbols"]).startswith("bra") for x in draws.x.values)
    again = draws.rename(sample="row").assign(length=("row", np.full(4, 8)))
    assert event_of(again) == fitted.event
    np.testing.assert_allclose(probgen.score(fitted, again).log_prob, by_hand(fitted, again), rtol=1e-6)
    with pytest.raises(InputError, match="character 1: '!'"):
        probgen.sample(fitted, given={"x": "a!"})


def test_symbols_are_as_many_as_levels() -> None:
    data = text("abc")
    data["x"].attrs["levels"] = 4
    with pytest.raises(InputError, match="names 3 symbols, but the support is token with 4 levels"):
        probgen.fit(Unigram, data)
