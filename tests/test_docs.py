"""The docs run, their links resolve, they name every hook, module and recipe as it is, and speak of the project alone."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from probgen.cli import app
from probgen.contract.hookspecs import FamilySpecs, ObserverSpecs
from probgen.plugins.registry import registered
from probgen.recipes.catalog import shipped

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ALL = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
NOTEBOOKS = [page.stem for page in sorted(DOCS.glob("notebooks/*.md")) if page.stem != "index"]
PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/autoregressive.md",
    "docs/sequences.md",
    "docs/latent.md",
    "docs/scenes.md",
    "docs/fakes.md",
    "docs/semantics.md",
    "docs/images.md",
    "docs/tables.md",
    "docs/files.md",
    "docs/plugins.md",
    "docs/diagnosis.md",
    "docs/searching.md",
    "docs/report.md",
    "docs/flows.md",
    "docs/diffusion.md",
    "plugins/probgen-diffusion/README.md",
    "plugins/probgen-flow/README.md",
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
    readme = (ROOT / "README.md").read_text().partition("The same on the command line:")[2]
    lines += re.findall(r"^    (probgen .*)$", readme, re.MULTILINE)
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


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of docs/."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module(name)


def test_generated_pages_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = module("generate", monkeypatch).pages()
    for path, content in pages.items():
        assert (ROOT / path).read_text() == content, f"{path}: run `make docs`"
    assert {f"docs/reference/{page.name}" for page in DOCS.glob("reference/*.md")} <= pages.keys()


def test_every_public_module_is_in_the_reference() -> None:
    reference = "".join(page.read_text() for page in DOCS.glob("reference/*.md"))
    found = re.findall(r"automodule:: (\S+)", reference)
    for package in (ROOT / "probgen", *ROOT.glob("plugins/*/probgen_*")):
        for file in package.rglob("*.py"):
            name = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
            if "._" not in name and name != "probgen" and file.read_text().strip():
                assert found.count(name) == 1, name


def prose(text: str) -> str:
    """A page without code."""
    return re.sub(r"^ *```.*?^ *```|``[^`]*``|`[^`\n]*`", "`", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,3} (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(page: Path) -> list[str]:
    """The links of a page to files and anchors that do not exist."""
    found = []
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", prose(page.read_text())):
        path, _, anchor = link.partition("#")
        file = page.parent / path if path else page
        if not file.is_file() or (anchor and anchor not in anchors(file.read_text())):
            found.append(link)
    return found


def test_what_finds_broken_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page: `x`, y\n## Twice\n## Twice\n```python\n# Code\nx[0](no)\n```\n`[no](no)` [web](https://no.no)\n"
        "[1](page.md) [2](#twice-1) [3](page.md#a-page-x-y) ![4](gone.png) [5](#code) [6](page.md#twice-2) [7](.)"
    )
    assert broken(page) == ["gone.png", "#code", "page.md#twice-2", "."]


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    """An included page has the links of the file that it includes."""
    assert not broken(page)


def test_pages_name_recipes_that_exist() -> None:
    for page in ALL:
        for name in re.findall(r"probgen run ([a-z][\w-]*)(?![\w/-])", page.read_text()):
            assert name in shipped() or page.name == "CHANGELOG.md", f"{page}: {name}"


def test_every_recipe_is_a_card() -> None:
    cards = re.findall(r"^### (.*)$", (DOCS / "gallery.md").read_text(), re.MULTILINE)
    assert sorted(cards) == sorted(shipped())
    for picture in DOCS.glob("gallery/*"):
        assert picture.name.partition(".")[0] in shipped(), picture
        assert picture.stat().st_size < 40_000, picture


def test_figures_of_the_lecture_are_those_of_the_results() -> None:
    results = (DOCS / "results.md").read_text()
    figures = re.findall(r"\[([^]]*)\]\(results\.md", (DOCS / "lecture.md").read_text())
    numbers = [number for figure in figures for number in re.findall(r"-?\d[\d,]*(?:\.\d+)?", figure)]
    assert len(numbers) > 50
    assert not [number for number in numbers if not re.search(rf"(?<![\d.]){number}(?![\d])", results)]


def words(text: str) -> list[str]:
    """A text without its numbers and spaces, which machines may differ in."""
    return re.sub(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?", "0", text).split()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Jupyter runs them, in a new folder; each cell shows what is on the page."""
    found = module("cells", monkeypatch).shown(DOCS / "notebooks" / f"{name}.md", tmp_path)
    assert len(found) >= 4
    for number, (text, figure) in enumerate(found, 1):
        kept = DOCS / "notebooks" / "outputs" / f"{name}.{number}"
        assert words(text) == (words(kept.with_suffix(f".{number}.txt").read_text()) if text else [])
        assert (figure is not None) == kept.with_suffix(f".{number}.png").exists()


def test_no_page_has_the_name_of_a_page_of_sphinx() -> None:
    """Sphinx writes its own pages of these names over ours."""
    assert not {"search", "genindex", "modindex", "py-modindex"} & {page.stem for page in DOCS.glob("*.md")}
