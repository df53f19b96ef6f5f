"""A value as TOML on one line, as `--set` reads it."""

from __future__ import annotations

import json
from typing import Any


def inline_toml(value: Any) -> str:
    """Return a value as TOML on one line.

    Args:
        value: A number, a text, a truth value, or a list or a table of these.

    Returns:
        TOML that is read as the same value, to the last bit of a float.
    """
    if isinstance(value, dict):
        pairs = (f"{_text(name)} = {inline_toml(part)}" for name, part in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline_toml, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(text: str) -> str:
    # JSON has the escapes of TOML, but TOML forbids DEL as such
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
