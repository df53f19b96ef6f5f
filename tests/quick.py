"""The quick form of the tests (`make test`), and the times that it goes by (`make times`).

Every law, every family and every bad input comes at least once. A test says how it may be thinned:

    @pytest.mark.quick(over="family")    a table: each value of the other arguments with one family, all families in turn
    @pytest.mark.quick(every=8)          every eighth case; every=1 is for tables of bad input, each of another kind
    @pytest.mark.quick(only=("iris",))   these cases

The laws are thinned like a Latin square: all of them on one class a base, on every other class one that moves on from
class to class. Any other function comes with its quickest case, unless that takes more than SLOW seconds.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

TIMES = Path(__file__).with_name("times.json")
SLOW = 0.7  # seconds
LEAST = 0.1  # seconds that are written down
# Too much is said and is no failure: wall-clock time depends on what else the machine does, and a check that fails
# without a fault is soon not believed.
BUDGET = 600.0
BASES = ("mixture", "vae")  # one of reals with a density, one of bits with latents


def times() -> dict[str, float]:
    """Processor seconds of the tests that take LEAST of them or more, by node."""
    return json.loads(TIMES.read_text()) if TIMES.exists() else {}


def chosen(items: Sequence[Any], seconds: dict[str, float]) -> list[Any]:
    """The tests of the quick form."""
    from probgen.testing import FamilyLaws  # here, since the process that hands out tests needs no torch

    functions: dict[Any, list[Any]] = defaultdict(list)
    laws: dict[type, list[Any]] = defaultdict(list)
    for item in items:
        if item.cls is not None and issubclass(item.cls, FamilyLaws):
            laws[item.cls].append(item)
        else:
            functions[item.path, item.cls, item.originalname].append(item)
    kept = set(_laws(laws))
    used: Counter[Any] = Counter()
    for cases in functions.values():
        mark = cases[0].get_closest_marker("quick")
        how = mark.kwargs if mark else {}
        if "over" in how:
            kept |= set(_table(cases, how["over"], used))
        elif "every" in how:
            kept |= set(cases[:: how["every"]])
        elif "only" in how:
            kept |= {case for case in cases if set(how["only"]) & set(case.callspec.params.values())}
        else:
            quickest = min(cases, key=lambda case: seconds.get(case.nodeid, 0.0))
            if seconds.get(quickest.nodeid, 0.0) <= SLOW:
                kept.add(quickest)
    return [item for item in items if item in kept]


def _laws(classes: dict[type, list[Any]]) -> Iterator[Any]:
    """All laws on the first class of each base; one on each other class, the next one on the next."""
    whole, turn = set(), 0
    for each, items in classes.items():
        if each.family in BASES and each.family not in whole:
            whole.add(each.family)
            yield from items
            continue
        yield items[turn % len(items)]
        turn += 1


def _table(cases: list[Any], over: str, used: Counter[Any]) -> Iterator[Any]:
    """Of each value of the other arguments the case whose family came least so far; a hash decides between equals."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for case in cases:
        groups[repr(sorted((k, repr(v)) for k, v in case.callspec.params.items() if k != over))].append(case)
    for group in groups.values():
        one = min(group, key=lambda c: (used[c.callspec.params[over]], zlib.crc32(c.nodeid.encode())))
        used[one.callspec.params[over]] += 1
        yield one


class Quick:
    """Keeps what is chosen, and says what is left out."""

    def __init__(self) -> None:
        self.left: Counter[str] = Counter()
        self.started = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = set(chosen(items, times()))
        left = [item for item in items if item not in kept]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item in kept]
        self.left = Counter(item.path.name for item in left)
        if hasattr(config, "workeroutput"):
            config.workeroutput["left"] = dict(self.left)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """From a worker of xdist; each of them collects the same."""
        self.left = Counter(getattr(node, "workeroutput", {}).get("left", {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        wall = time.monotonic() - self.started
        files = ", ".join(f"{name} {count}" for name, count in self.left.most_common())
        terminalreporter.section("the quick form, which is not the whole")
        terminalreporter.line(f"{self.left.total()} tests left out: {files}")
        terminalreporter.line(f"{wall:.0f} s of {BUDGET:.0f} s{': TOO LONG' if wall > BUDGET else ''}")


class Times:
    """Writes TIMES: processor seconds, children included, which a busy machine does not change."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self._measured(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self._measured(item))

    def _measured(self, item: pytest.Item) -> Iterator[None]:
        start = sum(os.times()[:4])
        try:
            return (yield)
        finally:
            item.user_properties.append(("seconds", sum(os.times()[:4]) - start))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.seconds[report.nodeid] = sum(s for name, s in report.user_properties if name == "seconds")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            slow = {node: round(s, 1) for node, s in sorted(self.seconds.items()) if s >= LEAST}
            TIMES.write_text(json.dumps(slow, indent=0, ensure_ascii=False) + "\n")
