"""The docs run, name every hook as it is, and speak of the project alone."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from probgen.cli import app
from probgen.contract.hookspecs import FamilySpecs, ObserverSpecs
from probgen.plugins.registry import registered

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/autoregressive.md",
    "docs/sequences.md",
    "docs/latent.md",
    "docs/scenes.md",
    "docs/semantics.md",
    "docs/images.md",
    "docs/tables.md",
    "docs/files.md",
    "docs/plugins.md",
    "docs/diagnosis.md",
    "docs/search.md",
    "docs/report.md",
    "plugins/probgen-gan/README.md",
    "plugins/probgen-vqvae/README.md",
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page, "exec"), names)  # noqa: S102 (our own pages)


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console blocks of the tutorial, and the command lines of the README."""
    lines = [line for block in blocks("docs/tutorial.md", "console") for line in block.splitlines()]
    readme = (ROOT / "README.md").read_text()
    lines += [
        line.strip().removeprefix(".venv/bin/") for line in readme.splitlines() if ".venv/bin/probgen" in line
    ]
    assert len(lines) == 8
    monkeypatch.chdir(tmp_path)
    for line in lines:
        command, *arguments = line.split()
        assert command == "probgen"
        done = CliRunner().invoke(app, arguments)  # in this process: torch is imported once
        assert done.exit_code == 0, f"{line}\n{done.stderr}"


def test_every_hook_is_described_with_its_arguments() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    for specs in (FamilySpecs, ObserverSpecs):
        for name, hook in vars(specs).items():
            if isinstance(hook, staticmethod):
                arguments = ", ".join(inspect.signature(hook.__func__).parameters)
                assert f"{name}({arguments})" in page


def test_every_command_and_family_is_in_the_design_or_readme() -> None:
    design, readme = (ROOT / "docs/design.md").read_text(), (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        assert f"probgen {command.name}" in design or f"{command.name} |" in design, command.name
    for name, plugins in registered("families").items():
        if plugins[0].distribution.startswith("probgen"):
            assert f"`{name}`" in readme


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a machine in anything that is shipped."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"/root/|/home/\w|/tmp/\w|/work/")
    for file in tracked:
        if file != "tests/test_docs.py" and (ROOT / file).is_file():
            assert not pattern.search((ROOT / file).read_text(errors="replace")), file  # pictures, too
