"""The promises that `make trust` goes through exhaustively, at some of their points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probgen.store.claim import Claim
from tests.trust import crash, hostile, mutants, processes
from tests.trust.__main__ import ready
from tests.trust.child import run
from tests.trust.shim import Shim

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="what is measured here needs Linux")


@pytest.fixture(scope="module", autouse=True)
def _ready() -> Iterator[None]:
    """part_bytes, shards and the methods that a whole run replaces are put back."""
    part, shard_rows, save = crash.sampling.part_bytes, crash.sampling.shard_rows, crash.RunFolder.save
    ready()
    yield
    crash.sampling.part_bytes, crash.sampling.shard_rows = part, shard_rows
    crash.RunFolder.save = save  # type: ignore[method-assign]


def test_every_byte_passes_through_the_shim() -> None:
    """What was written through the counted calls is what lies on the disk: nothing else writes."""
    with crash.place() as folder:

        def work(tell: Callable[[Any], None]) -> dict[str, bytes]:
            with Shim() as shim:
                crash.whole_run(folder, crash.SCENARIOS["mixture, SVI"], lambda _: None)
            return shim.bytes

        written = run(work).answer
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) > 6
        for path in files:
            assert written[str(path)] == path.read_bytes(), path


@pytest.mark.parametrize("name", crash.SCENARIOS)
def test_crashes(name: str) -> None:
    with crash.place() as folder:
        calls, _ = crash.points_of(crash.SCENARIOS[name], folder)
    tally = crash.crash(name, every=len(calls) // 4)
    assert tally.points > 3
    assert not tally.faults


def test_a_harness_that_loses_something_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: files that are written in place are found unreadable."""
    from probgen.store import files

    def in_place(path: Path, *parts: bytes) -> None:
        descriptor = files.os.open(path, files.os.O_WRONLY | files.os.O_CREAT | files.os.O_TRUNC, 0o666)
        for part in parts:
            files._write_all(descriptor, memoryview(part))
        files.os.close(descriptor)

    monkeypatch.setattr(files, "write_whole", in_place)
    with crash.place() as folder:
        calls, _ = crash.points_of(crash.SCENARIOS["mixture, SVI"], folder)
    writes = [i for i, call in enumerate(calls) if call == "write"]
    assert crash.crash("mixture, SVI", points=writes[-4:]).faults


def test_full_disks() -> None:
    tally = crash.disk_full(every=41)
    assert tally.points > 3
    assert not tally.faults
    assert not crash.size_limits([500, 5_000]).faults


@pytest.mark.parametrize("family", processes.FITS)
def test_kills(family: str) -> None:
    assert not processes.kill_every_step(family, every=17).faults


def test_every_family_is_killed() -> None:
    from probgen.plugins.registry import registered

    own = {name for name, found in registered("families").items() if found[0].distribution == "probgen"}
    assert set(processes.FITS) == own


def test_races() -> None:
    assert not processes.races(4).faults


def test_bit_flips() -> None:
    tally = processes.flips(800, seed=1)
    assert tally.points == 800
    assert not tally.faults


@pytest.mark.quick(every=8)
@pytest.mark.parametrize("name", list(hostile.ALL)[::3])
def test_hostile_files(name: str) -> None:
    assert not hostile.refuse(name)


@pytest.mark.parametrize(
    "name", ["model: two hard links", "data: many attributes", "model: deep", "data: enumeration"]
)
def test_a_guard_that_looks_at_nothing_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probgen.store.guard.inspect", lambda file, name: None)
    assert hostile.refuse(name)


def test_a_claim_that_lets_everybody_in_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(self: Claim) -> Claim:
        self.path.mkdir(parents=True, exist_ok=True)
        self._number = 1
        self.entered()
        return self

    monkeypatch.setattr(Claim, "__enter__", enter)
    assert processes.races(4).faults


def test_the_catalogs_are_large() -> None:
    assert len(hostile.ALL) >= 60
    assert len(mutants.MUTANTS) >= 60
    assert not mutants.check_places()


@pytest.mark.parametrize("place", [0, -1])
def test_mutants(place: int, tmp_path: Path) -> None:
    """One that is killed at once, and a change that is none and survives."""
    killed = mutants.Mutant(
        "probgen/evaluation/comparison.py",
        "less = values[name] - best",
        "less = best - values[name]",
        "tests/test_compare.py",
    )
    none = mutants.Mutant(
        killed.file, "less = values[name] - best", "less = -(best - values[name])", killed.tests
    )
    assert mutants.survives((killed, none)[place], tmp_path) is bool(place)
