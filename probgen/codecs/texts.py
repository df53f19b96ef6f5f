"""Texts as whole numbers: symbol i of a vocabulary becomes i.

Symbols are characters, or pieces of several characters. A text is divided into the longest pieces that fit,
from left to right. In both cases the concatenated symbols of a text are the text. In a vocabulary, the symbol
\N{REPLACEMENT CHARACTER} stands for every character that the other symbols cannot write; without this symbol
such a character is refused.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

from probgen.errors import InputError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
END = "\n"  # the end of a text that is a line
WORD = re.compile(r"\n| ?[^ \n]+| ")


def symbols_of(text: str) -> list[str]:
    """Return the distinct characters of a text in the order of their code points.

    Args:
        text: The text.

    Returns:
        The characters.
    """
    return [chr(code) for code in np.unique(_codes(text))]


def pieces(texts: Iterable[str], merges: int) -> list[str]:
    """Return a vocabulary of characters and of pieces of words, by byte-pair encoding.

    Each merge joins the most frequent pair of neighbors within words; of equally frequent pairs, the first
    one by its characters. A word begins with the space before it. Sennrich, Haddow & Birch 2016, algorithm 1.

    Args:
        texts: The texts.
        merges: The number of merges.

    Returns:
        The characters of the texts, and a piece per merge.
    """
    counts = Counter(word for text in texts for word in WORD.findall(text))
    words = [list(word) for word in counts]
    times = list(counts.values())
    found = dict.fromkeys(sorted({c for word in words for c in word}))
    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += times[i]
            where[pair].add(i)
    queue = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(queue)
    while queue and merges:
        n, pair = heapq.heappop(queue)
        if -n != pairs[pair] or not n:
            continue  # the entry is outdated: the pair was counted again later
        found[pair[0] + pair[1]] = None
        merges -= 1
        change: Counter[tuple[str, str]] = Counter()
        for i in where.pop(pair):
            for other in pairwise(words[i]):
                change[other] -= times[i]
            words[i] = _joined(words[i], pair)
            for other in pairwise(words[i]):
                change[other] += times[i]
                where[other].add(i)
        for other, more in change.items():
            if more:
                pairs[other] += more
                heapq.heappush(queue, (-pairs[other], other))
    return list(found)


def _joined(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


def encode(text: str, symbols: Sequence[str]) -> np.ndarray:
    """Return the numbers of the symbols of a text.

    Args:
        text: The text.
        symbols: The vocabulary.

    Returns:
        The numbers: (symbol,), in the smallest dtype for the vocabulary.

    Raises:
        InputError: When a character is not in the vocabulary; the message gives its position.
    """
    kind = np.min_scalar_type(max(1, len(symbols) - 1))
    if any(len(symbol) != 1 for symbol in symbols):
        return np.array(_Pieces(symbols)(text), dtype=kind)
    codes, known = _codes(text), _codes("".join(symbols))
    order = np.argsort(known)
    at = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    unseen = np.flatnonzero(known[at] != codes)
    if unseen.size:
        at[unseen] = _unknown(symbols, text, int(unseen[0]))
    return at.astype(kind)


class _Pieces:
    """The division of texts into the longest pieces that fit, from left to right.

    Each word is divided only once, if no piece extends beyond a word.
    """

    def __init__(self, symbols: Sequence[str]):
        self.symbols, self.places = symbols, {symbol: i for i, symbol in enumerate(symbols)}
        self.most = max(map(len, symbols))
        self.by_word = all(WORD.fullmatch(symbol) for symbol in symbols)
        self.known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        found, at = [], 0
        for word in WORD.findall(text) if self.by_word else [text]:
            if word not in self.known:
                self.known[word] = self._cut(text, at, at + len(word))
            found += self.known[word]
            at += len(word)
        return found

    def _cut(self, text: str, at: int, end: int) -> list[int]:
        found = []
        while at < end:
            for size in range(min(self.most, end - at), 0, -1):
                place = self.places.get(text[at : at + size])
                if place is not None:
                    break
            else:
                size, place = 1, _unknown(self.symbols, text, at)
            found.append(place)
            at += size
        return found


def _unknown(symbols: Sequence[str], text: str, at: int) -> int:
    if UNKNOWN in symbols:
        return symbols.index(UNKNOWN)
    raise InputError(f"character {at}: {text[at]!r} is not in the vocabulary of the fit")


def encode_all(texts: Sequence[str], symbols: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the symbols of several texts.

    Args:
        texts: The texts, one per row.
        symbols: The vocabulary.

    Returns:
        The numbers (row, time), 0 after the end of a text, and the lengths (row,).

    Raises:
        InputError: When a character is not in the vocabulary; the message gives its row and position.
    """
    kind = np.min_scalar_type(max(1, len(symbols) - 1))
    cut, rows = _Pieces(symbols), []
    for i, text in enumerate(texts):
        try:
            rows.append(cut(text))
        except InputError as error:
            raise InputError(f"row {i}, {error}") from None
    lengths = np.array([len(row) for row in rows])
    out = np.zeros((len(rows), lengths.max()), kind)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out, lengths


def decode(tokens: np.ndarray, symbols: Sequence[str]) -> str:
    """Return the text of the numbers of symbols.

    Args:
        tokens: The numbers: (symbol,).
        symbols: The vocabulary.

    Returns:
        The text.
    """
    return "".join(np.array(symbols, dtype=object)[np.asarray(tokens, dtype=np.int64)])


def texts_of(x: xr.DataArray) -> list[str]:
    """Return samples as texts, without the line feeds at their ends.

    Args:
        x: Samples (..., time) with the vocabulary as the attribute `symbols`.

    Returns:
        The texts; empty for an x without a vocabulary.
    """
    symbols = x.attrs.get("symbols", ())
    if not len(symbols):
        return []
    return [decode(row, symbols).rstrip(END) for row in x.values.reshape(-1, x.shape[-1])]


def recode(
    tokens: np.ndarray, lengths: np.ndarray, symbols: Sequence[str], wanted: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return texts of one vocabulary in another vocabulary; the number of symbols of a text may change.

    Args:
        tokens: The numbers of symbols: (row, time).
        lengths: The lengths of the texts: (row,).
        symbols: The vocabulary of the texts.
        wanted: The new vocabulary.

    Returns:
        The new numbers (row, time) and lengths (row,).

    Raises:
        InputError: When a symbol is not in the new vocabulary; the message gives its row and position.
    """
    tokens, there = _counted(tokens, lengths, symbols)
    if any(len(symbol) != 1 for symbol in (*symbols, *wanted)):
        texts = [decode(row[:length], symbols) for row, length in zip(tokens, lengths, strict=True)]
        return encode_all(texts, wanted)
    places = {symbol: i for i, symbol in enumerate(wanted)}
    table = np.array([places.get(symbol, places.get(UNKNOWN, -1)) for symbol in symbols])
    found = np.where(there, table[tokens], 0)
    if (found < 0).any():
        row, place = np.argwhere(found < 0)[0]
        raise InputError(
            f"row {row}, position {place}: {symbols[tokens[row, place]]!r} is not in the vocabulary of the fit"
        )
    return found.astype(np.min_scalar_type(max(1, len(wanted) - 1))), lengths


def frequent(tokens: np.ndarray, lengths: np.ndarray, symbols: Sequence[str], least: int) -> list[str]:
    """Return the symbols that occur at least `least` times, and the symbol that stands for all others.

    Args:
        tokens: The numbers of symbols: (row, time).
        lengths: The lengths of the texts: (row,).
        symbols: The vocabulary of the texts.
        least: The lowest number of occurrences.

    Returns:
        The smaller vocabulary.

    Raises:
        InputError: When a number is not in the vocabulary.
    """
    tokens, there = _counted(tokens, lengths, symbols)
    counts = np.bincount(tokens[there], minlength=len(symbols))
    return [s for s, n in zip(symbols, counts, strict=True) if n >= least and s != UNKNOWN] + [UNKNOWN]


def _counted(
    tokens: np.ndarray, lengths: np.ndarray, symbols: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens as whole numbers and a mask, both 0 in the padding.

    A number outside the vocabulary raises `InputError`.
    """
    there = np.arange(tokens.shape[1]) < np.asarray(lengths)[:, None]
    bad = there & ~((tokens >= 0) & (tokens < len(symbols)) & (tokens == np.floor(tokens)))
    if bad.any():
        row, place = np.argwhere(bad)[0]
        raise InputError(
            f"row {row}, position {place}: {tokens[row, place]!s}; allowed is a whole number from 0 to {len(symbols) - 1}"
        )
    return np.where(there, tokens, 0).astype(np.int64), there


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
