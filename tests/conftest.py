"""What the tests share: real data where there are any, one thread a worker, and plugins made on the spot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.quick import Quick, Times

# Two workers on two cores. It is read when torch is imported, which the process that hands out the tests need not do.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="every law, family and bad input at least once")
    parser.addoption("--times", action="store_true", help="write the times that --quick goes by")


def pytest_configure(config: pytest.Config) -> None:
    for option, plugin in (("--quick", Quick), ("--times", Times)):
        if config.getoption(option):
            config.pluginmanager.register(plugin())


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets."""
    place = os.environ.get("PROBGEN_DATA")
    if not place:
        pytest.skip("PROBGEN_DATA names no folder of real data")
    return Path(place)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make an installed distribution: `distribution("name", "entry points", {"module.py": "..."})`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, entries: str, files: dict[str, str]) -> None:
        _forget()
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        for file, text in files.items():
            (tmp_path / file).write_text(text)
            monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)

    yield make
    _forget()


def _forget() -> None:
    """What was found and loaded before."""
    from probgen.plugins import analysis, family, registry

    for cached in (registry._registered, family._named, analysis._named):
        cached.cache_clear()
