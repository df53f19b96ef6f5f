"""The live page in Chromium: milliseconds from a slider to pixels, pictures a second while dragging, a streamed text, and a running fit.

`python -m tests.benchmarks explore`. It needs Chromium and an idle core for the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import probgen

CHROMIUM = "/usr/bin/chromium"
MOVES, EVENTS = 60, 120  # of a slider: single ones, and those of a drag
WAIT = 60_000  # milliseconds


@contextlib.contextmanager
def explored(run: Path) -> Iterator[str]:
    """The address that the command prints."""
    command = [sys.executable, "-m", "probgen", "explore", str(run)]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert server.stdout
    for line in server.stdout:
        if "http://" in line:
            yield line[line.index("http://") :].split()[0]
            break
    server.terminate()
    server.wait()


def pictures(browser: Any, name: str, run: Path) -> None:
    """A slider that is moved step by step, and one that is dragged."""
    with explored(run) as url:
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.goto(url)
        page.wait_for_selector("#figure[data-drawn]", timeout=WAIT)
        slider = page.locator("#direction-0")
        slider.focus()

        def spans() -> list[float]:
            found = page.evaluate(
                "() => { const s = performance.getEntriesByName('slider to pixels').map((e) => e.duration); performance.clearMeasures(); return s; }"
            )
            return sorted(found)

        spans()
        page.evaluate("performance.clearResourceTimings()")
        for i in range(MOVES):
            before = int(page.locator("#figure").get_attribute("data-drawn"))
            slider.press("ArrowRight" if i % 20 < 10 else "ArrowLeft")
            page.wait_for_selector(f'#figure[data-drawn="{before + 1}"]', timeout=WAIT)
        single = spans()
        server = page.evaluate(
            "() => performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/draw')).map((e) => e.responseStart - e.requestStart)"
        )
        box = slider.bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 5, middle)
        page.mouse.down()
        begun = time.perf_counter()
        for k in range(EVENTS):
            page.mouse.move(box["x"] + 5 + k * (box["width"] - 10) / EVENTS, middle)
        page.mouse.up()
        page.wait_for_timeout(300)
        spent = time.perf_counter() - begun - 0.3
        dragged = spans()
        print(
            f"{name}: slider to pixels, median {statistics.median(single):.0f} ms, p95 {single[int(0.95 * len(single))]:.0f} ms; "
            f"of these until the server answers, median {statistics.median(server):.1f} ms; "
            f"a drag: {len(dragged) / spent:.0f} pictures a second",
            flush=True,
        )
        page.close()


def text(browser: Any, run: Path) -> None:
    """A streamed text: its first piece, and characters a second."""
    with explored(run) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#figure[data-drawn]", timeout=WAIT)
        before = int(page.locator("#figure").get_attribute("data-drawn"))
        pieces = int(page.locator("#figure").get_attribute("data-pieces"))
        begun = time.perf_counter()
        page.locator("#another").click()
        page.wait_for_selector(f'#figure[data-pieces="{pieces + 1}"]', timeout=WAIT)
        first = time.perf_counter() - begun
        page.wait_for_selector(f'#figure[data-drawn="{before + 1}"]', timeout=WAIT)
        spent = time.perf_counter() - begun
        length = len(page.locator("#words").inner_text())
        print(
            f"text: first piece after {1e3 * first:.0f} ms, {length / spent:.0f} characters a second ({length} characters)",
            flush=True,
        )
        page.close()


def live(browser: Any, folder: Path) -> None:
    """A running fit: seconds from the line of a step in the journal to the page, and how much the page slows the fit."""
    x = (np.random.default_rng(0).random((20_000, 28, 28)) < 0.2).astype(np.uint8)
    np.save(folder / "x.npy", x)

    def fit(name: str, watched: bool) -> tuple[float, list[float]]:
        out = folder / name
        command = [
            sys.executable,
            "-m",
            "probgen",
            "fit",
            "vae",
            "--data",
            str(folder / "x.npy"),
            "--out",
            str(out),
        ]
        command += ["--set", "epochs=30", "--set", "batch_size=2000", "--quiet"]
        fitting = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        delays = []
        if watched:
            journal = out / "history.jsonl"
            while not journal.exists() or not journal.stat().st_size:
                time.sleep(0.1)
            with explored(out) as url:
                page = browser.new_page()
                page.goto(url)
                page.wait_for_selector("#fit[data-step]", state="attached", timeout=WAIT)
                while fitting.poll() is None:
                    last = json.loads(journal.read_text().splitlines()[-1])["step"]
                    begun = time.perf_counter()
                    with contextlib.suppress(Exception):  # the page loads again when the fit has ended
                        while int(page.locator("#fit").get_attribute("data-step", timeout=500)) < last:
                            time.sleep(0.02)
                        delays.append(time.perf_counter() - begun)
                    time.sleep(0.3)
                page.close()
        fitting.wait()
        lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
        steps = np.diff([line["seconds"] for line in lines])
        return float(np.median(steps)), delays

    alone, beside, delays = [], [], list[float]()
    for turn in range(3):
        alone.append(fit(f"alone{turn}", False)[0])
        seconds, found = fit(f"watched{turn}", True)
        beside.append(seconds)
        delays += found
    print(
        f"a running fit: the page shows a step after median {statistics.median(delays):.2f} s, at most {max(delays):.2f} s; "
        f"a step takes {statistics.median(beside) / statistics.median(alone):.3f} times as long",
        flush=True,
    )


def main() -> None:
    """A line for each."""
    from playwright.sync_api import sync_playwright

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        images = rng.integers(256, size=(256, 32, 32), dtype=np.uint8)
        probgen.fit("dcgan", images, steps=3, out=folder / "dcgan")
        binary = (rng.random((256, 28, 28)) < 0.3).astype(np.uint8)
        probgen.fit("vae", binary, epochs=1, hidden=[400], latent=20, out=folder / "vae")
        (folder / "story.txt").write_text("the cat sat on the mat; the dog ran.\n" * 60)
        probgen.fit("char-rnn", folder / "story.txt", hidden=32, epochs=1, window=16, out=folder / "text")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pictures(browser, "dcgan, 32 x 32", folder / "dcgan")
        pictures(browser, "vae, 28 x 28", folder / "vae")
        text(browser, folder / "text")
        live(browser, folder)
        browser.close()


if __name__ == "__main__":
    main()
