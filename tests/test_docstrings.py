"""The public interface is documented: a complete first sentence, all arguments, what is returned; the reference and the options are those of the code."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

import probgen
from probgen.cli.common import options_of
from probgen.contract import hookspecs
from probgen.distributions.sites import Site
from probgen.plugins.analysis import analysis
from probgen.plugins.family import HOOKS, family
from probgen.plugins.registry import registered
from tests.test_prose import refused

ROOMS = [
    "codecs",
    "contract",
    "datasets",
    "distributions",
    "evaluation",
    "figures",
    "inference",
    "latents",
    "models",
    "nn",
    "testing",
]
SECTION = re.compile(r"^ *(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)


def public() -> Iterator[tuple[str, Any]]:
    """The names of `probgen` and of the rooms for scripts and plugins, and the methods of classes among them."""
    found: dict[str, Any] = {f"probgen.{name}": getattr(probgen, name) for name in probgen.__all__}
    for room in ROOMS:
        package = importlib.import_module(f"probgen.{room}")
        found |= {
            f"probgen.{room}.{name}": getattr(package, name) for name in getattr(package, "__all__", [])
        }
    found |= {
        f"FamilySpecs.{name}": hook.__func__
        for name, hook in vars(hookspecs.FamilySpecs).items()
        if isinstance(hook, staticmethod)
    }
    for name, each in found.items():
        if inspect.isfunction(each):
            yield name, each
        elif inspect.isclass(each):
            yield name, each
            # documented where they are first; all sites have the methods of their protocol
            inherited = {method for base in (*each.__mro__[1:], Site) for method in vars(base)}
            for method, value in vars(each).items():
                if (
                    inspect.isfunction(value)
                    and not method.startswith(("_", "test_"))
                    and method not in inherited
                ):
                    yield f"{name}.{method}", value


PUBLIC = dict(public())


def sections(document: str) -> dict[str, str]:
    """The text of each section, and of what stands before them under ""."""
    pieces = SECTION.split(document)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def arguments(each: Any) -> list[str]:
    """The names of arguments that a caller gives."""
    if inspect.isclass(each) and (issubclass(each, (BaseException, BaseModel, Enum)) or is_dataclass(each)):
        return []  # their fields are described one by one
    try:
        parameters = inspect.signature(each).parameters
    except ValueError:
        return []
    return [
        name
        for name in parameters
        if name not in {"self", "cls", "args", "kwargs"} and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name: str) -> None:
    each = PUBLIC[name]
    document = inspect.getdoc(each) or ""
    parts = sections(document)
    first = parts[""].strip().split("\n\n")[0]
    assert re.match(r"[A-Z`]", first), f"no sentence: {first!r}"
    assert first.endswith((".", ":")), f"not a whole sentence: {first!r}"
    assert len(first.split()) >= 3, f"too short to be understood: {first!r}"
    asked = arguments(each)
    missing = [
        argument
        for argument in asked
        if not re.search(rf"^ +\*{{0,2}}{argument}\b.*:", parts.get("Args", ""), re.MULTILINE)
    ]
    if len(asked) == 1 and re.search(rf"\b{asked[0]}\b", first):
        missing = []
    assert not missing, f"arguments without a line in Args: {missing}"
    returned = inspect.signature(each).return_annotation if inspect.isfunction(each) else None
    if asked and returned not in {None, "None", inspect.Signature.empty}:
        assert (
            "Returns" in parts
            or "Yields" in parts
            or first.startswith("Return ")
            or "Iterator" in str(returned)
        ), "Returns is missing"


def described() -> Iterator[tuple[str, str]]:
    """The descriptions of all options."""
    for name in registered("families"):
        found = family(name)
        for hook in HOOKS:
            if found.offers(hook):
                for option, field in found.options(hook).model_fields.items():
                    yield f"{name}, {hook}: {option}", field.description or ""
    for name in registered("analyses"):
        for option, field in analysis(name).options.model_fields.items():
            yield f"{name}: {option}", field.description or ""


def test_options_have_descriptions_that_stand_alone() -> None:
    """A phrase of at least three words, which does not begin with a preposition or a condition without its noun."""
    bad = [
        f"{option}: {text!r}"
        for option, text in described()
        if len(text.split()) < 3
        or re.match(
            r"(of|by|in|with|as|for|from|at|on|the same|what|where|svi:|its|their|them|those|whether it)\b",
            text,
        )
        or refused(text)
    ]
    assert not bad, "\n".join([str(len(bad)), *bad])


def test_types_and_defaults_of_options_are_for_people() -> None:
    """Names without modules and addresses, which would differ from run to run."""
    for name in registered("families"):
        found = family(name)
        for hook in HOOKS:
            if found.offers(hook):
                for row in options_of(found.options(hook)):
                    shown = f"{name}, {hook}, {row['option']}: {row['type']}, {row['default']}"
                    assert not re.search(
                        r"typing|Annotated|Undefined| at 0x|<|probgen", shown.partition(":")[2]
                    ), shown
