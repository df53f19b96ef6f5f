"""The zoo: example packages over the public game, and a wrapped flow. Each is installed, and passes its own tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.packages import install, run_tests

ZOO = Path(__file__).parent.parent / "docs" / "zoo"
MOST = {"bigan": 90, "infogan": 90, "zuko": 60}  # lines of a model


def lines_of(file: Path) -> int:
    """The lines of code of a module: without blank lines, comments, docstrings and imports."""
    text = file.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        for part in (
            (node.body[0],)
            if documented
            else (node,)
            if isinstance(node, ast.Import | ast.ImportFrom)
            else ()
        ):
            left_out |= set(range(part.lineno, part.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and i not in left_out for i, line in lines)


def test_the_zoo_is_what_is_tested() -> None:
    assert {folder.name for folder in ZOO.iterdir() if folder.is_dir()} == set(MOST)


@pytest.mark.parametrize("name", MOST)
def test_a_model_is_short(name: str) -> None:
    (file,) = ZOO.glob(f"{name}/probgen_*/__init__.py")
    assert 20 < lines_of(file) <= MOST[name]


@pytest.mark.parametrize("name", MOST)
def test_a_model_passes_its_tests(name: str, tmp_path: Path) -> None:
    """The laws of families, and a law of its own."""
    if name == "zuko":
        pytest.importorskip("zuko")
    run_tests(ZOO / name, install(ZOO / name, tmp_path / "site"))
