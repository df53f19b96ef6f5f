"""Pages in a headless browser: requests, messages, accessibility, widths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium. Where it is missing, a test is skipped, and fails in continuous integration."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(
    started: Browser, address: str, *, width: int = 1000, scheme: str = "light", **how: Any
) -> Iterator[tuple[Page, list[str], list[str]]]:
    """A page; what it asked for, and what it wrote to the console."""
    context = started.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True, **how
    )  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    written: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: written.append(message.text))
    page.on("pageerror", lambda error: written.append(str(error)))
    page.goto(address)
    yield page, asked, written
    context.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in found]


def too_wide(page: Page) -> bool:
    """Whether something is cut off at the right, or must be scrolled to."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"))
