"""The first sentence about a plugin, from its source: it is read and not imported, so that a list needs no torch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path


def sentence_of(target: str) -> str | None:
    """Return the first line of the docstring of a plugin.

    Args:
        target: The object: "package.module", or "package.module:attribute".

    Returns:
        The first line of the docstring of the class or function; that of its module, if it has none. None if the source has no docstring
        or is not found.
    """
    name, _, attribute = target.partition(":")
    spec = _spec(name.split("."))
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        module = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    kinds = ast.ClassDef | ast.FunctionDef
    found = [node for node in module.body if isinstance(node, kinds) and node.name == attribute]
    texts = (ast.get_docstring(node) for node in (*found, module))
    return next((text.partition("\n")[0] for text in texts if text), None)


def _spec(parts: Sequence[str]) -> ModuleSpec | None:
    """Return where a module is, without importing the packages around it."""
    path: Sequence[str] | None = None
    spec = None
    for i in range(len(parts)):
        name = ".".join(parts[: i + 1])
        found = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec
