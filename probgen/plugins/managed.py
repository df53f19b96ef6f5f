"""pluggy for one definition at a time: its hooks, checked against their specifications."""

from __future__ import annotations

from typing import Any

import pluggy

from probgen.errors import PluginError


def manager(definition: Any, specs: type, hooks: tuple[str, ...], name: str) -> pluggy.PluginManager:
    """A manager for this one definition. Errors: `PluginError` for a hook that is misspelled or lacks its marker."""
    manager = pluggy.PluginManager("probgen")
    manager.add_hookspecs(specs)
    try:
        manager.register(definition, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"{name}: {reason}; the hooks are {', '.join(hooks)}") from None
    marked = {hook for hook in hooks if getattr(manager.hook, hook).get_hookimpls()}
    unmarked = [hook for hook in hooks if hook not in marked and hasattr(definition, hook)]
    if unmarked:
        raise PluginError(f"{name}: {unmarked[0]!r} lacks its marker: put @probgen.hookimpl above it")
    return manager
