"""A recipe that consists of recipes: each part as if it were run alone, none twice, and one page for all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import probgen
from probgen import recipes
from probgen.cli import app
from probgen.errors import InputError
from probgen.evaluation.means import mean
from probgen.recipes import series
from probgen.report import gather
from probgen.store.trees import read_dataset

IMAGES = """
title = "Images"
[data]
name = "digits-binary"
rows = 200
[models.independent]
family = "independent"
[models.nade]
family = "nade"
hidden = 4
epochs = 2
[sample]
n = 4
[expect.nade]
log_prob = { at_least = -44.4, source = "64 fair bits" }
[fast]
data.rows = 50
"""
JUDGED = """
[diagnose]
n = 60
"""
FLOWERS = """
title = "Irises"
[data]
name = "iris"
[models.one]
family = "mixture"
components = 1
[models.two]
family = "mixture"
components = 2
[sample]
n = 4
"""
WHOLE = """
title = "Both"
[recipes]
images = "pictures.toml"
flowers = "flowers.toml"
"""
FILES = ("model.h5", "samples.h5", "scores.h5")


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def good(*words: object) -> Result:
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    return done


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in {"pictures": IMAGES, "flowers": FLOWERS, "whole": WHOLE}.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the three files, one with a diagnosis, and `runs/whole` with what they give."""
    folder = tmp_path_factory.mktemp("parts")
    for name, text in {"pictures": IMAGES + JUDGED, "flowers": FLOWERS, "whole": WHOLE}.items():
        (folder / f"{name}.toml").write_text(text)
    good("run", folder / "whole.toml", "--out", folder / "runs" / "whole", "--check", "--quiet")
    return folder


def whole_of(folder: Path, **how: Any) -> recipes.Whole:
    return recipes.read_whole(str(folder / "whole.toml"), **how)


def states(run: Path) -> dict[str, np.ndarray]:
    """All numbers of the models and their scores of a folder of parts, by path."""
    found = {}
    for model in sorted(run.glob("*/*/model.h5")):
        where = str(model.parent.relative_to(run))
        found |= {f"{where} {name}": value for name, value in probgen.load(model).state.items()}
        found[f"{where} scores"] = read_dataset(model.parent / "scores.h5", "scores")["log_prob"].values
    return found


def times(run: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for name in FILES for file in sorted(run.glob(f"*/*/{name}"))}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_a_part_is_the_recipe_run_alone(made: Path, tmp_path: Path) -> None:
    for part, name in {"images": "pictures", "flowers": "flowers"}.items():
        list(recipes.execute(recipes.read(str(made / f"{name}.toml")), tmp_path / part))
    same(states(made / "runs" / "whole"), states(tmp_path))


def test_complete_parts_are_read_and_not_run_again(made: Path) -> None:
    """Files are untouched, and the results from files are those of the run."""
    out = made / "runs" / "whole"
    before = times(out)
    first = {part: gather([out / part]) for part in ("images", "flowers")}
    told = json.loads(good("run", made / "whole.toml", "--out", out, "--resume", "--json").stdout)
    assert times(out) == before
    for part, found in first.items():
        for row, model in zip(told["parts"][part]["models"], found.models, strict=True):
            assert {k: row[k] for k in model.figures} == model.figures
        assert set(told["parts"][part]["left_out"]) == {model.name for model in found.models}
    assert [line["met"] for line in told["parts"]["images"]["expected"]] == [True]
    (nade,) = (row for row in told["images"] if row["model"] == "images/nade")
    assert told["parts"]["images"]["models"][1]["coverage"] == nade["coverage"]


def test_another_request_is_refused_before_anything_changes(made: Path) -> None:
    out = made / "runs" / "whole"
    before = times(out)
    for words, message in (
        ((), "already contains a run"),
        (("--resume", "--set", "flowers.models.two.components=3"), "flowers was started with another recipe"),
        (("--resume", "--seed", "1"), "images was started with another recipe"),
    ):
        done = invoke("run", made / "whole.toml", "--out", out, *words)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
    assert times(out) == before


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_whole_is_resumed(
    made: Path, place: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after some models, in either part, and ends as if it had not stopped; complete parts are not run again."""
    out, models = place / "out", 0

    def until(*args: Any, **how: Any) -> Iterator[recipes.Result]:
        nonlocal models
        for result in execute(*args, **how):
            if models == after:
                raise KeyboardInterrupt
            models += 1
            yield result

    execute = series.execute
    with monkeypatch.context() as patched:
        patched.setattr(series, "execute", until)
        with pytest.raises(KeyboardInterrupt):
            list(recipes.execute_whole(whole_of(place), out))
    before = times(out / "images") if after >= 2 else {}
    assert len(list(out.glob("*/*/model.h5"))) == after + 1
    with pytest.raises(InputError, match="already contains a run"):
        list(recipes.execute_whole(whole_of(place), out))
    list(recipes.execute_whole(whole_of(place), out, resume=True))
    assert {file: time for file, time in times(out / "images").items() if file in before} == before
    same(states(out), states(made / "runs" / "whole"))


def test_a_part_that_was_run_alone_is_linked(place: Path) -> None:
    """It is not fitted again, and to replace the whole does not replace what was run alone."""
    (place / "whole.toml").write_text('[recipes]\nflowers = "flowers.toml"\n')
    alone, out = place / "runs" / "flowers", place / "runs" / "whole"
    good("run", place / "flowers.toml", "--out", alone, "--quiet")
    before = {file: (alone / "two" / file).read_bytes() for file in FILES}
    good("run", place / "whole.toml", "--out", out, "--quiet")
    assert (out / "flowers").readlink() == Path("..") / "flowers"
    first = states(out)
    good("run", place / "whole.toml", "--out", out, "--force", "--seed", 1, "--quiet")
    assert not (out / "flowers").is_symlink()
    assert {file: (alone / "two" / file).read_bytes() for file in FILES} == before
    good("run", place / "whole.toml", "--out", out, "--force", "--quiet")
    same(states(out), first)


def test_a_part_without_its_end_is_not_complete(place: Path) -> None:
    """Neither an old page of an interrupted --force, nor a page of what is there so far, makes a half complete."""
    (place / "whole.toml").write_text('[recipes]\nflowers = "flowers.toml"\n')
    alone, out = place / "runs" / "flowers", place / "runs" / "whole"
    good("run", place / "flowers.toml", "--out", alone, "--quiet")
    plan = recipes.read(str(place / "flowers.toml"))
    next(iter(recipes.execute(plan, alone, force=True)))
    assert not (alone / "report.html").exists()
    good("report", alone)
    assert (alone / "report.html").exists()
    good("run", place / "whole.toml", "--out", out, "--quiet")
    assert not (out / "flowers").is_symlink()
    assert (out / "flowers" / "two" / "model.h5").exists()


def test_a_link_without_a_run_is_replaced_and_named(place: Path) -> None:
    (place / "whole.toml").write_text('[recipes]\nflowers = "flowers.toml"\n')
    alone, out = place / "runs" / "flowers", place / "runs" / "whole"
    good("run", place / "flowers.toml", "--out", alone, "--quiet")
    good("run", place / "whole.toml", "--out", out, "--quiet")
    first = states(out)
    alone.rename(place / "elsewhere")
    refused = invoke("report", out)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "links to a run that no longer exists. Run the recipe again with --resume" in refused.stderr
    good("run", place / "whole.toml", "--out", out, "--resume", "--quiet")
    same(states(out), first)


def test_kept_parts_have_the_texts_and_times_of_their_run(made: Path) -> None:
    (made / "words.txt").write_text("the cat sat on the mat. " * 20)
    (made / "words.toml").write_text(
        f'[data]\npath = "{made / "words.txt"}"\n[models.two]\nfamily = "ngram"\norder = 2\n[sample]\nn = 2\n'
    )
    (made / "texts.toml").write_text('[recipes]\nwords = "words.toml"\n')
    call = ("run", made / "texts.toml", "--out", made / "texts", "--json")
    first, again = (json.loads(good(*call, *more).stdout)["parts"]["words"] for more in ((), ("--resume",)))
    assert first["texts"]["two"]
    assert again["texts"] == first["texts"]
    assert again["pictures"] == first["pictures"]
    assert again["models"][0]["seconds"] == first["models"][0]["seconds"]


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ('[recipes]\na = "nothing.toml"\n', (), "recipes.a: "),
        ('[recipes]\na = "quickstrat"\n', (), "did you mean 'quickstart'"),
        ('[recipes]\na = "whole.toml"\n', (), "recipes.a: .*whole.toml consists of recipes"),
        ('[recipes]\n"../a" = "quickstart"\n', (), "a name of letters"),
        ("[recipes]\n", (), "recipes"),
        ('recipes = ["quickstart"]\n', (), "recipes"),
        ("[recipes]\na = 3\n", (), "recipes.a"),
        (WHOLE + '[data]\nname = "iris"\n', (), "data"),
        (WHOLE, ("--set", "models.two.components=3"), "Put one of these names first: images, flowers"),
        (WHOLE, ("--set", "flowers.models.two.componets=3"), "did you mean 'components'"),
        (WHOLE, ("--fast",), "recipes.flowers: .* has no table .fast"),
    ],
)
def test_wrong_recipes_are_refused_in_a_line(
    place: Path, text: str, words: tuple[str, ...], message: str
) -> None:
    (place / "whole.toml").write_text(text)
    done = invoke("run", place / "whole.toml", "--out", place / "out", *words)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert not (place / "out").exists()


def test_a_search_needs_one_recipe(place: Path) -> None:
    done = invoke("search", place / "whole.toml", "--out", place / "out")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "Choose one of its parts" in done.stderr


def test_changes_and_the_short_variant_reach_the_parts(place: Path) -> None:
    (place / "flowers.toml").write_text(FLOWERS + "[fast]\nmodels.two.components = 4\n")
    short = whole_of(place, changes={"images.models.nade.epochs": 1, "seed": 3}, fast=True)
    images, flowers = short.parts["images"], short.parts["flowers"]
    assert (images.data.rows, images.models["nade"].options["epochs"], images.seed) == (50, 1, 3)
    assert (flowers.models["two"].options["components"], flowers.seed) == (4, 3)
    assert short.usual == {"images": "pictures-fast", "flowers": "flowers-fast"}


def test_bounds_of_parts_are_checked(place: Path) -> None:
    (place / "whole.toml").write_text('[recipes]\nflowers = "flowers.toml"\n')
    (place / "flowers.toml").write_text(FLOWERS + "[expect.one]\nlog_prob.at_least = 0\n")
    done = invoke("run", place / "whole.toml", "--out", place / "out", "--check", "--quiet")
    assert done.exit_code == 1
    assert "1 of 1 figures are outside" in done.stderr


def test_the_page_is_over_all_parts(made: Path, tmp_path: Path) -> None:
    """`probgen report` writes it from the folders alone, the same bytes; its table has the numbers of the files."""
    out = made / "runs" / "whole"
    good("report", out, "--out", tmp_path / "page.html")
    text = (out / "report.html").read_text()
    assert (tmp_path / "page.html").read_text() == text
    for title in ("Both", "Images", "Irises"):
        assert title in text
    ids = re.findall(r'id="([^"]*)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)
    rows = gather([out]).overview
    assert [row["model"] for row in rows] == [
        "images/independent",
        "images/nade",
    ]  # best first, and irises are not images
    for row in rows:
        scores = read_dataset(out / row["model"] / "scores.h5", "scores")
        found = read_dataset(out / row["model"] / "analyses" / "diagnose.h5", "diagnose")
        assert row["log_prob"] == mean(scores["log_prob"])[0]
        assert row["bits_per_dim"] == pytest.approx(-row["log_prob"] / 64 / np.log(2))
        assert {k: row[k] for k in ("coverage", "precision", "recall", "accuracy")} == {
            k: found[k].item() for k in ("coverage", "precision", "recall", "accuracy")
        }
        assert f"{row['coverage']:.3f}" in text


def test_the_request_can_be_run_again(made: Path) -> None:
    """It names the requests of the parts, with all their changes."""
    out = made / "runs" / "whole"
    again = recipes.read_whole(str(out / "recipe.toml"))
    assert {part: plan.request for part, plan in again.parts.items()} == {
        part: plan.request for part, plan in whole_of(made).parts.items()
    }


def test_shipped_wholes_are_found() -> None:
    for name in recipes.shipped():
        whole = recipes.read_whole(name, fast=recipes.has_fast(name))
        for plan in whole.parts.values():
            recipes.check(plan)
