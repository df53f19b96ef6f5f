"""Documentation, help, errors, docstrings and comments are in plain technical English of one spelling."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PHRASES = [
    r"go(?:es|ing)? on (?:to|with)", r"gone on with", r"(?:is|are|was|were) told", r"h[eo]lds? against", r"of one law", r"in the place of",
    r"mend(?:s|ed)?", r"what (?:came|becomes|became) of", r"lets? go of", r"to the same bits", r"stands? in", r"no favou?rs", r"(?:no|some)body",
    r"a stranger(?:'s)?", r"begins? anew",
]  # fmt: skip
BRITISH = [
    r"\w*colour\w*", r"grey\w*", r"(?:re|de|un)?cent(?:re[ds]?|ring)", r"neighbour\w*", r"behaviour\w*", r"favour\w*", r"labell\w+", r"modell\w+",
    r"travell\w+", r"learnt", r"spelt", r"catalogue\w*", r"artefact\w*", r"analys(?:e|ed|ing)", r"fulfil",
    r"\w*(?:standard|normal|factor|quant|penal|minim|maxim|organ|optim|summar|initial|regular|discret|parameter|general|recogn|real|special|categor|visual|character|emphas|random|local|token|memor|custom|synthes|symmetr|marginal|linear)is(?:e|ed|es|ing|ation|ations|er|ers|able)",
]  # fmt: skip
REFUSED = re.compile(rf"\b(?:{'|'.join(PHRASES + BRITISH)})\b", re.IGNORECASE)
LONGEST = 35  # words of a sentence in the README and the tutorial
# names of the standard library and of Matplotlib
NAMES = re.compile(r"CancelledError|cancelled\(\)|Greys")


def files() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    own = [file for file in tracked if not re.search(r"(^|/)tests/", file)]
    return [ROOT / file for file in own if file.endswith((".md", ".py", ".toml")) and (ROOT / file).exists()]


def words_of(file: Path) -> list[tuple[int, str]]:
    """Return numbered lines of prose: all of a page; comments and strings of code."""
    text = NAMES.sub("", file.read_text())
    if file.suffix != ".py":
        return [*enumerate(text.splitlines(), 1)]
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING}:
            found += [(token.start[0] + i, line) for i, line in enumerate(token.string.splitlines())]
    return found


def refused(line: str) -> list[str]:
    return [match[0] for match in REFUSED.finditer(line)]


@pytest.mark.parametrize(
    "line",
    ["A fit goes on to the end.", "It is told of it", "No colour", "we standardise", "the neighbours' rows"],
)
def test_the_test_finds_what_it_refuses(line: str) -> None:
    assert refused(line)


@pytest.mark.parametrize(
    "line",
    [
        "It goes on.",
        "otherwise precise",
        "a promise, a vise, a comparison",
        "standardized colors of a neighbor",
        "recommended",
    ],
)
def test_the_test_lets_other_words_pass(line: str) -> None:
    assert not refused(line)


def test_no_private_phrase_and_one_spelling() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {phrase!r}"
        for file in files()
        for number, line in words_of(file)
        for phrase in refused(line)
    ]
    assert not found, f"{len(found)}:\n" + "\n".join(found)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_sentences_are_short(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("    ", "|", "#"))]
    found = 0
    for sentence in re.split(r"(?<=[.!?:])\s+|\n\s*\n|\n- ", "\n".join(prose)):
        found += 1
        assert len(sentence.split()) <= LONGEST, sentence
    assert found > 15
