"""Notebooks: pages of MyST Markdown in docs/notebooks/ that Jupytext reads and a kernel of Jupyter executes.

`python docs/cells.py` executes them and writes what the cells show to docs/notebooks/outputs/, and Sphinx puts that below
each cell.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from shrink import shrink
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).parent / "notebooks"
WIDTH = 900  # of a figure, in pixels
SECONDS = 300  # for a cell


def pages() -> list[Path]:
    """Return the notebooks."""
    return sorted(page for page in NOTEBOOKS.glob("*.md") if page.name != "index.md")


def shown(page: Path, folder: Path) -> list[tuple[str, Image.Image | None]]:
    """Execute a notebook.

    Args:
        page: Path of the notebook.
        folder: The working folder of the kernel.

    Returns:
        For each cell the text that it prints or returns, and the figure that it returns, or None.

    Raises:
        CellExecutionError: When a cell raises an error.
    """
    import jupytext  # Sphinx shows the stored outputs, and needs no kernel
    from nbclient import NotebookClient

    notebook = jupytext.read(page)
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}).execute()
    return [_output(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _output(outputs: list[Any]) -> tuple[str, Image.Image | None]:
    text, figure = "", None
    for output in outputs:
        data = output.get("data", {})
        if "IProgress not found" in output.get("text", ""):
            continue  # of tqdm, which Pyro imports, where Jupyter has no widgets
        if "image/png" in data:
            figure = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        else:
            text += output.get("text", "") or data.get("text/plain", "") + "\n"
    return text, figure


def write(page: Path) -> None:
    """Execute a notebook in a new folder, and write what its cells show."""
    folder = page.parent / "outputs"
    for old in folder.glob(f"{page.stem}.*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as place:
        found = shown(page, Path(place))
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
