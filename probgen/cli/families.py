"""probgen families: what can be fitted."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from probgen.cli.common import Json, print_table, put


def command(
    name: Annotated[str | None, typer.Argument(help="Show this family's hooks and options.")] = None,
    json: Json = False,
) -> None:
    """List the registered families, from metadata alone; or show one, which imports it."""
    from probgen.plugins import registered

    if name is not None:
        found = _one(name)
        put(found, json, lambda: _show(found))
        return
    rows = [
        {"family": p.name, "distribution": f"{p.distribution} {p.version}", "from": p.target, "note": note}
        for plugins in registered("families").values()
        for p in plugins
        for note in ["blocked" if p.blocked else "clash: two of one name" if len(plugins) > 1 else None]
    ]
    put(rows, json, lambda: print_table(rows, ["family", "distribution", "from", "note"]))


def _one(name: str) -> dict[str, Any]:
    from probgen.plugins import HOOKS, family

    found = family(name)
    document = (found.definition.__doc__ or "").strip().partition("\n")[0]
    options = {
        hook: [
            {
                "option": key,
                "default": None if field.is_required() else str(field.default),
                "type": _type(field.annotation),
                "meaning": field.description or "",
            }
            for key, field in found.options(hook).model_fields.items()
        ]
        for hook in HOOKS
        if found.offers(hook)
    }
    return {
        "family": name,
        "what": document,
        "origin": found.origin,
        "accepts": sorted(found.accepts),
        "hooks": options,
    }


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"{found['family']} ({found['origin']}): {found['what']}")
    typer.echo(
        f"hooks: {', '.join(found['hooks'])}; uses beside x: {', '.join(found['accepts']) or 'nothing'}"
    )
    for hook, rows in found["hooks"].items():
        if rows:
            print_table(rows, ["option", "type", "default", "meaning"], f"options of {hook}")
