"""The check of a registered family or analysis, with the test classes of its package or with those of the kit."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from probgen.plugins.registry import Kind, find
from probgen.testing.analyses import AnalysisLaws
from probgen.testing.laws import FamilyLaws

LAWS: dict[str, tuple[type, Kind]] = {
    "family": (FamilyLaws, "families"),
    "analysis": (AnalysisLaws, "analyses"),
}


def check(name: str, kind: str = "family") -> int:
    """Run the laws on a registered family or analysis.

    If the package of the plugin has test classes of these laws for the plugin, with data and options of its own, they are
    tested. Otherwise, the laws are tested with the small data of the kit.

    Args:
        name: The registered name.
        kind: "family" or "analysis".

    Returns:
        The exit code of pytest: 0 if all laws hold, 5 if every law was skipped.
    """
    os.environ["PROBGEN_CHECK"] = name
    laws, group = LAWS[kind]
    plugin = find(group, name)
    own = _tests_of(plugin.distribution, laws.__name__)
    if own:
        chosen = _Chosen(laws, {kind: (name, plugin.load())})
        code = _run(own, chosen)
        if chosen.classes or code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            return code
    return _run([Path(__file__).with_name(f"{kind}_suite.py")], _Chosen(laws, {}))


def _run(files: Sequence[Path], chosen: _Chosen) -> int:
    """Run pytest on files without the configuration of a project, and return its exit code."""
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(files[0].parent), "-rs"]
    code = int(pytest.main([*map(str, files), *options], plugins=[chosen]))
    return code or (0 if chosen.passed else int(pytest.ExitCode.NO_TESTS_COLLECTED))


def _tests_of(package: str, laws: str) -> list[Path]:
    """Return the test files of a distribution that contain the name of the laws.

    They are in the distribution, or in the source tree of an editable installation. The tests of probgen itself are left
    out, because one file tests all of its families.
    """
    if package == "probgen":
        return []
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return []
    files = [Path(str(found.locate_file(file))) for file in found.files or ()]
    source = _source_of(found)
    files += sorted(source.rglob("test_*.py")) if source is not None else []
    tests = dict.fromkeys(f.resolve() for f in files if f.name.startswith("test_") and f.suffix == ".py")
    return [file for file in tests if file.is_file() and laws in file.read_text(encoding="utf-8")]


def _source_of(found: Distribution) -> Path | None:
    """Return the source tree of an editable installation, or None."""
    about = json.loads(found.read_text("direct_url.json") or "{}")
    if not about.get("dir_info", {}).get("editable"):
        return None
    folder = Path(unquote(urlsplit(about["url"]).path))
    return folder if folder.is_dir() else None


class _Chosen:
    """A plugin of pytest that selects the test classes of a family or analysis, and counts what was tested.

    Args:
        laws: The base class of the test classes.
        wanted: The name of the attribute of a test class, and its permitted values; empty for all classes.
    """

    def __init__(self, laws: type, wanted: dict[str, tuple[object, ...]]) -> None:
        self._laws, self._wanted = laws, wanted
        self.classes: dict[str, Path] = {}
        self.passed = 0

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if self._suits(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    def _suits(self, item: pytest.Item) -> bool:
        tests = item.cls if isinstance(item, pytest.Function) else None
        if tests is None or not issubclass(tests, self._laws):
            return False
        if not all(
            hasattr(tests, name) and getattr(tests, name) in any_of for name, any_of in self._wanted.items()
        ):
            return False
        self.classes[tests.__name__] = item.path
        return True

    def pytest_report_collectionfinish(self) -> list[str]:
        return [f"test class {name} of {path}" for name, path in self.classes.items()]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed
