"""Texts as whole numbers and back: symbol i of a vocabulary is i."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from probgen.errors import InputError


def symbols_of(text: str) -> list[str]:
    """The characters of a text, each once, in the order of their code points."""
    return [chr(code) for code in np.unique(_codes(text))]


def encode(text: str, symbols: Sequence[str]) -> np.ndarray:
    """(symbol,) in the smallest type that holds them all: characters, or words between spaces where symbols are words.

    Errors: `InputError`, which names the first symbol that is not in the vocabulary, and where it is.
    """
    kind = np.min_scalar_type(max(1, len(symbols) - 1))
    if any(len(symbol) != 1 for symbol in symbols):
        places, words = {symbol: i for i, symbol in enumerate(symbols)}, text.split()
        _refuse_unseen(words, [word in places for word in words], "word")
        return np.array([places[word] for word in words], dtype=kind)
    codes, known = _codes(text), _codes("".join(symbols))
    order = np.argsort(known)
    at = np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)
    _refuse_unseen(text, known[order[at]] == codes, "character")
    return order[at].astype(kind)


def decode(tokens: np.ndarray, symbols: Sequence[str]) -> str:
    """The inverse of `encode`."""
    between = "" if all(len(symbol) == 1 for symbol in symbols) else " "
    return between.join(np.array(symbols, dtype=object)[np.asarray(tokens, dtype=np.int64)])


def texts_of(x: xr.DataArray) -> list[str]:
    """Draws as texts, where they are: x (..., time) of which the symbols are known."""
    symbols = x.attrs.get("symbols", ())
    return [decode(row, symbols) for row in x.values.reshape(-1, x.shape[-1])] if len(symbols) else []


def recode(tokens: np.ndarray, symbols: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Tokens of one vocabulary as those of another. Errors: `InputError` for a symbol that the other has not."""
    places = {symbol: i for i, symbol in enumerate(wanted)}
    table = np.array([places.get(symbol, -1) for symbol in symbols])
    found = table[tokens]
    if (found < 0).any():
        row, *place = np.argwhere(found < 0)[0]
        where = f"x, row {row}, position {', '.join(map(str, place))}"
        raise InputError(
            f"{where}: {symbols[tokens[(row, *place)]]!r}, a symbol that was not seen in the fit"
        )
    return found.astype(np.min_scalar_type(max(1, len(wanted) - 1)))


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _refuse_unseen(parts: Sequence[str], seen: Sequence[bool] | np.ndarray, kind: str) -> None:
    bad = np.flatnonzero(~np.asarray(seen, dtype=bool))
    if bad.size:
        raise InputError(f"{kind} {bad[0]}: {parts[bad[0]]!r}, a symbol that was not seen in the fit")
