"""The recipes that come with probgen. Nothing heavy is imported: shell completion lists them."""

from __future__ import annotations

import tomllib
from pathlib import Path


def shipped() -> dict[str, Path]:
    """The recipes that come with probgen, by name."""
    here = Path(__file__).parent.parent
    folder = here / "_shipped" / "recipes"
    return {
        p.stem: p for p in sorted((folder if folder.is_dir() else here.parent / "recipes").glob("*.toml"))
    }


def has_fast(which: str) -> bool:
    """Whether a shipped recipe has a variant that ends in seconds."""
    return "fast" in tomllib.loads(shipped()[which].read_text())
