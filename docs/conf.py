"""Settings of Sphinx: `make docs` writes the site to build/docs, without a network."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import probgen.recipes.plan  # noqa: F401 (autodoc changes annotations of BaseModel, and a model with extra keys then fails)
from probgen import __version__

DOCS = Path(__file__).parent
ROOT = DOCS.parent
project = "probgen"
version = release = __version__
sys.path.insert(0, str(DOCS))
extensions = ["cells", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["example-*", "zoo"]
default_role = "code"
nitpicky = False
viewcode_follow_imported_members = False  # what a module imports is not documented there

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
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": False,
    "navigation_depth": 1,  # deeper pages would need buttons, which the theme leaves without a name
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# files outside of docs/, and the page of the site that includes each
OUTSIDE = {
    "README.md": "index",
    "CHANGELOG.md": "project/changelog",
    "CONTRIBUTING.md": "project/contributing",
    "SECURITY.md": "project/security",
    **{
        f"plugins/{plugin.name}/README.md": f"project/{plugin.name}"
        for plugin in ROOT.glob("plugins/probgen-*")
    },
}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
SECTION = re.compile(
    r"(Args|Attributes|Returns|Yields|Raises|Example|Examples|Note|Notes|References|See Also):$"
)


def _page(app: Any, page: str, source: list[str]) -> None:
    """Point the links of a page to pages of the site."""
    source[0] = _linked(source[0], DOCS / page, page)


def _included(app: Any, path: Path, page: str, source: list[str]) -> None:
    """The same for a file that a page includes: its links are relative to the file."""
    source[0] = _linked(source[0], DOCS / path, app.env.docname)  # `page` lacks the folder


def _linked(text: str, file: Path, page: str) -> str:
    """Return text of a file whose links to files of this project are relative to a page of the site, and name the page that includes a file."""

    def target(match: re.Match[str]) -> str:
        path = os.path.relpath(os.path.normpath(file.parent / match[1]), ROOT)
        if not (ROOT / path).exists():  # code has brackets, too
            return match[0]
        path = f"docs/{OUTSIDE[path]}.md" if path in OUTSIDE else path
        return f"]({os.path.relpath(ROOT / path, (DOCS / page).parent)}"

    return LINK.sub(target, text)


def _imported(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a module imports: it is documented where it is defined."""
    if what == "module" and (inspect.isfunction(obj) or inspect.isclass(obj)):
        return True if obj.__module__ != app.env.current_document.autodoc_module else None
    return None


def _annotated(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> None:
    """Evaluate annotations one by one: autodoc keeps all as texts if one names a package that is not imported, and texts are ambiguous."""
    function = inspect.unwrap(obj.__init__ if inspect.isclass(obj) else obj)
    if inspect.isfunction(function):
        for argument, text in function.__annotations__.items():
            with contextlib.suppress(NameError, AttributeError, TypeError):
                function.__annotations__[argument] = eval(text, function.__globals__)
    if inspect.isclass(obj) and "__signature__" in vars(obj):  # Pyro's distributions keep the texts, too
        obj.__signature__ = inspect.signature(functools.partial(obj.__init__, None))


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
    """Connect them."""
    app.connect("source-read", _page)
    app.connect("include-read", _included)
    app.connect(
        "autodoc-skip-member", _annotated, priority=100
    )  # before autodoc keeps the texts of defaults, with annotations
    app.connect("autodoc-skip-member", _imported)
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # napoleon has 500
