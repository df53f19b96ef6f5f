"""pluggy for one definition at a time: its hooks, checked against their specifications."""

from __future__ import annotations

from typing import Any

import pluggy

from probgen.errors import PluginError


def manager(definition: Any, specs: type, hooks: tuple[str, ...], name: str) -> pluggy.PluginManager:
    """Return a plugin manager for one definition.

    Args:
        definition: The module, object or class with the hooks.
        specs: The class of the hook specifications.
        hooks: The names of the hooks.
        name: The description of the definition, for messages.

    Returns:
        The manager, with the definition as its only plugin.

    Raises:
        PluginError: When a hook is misspelled, has unknown arguments, or is not marked.
    """
    manager = pluggy.PluginManager("probgen")
    manager.add_hookspecs(specs)
    try:
        manager.register(definition, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"{name}: {reason}. The hooks are: {', '.join(hooks)}.") from None
    marked = {hook for hook in hooks if getattr(manager.hook, hook).get_hookimpls()}
    unmarked = [hook for hook in hooks if hook not in marked and hasattr(definition, hook)]
    if unmarked:
        raise PluginError(f"{name}: {unmarked[0]!r} lacks its marker. Put @probgen.hookimpl above it.")
    return manager
