from pathlib import Path

import pytest

import probgen
from probgen.errors import InputError


def test_each_call_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBGEN_DIARY", str(tmp_path / "calls"))
    fitted = probgen.fit("independent", "iris")
    probgen.sample(fitted, 3)
    with pytest.raises(InputError):
        probgen.sample(fitted, 3, given={"nowhere": [1.0]})
    lines = [line.split()[:3] for line in (tmp_path / "calls").read_text().splitlines()]
    assert lines[:2] == [["fit", "independent", "done"], ["sample", "independent", "done"]]
    monkeypatch.delenv("PROBGEN_DIARY")
    probgen.sample(fitted, 3)
    assert len((tmp_path / "calls").read_text().splitlines()) == len(lines)
