"""The gallery: a card for each recipe, from recipes/*.toml and the pictures in docs/gallery/."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from probgen.datasets import find_set
from probgen.plugins.registry import registered
from probgen.recipes.catalog import contents, shipped

PICTURES = Path(__file__).parent / "gallery"
SHOWN = 3  # expected figures on a card
# Families and analyses of each group. A recipe is in the last group of which it has one.
GROUPS = {
    "Mixtures": {"mixture", "bayesian-mixture"},
    "Autoregressive networks": {"fvsbn", "nade", "made", "pixelcnn", "pixelrnn"},
    "Texts and sounds": {"ngram", "char-rnn", "transformer", "seq2seq", "wavenet"},
    "Latent variables": {"vae", "m2", "autoencoder"},
    "Discrete codes": {"vqvae", "vqvae2"},
    "Flows and diffusion": {"flow", "flow-vae", "glow", "diffusion"},
    "GANs": {"gan", "dcgan", "progan", "stylegan", "biggan"},
    "What a generator has learned": {"boundaries", "edits", "inversion", "restoration", "fakes"},
    "Images from images": {"srresnet", "subscale", "srgan", "pix2pix", "cyclegan"},
    "Tables": {"synthesize", "impute", "outliers", "fidelity"},
}
WHOLE = "Several recipes as one"
INTRODUCTION = """\
Each card is a recipe: one file that names the data, the models, the analyses and the figures to expect.
`probgen run NAME` runs it, `--fast` in seconds, and `--check` compares the result with the figures.
A figure on a card is the limit that `--check` requires, with its source.
[Results](results.md) has what was reached, with standard errors and times.
Pictures are samples or results of a run, reduced in size.
"""


def gallery(note: str) -> str:
    """Return the page with all cards, in groups.

    Args:
        note: A comment for the reader of the file.

    Returns:
        The page in Markdown.
    """
    groups: dict[str, list[str]] = {group: [] for group in (*GROUPS, WHOLE)}
    for name, file in shipped().items():
        recipe = tomllib.loads(file.read_text())
        if "recipes" in recipe:
            groups[WHOLE] += card_of_parts(name, recipe)
        else:
            groups[group_of(recipe)] += card(name, recipe)
    lines = ["# Gallery", note, "", INTRODUCTION]
    for group, cards in groups.items():
        lines += [f"## {group}", "", *cards]
    return "\n".join(lines)


def group_of(recipe: dict[str, Any]) -> str:
    """Return the group of a recipe."""
    names = {model["family"] for model in recipe["models"].values()} | recipe.keys()
    return next(group for group, members in reversed(GROUPS.items()) if names & members)


def card(name: str, recipe: dict[str, Any]) -> list[str]:
    """Return the lines of a card: a section, which the style sheet frames."""
    found = [f"### {name}", ""]
    for picture in sorted(PICTURES.glob(f"{name}.*.png")):
        found += [f"![{name}: {picture.stem.partition('.')[2]}](gallery/{picture.name})", ""]
    families = dict.fromkeys(model["family"] for model in recipe["models"].values())
    links = ", ".join(f"[{family}](options.md#family-{family})" for family in families)
    tables = [table for table in recipe if table in registered("analyses")]
    facts = [
        f"Data: {find_set(recipe['data']['name']).description}",
        f"Families: {links}",
        *([f"Analyses: {', '.join(tables)}"] if tables else []),
        f"Reference: {recipe['reference']}",
    ]
    found += [f"**{recipe['title']}**", "", *(f"- {fact}" for fact in facts), "", *figures(recipe), ""]
    return [
        *found,
        "```console",
        f"probgen run {name} --check",
        "```",
        f"[{name}.toml](../recipes/{name}.toml)",
        "",
    ]


def card_of_parts(name: str, recipe: dict[str, Any]) -> list[str]:
    """Return the lines of a card of a recipe that consists of recipes."""
    parts = ", ".join(f"[{part}](#{part})" for part in contents(name))
    return [
        f"### {name}",
        "",
        f"**{recipe['title']}**",
        "",
        f"- Recipes: {parts}",
        f"- Reference: {recipe['reference']}",
        "",
        "```console",
        f"probgen run {name} --check",
        "```",
        f"[{name}.toml](../recipes/{name}.toml)",
        "",
    ]


def figures(recipe: dict[str, Any]) -> list[str]:
    """Return the expected figures of a recipe as a list, at most `SHOWN` of them."""
    found = [
        f"- `{model}` {figure} {limits(wanted)} ({wanted['source']})"
        for model, table in recipe.get("expect", {}).items()
        for figure, wanted in table.items()
    ]
    if not found:
        return ["No figure is expected."]
    rest = [f"- {len(found) - SHOWN} more in the file"] if len(found) > SHOWN else []
    return ["Expected:", "", *found[:SHOWN], *rest]


def limits(wanted: dict[str, Any]) -> str:
    """Return the limits of an expected figure in words."""
    return " and ".join(
        f"{word} {wanted[key]}"
        for key, word in {"at_least": "at least", "at_most": "at most"}.items()
        if key in wanted
    )
