"""A report in a browser: offline, quiet, accessible, and nothing is cut off on a screen or on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import probgen
from probgen.report import gather, write
from tests.browsing import browser, opened, too_wide, violations

pytestmark = pytest.mark.browser
PAPER = {"A4": 210, "Letter": 216}  # millimeters; margins of 15 to each side, 96 pixels an inch


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("page")
    x = np.random.default_rng(0).integers(0, 17, (60, 8, 8))
    for name in ("a", "a_model_with_a_name_as_long_as_names_may_be"):
        fitted = probgen.fit(
            "mixture", x, components=2, reg_covar=1.0, steps=5, tolerance=0.0, out=place / name
        )
        probgen.sample_to(place / "unused" / name, fitted, 4)
        scores = probgen.score(fitted, x)
        _write(place / name, fitted, scores)
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 20)) - 1e6).add_prefix("a column ")
    table["class"] = ["a class with a name of many words", "another class"] * 30
    numbers = probgen.fit("independent", table[["class", *table.columns[:-1]]], out=place / "numbers")
    _write(place / "numbers", numbers, probgen.score(numbers, table))
    runs = [place / "a", place / "a_model_with_a_name_as_long_as_names_may_be", place / "numbers"]
    return write(gather(runs), place / "report.html").as_uri()


def _write(run: Path, fitted: probgen.Fitted, scores: object) -> None:
    from probgen.store.trees import write_dataset

    write_dataset(run / "samples.h5", "samples", probgen.sample(fitted, 20))
    write_dataset(run / "scores.h5", "scores", scores)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("width", "scheme"), [(1000, "light"), (1000, "dark"), (390, "light"), (390, "dark")]
)
def test_on_a_screen(address: str, width: int, scheme: str) -> None:
    with (
        browser() as started,
        opened(started, address, width=width, scheme=scheme, offline=True) as (page, asked, written),
    ):
        assert [url for url in asked if not url.startswith("data:")] == [address]
        assert not written
        assert not violations(page)
        assert not too_wide(page)
        assert page.locator("svg, img").count() >= 4


@pytest.mark.parametrize("paper", PAPER)
def test_on_paper(address: str, paper: str) -> None:
    """All text lies within the margins, tables too; folded parts stay folded."""
    width = round((PAPER[paper] - 30) / 25.4 * 96)
    with browser() as started, opened(started, address, width=width, offline=True) as (page, _, _):
        page.emulate_media(media="print")
        assert not too_wide(page)
        beyond = page.evaluate(
            "[...document.querySelectorAll('table, img, svg, pre, p')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert not beyond
        assert len(page.pdf(format=paper)) > 10_000
