"""One page on runs: a self-contained HTML file from what their folders hold, without the plugins that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.report.gathering import gather
    from probgen.report.rendering import page, write

_HOME = {"gather": "gathering", "page": "rendering", "write": "rendering"}
__all__ = ["gather", "page", "write"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"probgen.report.{_HOME[name]}"), name)
