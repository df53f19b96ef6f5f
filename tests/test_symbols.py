"""Texts as whole numbers: vocabularies, prompts, and texts in another vocabulary than that of the fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import probgen
from probgen.data import event_of
from probgen.errors import InputError
from probgen.symbols import decode, encode, recode, symbols_of
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


def test_words() -> None:
    words = ["a", "dog", "runs"]
    assert encode("dog runs  a", words).tolist() == [1, 2, 0]
    assert decode(np.array([1, 2]), words) == "dog runs"


@pytest.mark.parametrize(
    ("written", "symbols", "message"),
    [
        ("abcé", list("abc"), "character 3: 'é', a symbol that was not seen"),
        ("zab", list("cab"), "character 0: 'z'"),
        ("a cat", ["a", "dog"], "word 1: 'cat'"),
    ],
)
def test_what_was_not_seen_is_named(written: str, symbols: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(written, symbols)


@given(st.text("abcdef", min_size=1), st.permutations("abcdefg"))
def test_one_vocabulary_in_another(written: str, wanted: list[str]) -> None:
    own = symbols_of(written)
    tokens = encode(written, own)[None]
    assert decode(recode(tokens, own, wanted)[0], wanted) == written


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
    with pytest.raises(InputError, match="row 1, position 2: 'z', a symbol that was not seen in the fit"):
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
    with pytest.raises(InputError, match="names 3 symbols, but x is token of 4 levels"):
        probgen.fit(Unigram, data)
