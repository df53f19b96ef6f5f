"""Every recipe that is shipped runs, and its figures are what it expects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import xarray as xr

from probgen import recipes
from probgen.errors import FileError, InputError

NEEDS_DATA = {"faithful"}


@pytest.mark.parametrize("name", recipes.shipped())
def test_recipe(name: str, tmp_path: Path) -> None:
    if name in NEEDS_DATA and not os.environ.get("PROBGEN_DATA"):
        pytest.skip("PROBGEN_DATA names no folder of real data")
    plan = recipes.read(name, fast=recipes.has_fast(name))
    results = list(recipes.execute(plan, tmp_path / name))
    expected = recipes.expectations(plan, results)
    assert expected, "a recipe says what is to be expected"
    assert all(line["met"] for line in expected), expected
    rows = recipes.table(results)
    assert [row["model"] for row in rows] == list(plan.models)
    assert all("difference" in row for row in rows)
    for result in results:
        for picture in result.pictures:
            assert picture.stat().st_size > 0
        for file in ("recipe.toml", "model.h5", "samples.h5", "scores.h5", "history.jsonl", "samples.png"):
            assert (result.run / file).stat().st_size > 0
        with xr.open_datatree(result.run / "scores.h5") as tree:
            assert tree["/probgen/scores/log_prob"].attrs["units"] == "nat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'data' is missing"),
        ("[data\n", "not TOML"),
        ('[data]\nname = "iris"\n', "'models' is missing"),
        ('[data]\nname = "iris"\nnmae = 1\n[models.a]\nfamily = "mixture"\n', "data.nmae"),
        ('[data]\nname = "iris"\n[models.a]\n', "'models.a.family' is missing"),
        ('[data]\nname = "iris"\n[models."../x"]\nfamily = "mixture"\n', "a name of letters"),
        (
            '[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n[expect.b]\nx = {at_least = 1}\n',
            "expect.b",
        ),
        ('[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n[expect.a]\nx = {}\n', "at_least"),
        ('seed = "1"\n[data]\nname = "iris"\n[models.a]\nfamily = "mixture"\n', "seed = '1'"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_wrong_recipe_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises((InputError, FileError), match=message.replace("[", r"\[")) as caught:
        recipes.read(str(tmp_path / "r.toml"))
    assert "r.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_figure_is_named(tmp_path: Path) -> None:
    plan = recipes.read(
        "iris",
        {
            "expect.two.log_porb.at_least": 0.0,
            "models": {"two": {"family": "mixture"}},
            "expect": {"two": {"log_porb": {"at_least": 0.0}}},
        },
    )
    results = list(recipes.execute(plan, tmp_path / "o"))
    with pytest.raises(InputError, match="did you mean 'log_prob'"):
        recipes.expectations(plan, results)
