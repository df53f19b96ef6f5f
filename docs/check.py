"""Check the built site in a browser: `python docs/check.py build/docs [PAGE ...]`.

Every link of every page must resolve. The named pages must have no violation of axe-core, no request to another host, no
error on the console and no sideways scrolling: light, dark, and 390 pixels wide. It needs Chromium.
"""

from __future__ import annotations

import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

PAGES = [
    "index",
    "tutorial",
    "gallery",
    "lecture",
    "options",
    "commands",
    "notebooks/first-steps",
    "reference/evaluation",
]
FORMS = {"light": (1280, "light"), "dark": (1280, "dark"), "390 px": (390, "light")}


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the attributes of a tag."""
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        self.links += [value for name in ("href", "src") if (value := found.get(name))]


def broken(site: Path) -> list[str]:
    """Return the links of all pages that lead to no file or to no anchor."""
    pages = {page: Links(page) for page in site.rglob("*.html") if "_static" not in page.parts}
    found = []
    for page, parsed in pages.items():
        for link in parsed.links:
            path, anchor = urldefrag(link)
            if urlsplit(link).scheme:
                continue
            target = (page.parent / unquote(urlsplit(path).path)).resolve() if path else page
            lost = target in pages and anchor and unquote(anchor) not in pages[target].anchors
            if not target.is_file() or lost:
                found.append(f"{page.relative_to(site)}: {link}")
    return found


class Quiet(SimpleHTTPRequestHandler):
    """A server of files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def seen(page: Page, home: str, name: str) -> list[str]:
    """Open a page, and return what is wrong with it."""
    found: list[str] = []
    page.on("request", lambda request: request.url.startswith((home, "data:")) or found.append(request.url))
    page.on("console", lambda line: line.type == "error" and found.append(line.text))
    page.goto(f"{home}/{name}.html", wait_until="networkidle")
    faults = [*found]  # axe-core itself looks for the imports of style sheets in the wrong folder
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        faults.append("scrolls sideways")
    for violation in Axe().run(page).response["violations"]:
        faults += [f"{violation['id']}: {node['html'][:120]}" for node in violation["nodes"]]
    return faults


def main(site: Path, names: list[str]) -> int:
    """Print what is wrong.

    Args:
        site: Folder of the built site.
        names: Pages to open in a browser.

    Returns:
        The exit code.
    """
    found = broken(site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for form, (width, scheme) in FORMS.items():
            for name in names:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.set_default_timeout(120_000)
                found += [f"{name}, {form}: {wrong}" for wrong in seen(page, home, name)]
                page.close()
    print("\n".join([*found, f"{len(found)} faults"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:] or PAGES))
