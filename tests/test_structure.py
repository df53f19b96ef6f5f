"""The house: every module has a floor, no circle of imports, interfaces that are declared."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    "probgen",
    "plugins/probgen-gan/probgen_gan",
    "plugins/probgen-observers/probgen_observers",
    "plugins/probgen-diffusion/probgen_diffusion",
    "plugins/probgen-flow/probgen_flow",
    "plugins/probgen-vqvae/probgen_vqvae",
]


def test_there_is_no_circle_of_imports() -> None:
    """Of modules, annotations counted."""
    graph = grimp.build_graph(
        "probgen",
        "probgen_diffusion",
        "probgen_flow",
        "probgen_gan",
        "probgen_observers",
        "probgen_vqvae",
        cache_dir=None,
    )
    arrows = [(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)]
    circles = [c for c in nx.strongly_connected_components(nx.DiGraph(arrows)) if len(c) > 1]
    assert circles == []


def test_few_modules_lie_loose() -> None:
    loose = {path.stem for path in (ROOT / "probgen").glob("*.py")}
    assert loose == {"__init__", "__main__", "errors", "pair"}


@pytest.mark.parametrize(
    ("file", "text", "contract"),
    [
        ("probgen/loose.py", "", "the floors"),
        ("probgen/contract/up.py", "from probgen.api import fitting", "the floors"),
        (
            "probgen/store/typed.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from probgen.pair import Pair",
            "the floors",
        ),
        ("probgen/nn/pyronn.py", "import pyro", "networks are"),
        ("probgen/api/known.py", "from probgen.models import vae", "the core knows"),
        ("probgen/models/reads.py", "from probgen.store import files", "models know no"),
        ("probgen_gan/other.py", "import probgen_vqvae", "plugins do not"),
        ("probgen_gan/inside.py", "from probgen.data import intake", "a plugin uses"),
    ],
)
def test_a_module_in_the_wrong_place_breaks_a_contract(
    file: str, text: str, contract: str, tmp_path: Path
) -> None:
    for source in SOURCES:
        shutil.copytree(
            ROOT / source, tmp_path / Path(source).name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / file).write_text(text)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode
    assert any(line.startswith(contract) for line in broken) or (
        "exhaustive" in done.stdout + done.stderr and contract == "the floors"
    ), done.stdout + done.stderr


def test_nothing_is_agreed_by_the_name_of_an_attribute() -> None:
    """`getattr` with a default asks an object for what it never declared; a protocol of the contract is asked instead."""
    found = []
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "getattr"
                    and len(node.args) == 3
                ):
                    found.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    allowed = {  # of objects of typing and pandas, which declare nothing else
        "probgen/contract/options.py: getattr(kind, '__args__', ())",
        "probgen/readers/frames.py: getattr(dtype, 'numpy_dtype', dtype)",
    }
    assert set(found) == allowed
