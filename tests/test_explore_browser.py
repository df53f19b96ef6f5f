"""The page in a browser: the picture follows the sliders, keys suffice, nothing is asked elsewhere, and it is accessible."""

from __future__ import annotations

import importlib.util
import os
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probgen
from probgen.contract.rows import evenly

pytestmark = pytest.mark.browser
CHROMIUM = Path("/usr/bin/chromium")
PLACES = {
    "vae": ("digits-binary", {"latent": 3, "hidden": 8, "epochs": 2}),
    "mixture": ("customers", {"components": 3, "steps": 5}),
}
WAIT = 30_000  # milliseconds
SIZES = {"wide": 1100, "narrow": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    there = CHROMIUM.exists() and importlib.util.find_spec("playwright") is not None
    if not there and os.environ.get("CI"):
        pytest.fail("Chromium and playwright are needed: .ci/run installs them")
    if not there:
        pytest.skip("Chromium or playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of the page of a run, which a thread of this process serves."""
    import uvicorn

    from probgen.explore.app import application
    from probgen.explore.live import Shown
    from probgen.explore.serving import bound

    with bound(0) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(Shown(run, None), port, "secret"), lifespan="off", ws="none", log_level="error"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}/#token=secret"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place, found = tmp_path_factory.mktemp("browser"), {}
    for family, (data, options) in PLACES.items():
        rows = evenly(probgen.datasets.load(data, "train"), 200)
        probgen.fit(family, rows, out=place / family, **options)
        found[family] = place / family
    (place / "story.txt").write_text("the cat sat on the mat; the dog ran.\n" * 30)
    probgen.fit("char-rnn", place / "story.txt", out=place / "text", hidden=8, epochs=1, window=16)
    return {**found, "text": place / "text"}


class Page:
    """A page with the record of what it asked for and what it complained about."""

    def __init__(self, browser: Any, url: str, width: int = 1100, scheme: str = "light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.elsewhere: list[str] = []
        self.told: list[str] = []
        self.drawing, self.most = 0, 0
        self.page.on("request", self._request)
        self.page.on("requestfinished", self._finished)
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.origin = url.partition("#")[0]
        self.page.goto(url)
        self.page.wait_for_selector("#figure[data-drawn]", timeout=WAIT)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.elsewhere.append(request.url)
        if request.url.endswith("/api/draw"):
            self.drawing += 1
            self.most = max(self.most, self.drawing)

    def _finished(self, request: Any) -> None:
        self.drawing -= request.url.endswith("/api/draw")

    def drawn(self) -> int:
        return int(self.page.locator("#figure").get_attribute("data-drawn") or 0)

    def after(self, act: Any) -> None:
        before = self.drawn()
        act()
        self.page.wait_for_selector(f'#figure[data-drawn="{before + 1}"]', timeout=WAIT)

    def pixels(self) -> np.ndarray:
        """Gray values of the picture: (height, width)."""
        found = self.page.evaluate(
            """() => { const c = document.getElementById("picture"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return [c.height, c.width, Array.from(d).filter((_, i) => i % 4 === 0)]; }"""
        )
        return np.array(found[2]).reshape(found[:2])

    def copied(self) -> dict[str, Any]:
        """The variables of the copied script."""
        self.page.locator("#copy-python").click()
        self.page.wait_for_selector("#code:not([hidden])", timeout=WAIT)
        code = self.page.locator("#code").inner_text()
        said: dict[str, Any] = {}
        exec(code, said)  # noqa: S102 - the copied script is the subject
        return said

    def close(self) -> None:
        self.context.close()
        assert self.elsewhere == []
        assert self.told == []


def as_pixels(x: np.ndarray) -> np.ndarray:
    """Ink on paper, as the page paints levels from 0 to 1; a canvas rounds half to even."""
    return np.rint(255 - 255 * np.clip(x.astype(np.float64), 0, 1)).astype(int)


def test_the_picture_is_that_of_the_copied_python(browser: Any, runs: dict[str, Path]) -> None:
    with served(runs["vae"]) as url:
        page = Page(browser, url)
        page.after(lambda: page.page.locator("#another").click())
        slider = page.page.locator("#direction-0")
        slider.focus()
        for _ in range(3):
            page.after(lambda: slider.press("PageUp"))
        x = page.copied()["x"]
        assert np.abs(page.pixels() - as_pixels(x[0])).max() <= 1
        page.close()


def test_a_drag_ends_at_the_last_value_with_one_draw_at_a_time(browser: Any, runs: dict[str, Path]) -> None:
    with served(runs["vae"]) as url:
        page = Page(browser, url)
        box = page.page.locator("#direction-1").bounding_box()
        page.page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
        page.page.mouse.down()
        for k in range(60):
            page.page.mouse.move(box["x"] + 5 + k * (box["width"] - 12) / 60, box["y"] + box["height"] / 2)
        page.page.mouse.up()
        page.page.wait_for_timeout(500)
        value = float(page.page.locator("#direction-1").input_value())
        assert value > 2
        assert np.abs(page.pixels() - as_pixels(page.copied()["x"][0])).max() <= 1
        assert page.most == 1
        page.close()


def test_keys_alone_reach_and_change_everything(browser: Any, runs: dict[str, Path]) -> None:
    """Tab reaches each control; arrows move sliders, marks and the brush; space paints."""
    with served(runs["vae"]) as url:
        page = Page(browser, url)
        page.page.wait_for_selector("#completion:not([hidden])", timeout=WAIT)
        page.page.wait_for_selector("#map:not([hidden])", timeout=WAIT)
        wanted = page.page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, canvas[tabindex], [tabindex='0']")]
            .filter((e) => e.checkVisibility()).map((e, i) => e.dataset.key = String(i))"""
        )
        reached = set()
        for _ in range(2 * len(wanted)):
            page.page.keyboard.press("Tab")
            reached.add(page.page.evaluate("() => document.activeElement.dataset.key"))
        assert set(wanted) <= reached
        page.page.locator("#scatter").focus()
        page.page.keyboard.press("ArrowRight")
        page.page.wait_for_selector("#pointed-row:text-matches('row [0-9]')", timeout=WAIT)
        page.page.locator("#mask").focus()
        page.page.keyboard.press("ArrowDown")
        page.page.keyboard.press("Space")
        page.page.wait_for_selector("#completed[data-drawn]", timeout=WAIT)
        page.close()


def test_a_column_is_given(browser: Any, runs: dict[str, Path]) -> None:
    with served(runs["mixture"]) as url:
        page = Page(browser, url)
        field = page.page.get_by_label("orders")
        field.fill("3")
        page.after(lambda: field.press("Tab"))
        columns = page.page.locator("#sheet th").all_inner_texts()
        rows = [row.split("\t") for row in page.page.locator("#sheet tbody tr").all_inner_texts()]
        assert {row[columns.index("orders")] for row in rows} == {"3"}
        found = probgen.frame(probgen.sample(probgen.load(runs["mixture"]), 10, given={"x": _only(3, 2)}))
        assert [row[columns.index("channel")] for row in rows] == found["channel"].astype(str).tolist()
        page.close()


def _only(value: float, column: int) -> np.ndarray:
    x = np.full(8, np.nan)
    x[column] = value
    return x


def test_a_text_follows_its_prompt(browser: Any, runs: dict[str, Path]) -> None:
    with served(runs["text"]) as url:
        page = Page(browser, url)
        prompt = page.page.get_by_label("prompt")
        before = page.drawn()
        prompt.fill("the dog")
        page.page.wait_for_selector(f'#figure[data-drawn="{before + 1}"]', timeout=WAIT)
        text = page.page.locator("#words").inner_text()
        fitted = probgen.load(runs["text"])
        drawn = probgen.sample(fitted, given={"x": "the dog"})["x"].values[0]
        assert text.rstrip("\n") == "".join(fitted.event.symbols[i] for i in drawn).rstrip("\n")
        prompt.fill("the €")
        page.page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
        assert "is not in the vocabulary" in page.page.locator("#problem").inner_text()
        page.told = [
            line for line in page.told if "400" not in line
        ]  # Chromium reports the status of the refusal
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("run", ["vae", "mixture", "text"])
def test_the_page_is_accessible_and_does_not_scroll_sideways(
    run: str, size: str, scheme: str, browser: Any, runs: dict[str, Path]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with served(runs[run]) as url:
        page = Page(browser, url, SIZES[size], scheme)
        page.page.wait_for_timeout(300)
        found = Axe().run(page.page).response["violations"]
        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
        assert page.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.close()


def test_a_picture_is_quick(browser: Any, runs: dict[str, Path]) -> None:
    """From the event of a slider to painted pixels. The bar is wide: other work may share the processor."""
    with served(runs["vae"]) as url:
        page = Page(browser, url)
        slider = page.page.locator("#direction-0")
        slider.focus()
        for i in range(20):
            page.after(lambda i=i: slider.press("ArrowRight" if i % 10 < 5 else "ArrowLeft"))
        spans = page.page.evaluate(
            "() => performance.getEntriesByName('slider to pixels').map((each) => each.duration)"
        )
        assert statistics.median(spans[1:]) < 500
        page.close()
