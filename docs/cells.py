"""Notebooks: pages of MyST Markdown in docs/notebooks/ whose code cells are executed.

`python docs/cells.py` executes them and writes what the cells show to docs/notebooks/outputs/, and Sphinx puts that below
each cell. A page is also a notebook of Jupytext. Lines that begin with % are for IPython alone.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from PIL import Image
from shrink import shrink
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).parent / "notebooks"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH = 900  # of a figure, in pixels


def pages() -> list[Path]:
    """Return the notebooks."""
    return sorted(page for page in NOTEBOOKS.glob("*.md") if page.name != "index.md")


def shown(page: Path) -> list[tuple[str, Image.Image | None]]:
    """Execute the cells of a notebook in one namespace.

    Args:
        page: Path of the notebook.

    Returns:
        For each cell the text that it prints or returns, and the figure that it returns, or None.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    return [_executed(code, page.name, names) for code in CELL.findall(page.read_text())]


def _executed(code: str, where: str, names: dict[str, Any]) -> tuple[str, Image.Image | None]:
    tree = ast.parse(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, where, "exec"), names)  # noqa: S102 (our own pages)
        value = eval(compile(ast.Expression(last.value), where, "eval"), names) if last else None
    if isinstance(value, Figure):
        buffer = io.BytesIO()
        value.savefig(buffer, format="png", dpi=80)
        return printed.getvalue(), Image.open(buffer)
    return printed.getvalue() + (f"{value!r}\n" if value is not None else ""), None


def write(page: Path) -> None:
    """Execute a notebook in a new folder, and write what its cells show."""
    folder = page.parent / "outputs"
    for old in folder.glob(f"{page.stem}.*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        found = shown(page)
    for number, (text, figure) in enumerate(found, 1):
        if text:
            (folder / f"{page.stem}.{number}.txt").write_text(text)
        if figure:
            shrink(figure, folder / f"{page.stem}.{number}.png", WIDTH)


class Cell(SphinxDirective):
    """A code cell, and below it what it shows."""

    has_content = True
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the code, the text and the figure."""
        number = self.env.temp_data["cell"] = self.env.temp_data.get("cell", 0) + 1
        code = "\n".join(self.content)
        found: list[nodes.Node] = [nodes.literal_block(code, code, language="python")]
        name = f"outputs/{Path(self.env.docname).name}.{number}"
        text, figure = NOTEBOOKS / f"{name}.txt", NOTEBOOKS / f"{name}.png"
        if text.exists():
            self.env.note_dependency(str(text))
            found.append(
                nodes.literal_block(text.read_text(), text.read_text(), language="text", classes=["shown"])
            )
        if figure.exists():
            found.append(nodes.image(uri=f"{name}.png", alt=self.options["alt"]))
        return found


def setup(app: Any) -> None:
    """Add the directive to Sphinx."""
    app.add_directive("code-cell", Cell)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for each in pages():
        write(each)
