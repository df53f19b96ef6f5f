"""Settings of Sphinx: `make docs` writes the site to build/docs, without a network."""

from __future__ import annotations

import re
from typing import Any

from probgen import __version__

project = "probgen"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["example-plugin", "example-analysis"]
default_role = "code"
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = False

autodoc_default_options = {
    "members": True,
    "undoc-members": False,
    "show-inheritance": True,
    "member-order": "bysource",
}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "probgen"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["probgen.css"]
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# pages outside of docs/, and the page of the site that includes each
OUTSIDE = {
    "README.md": "index",
    "CHANGELOG.md": "project/changelog",
    "CONTRIBUTING.md": "project/contributing",
    "plugins/probgen-gan/README.md": "project/probgen-gan",
    "plugins/probgen-vqvae/README.md": "project/probgen-vqvae",
    "plugins/probgen-observers/README.md": "project/probgen-observers",
}
SECTION = re.compile(
    r"(Args|Attributes|Returns|Yields|Raises|Example|Examples|Note|Notes|References|See Also):$"
)


def _links(app: Any, page: str, source: list[str]) -> None:
    """Point links to files outside of docs/ to their pages on the site."""
    for file, target in OUTSIDE.items():
        up = "../" * page.count("/")
        source[0] = re.sub(rf"\]\((?:\.\./)+{re.escape(file)}", f"]({up}{target}.md", source[0])


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a plain docstring valid reStructuredText, before napoleon reads it: indented formulas become literal blocks, other text is escaped."""
    found: list[str] = []
    usual = 0  # indent of text: 4 in a section
    entry = literal = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            found.append("")
        elif SECTION.match(line):
            usual, entry, literal = 4, False, False
            found += ["", line]
        elif indent >= usual + 4 and not entry:
            if not literal:
                found += ["", " " * usual + "::", ""]
            literal = True
            found.append(line)
        else:
            if literal:
                found.append("")
            literal = False
            usual = usual if indent else 0
            entry = usual == 4 and (
                indent > 4 or ":" in line
            )  # deeper lines continue the text of an argument
            found.append(_escaped(line))
    lines[:] = found


def _escaped(line: str) -> str:
    """Escape what reStructuredText would take for markup, outside of `code`."""
    pieces = re.split(r"(``?[^`]+``?)", line)
    return "".join(
        piece if i % 2 else re.sub(r"([*|\\])|(?<=\w)_(?=\W|$)", lambda m: "\\" + m[0], piece)
        for i, piece in enumerate(pieces)
    )


def setup(app: Any) -> None:
    """Connect the two."""
    app.connect("source-read", _links)
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # napoleon has 500
