"""Every recipe that is shipped runs, and its figures are what it expects."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from probgen import recipes
from probgen.analyses import conditionals
from probgen.analyses.complete import hidden
from probgen.contract.event import Event
from probgen.errors import FileError, InputError

NEEDS_DATA = {
    "cifar-pixelcnn", "cifar-vqvae", "connect4", "dna", "faces-pixelcnn", "faces-vqvae", "faithful", "faithful-bayes", "fashion-biggan", "fashion-dcgan", "fashion-diffusion", "fashion-pixelcnn",
    "fashion-vae", "fashion-vqvae2", "mnist-dcgan", "mnist-fvsbn", "mnist-iwae", "mnist-made", "mnist-nade", "mnist-pixelcnn", "mnist-pixelrnn",
    "digits-wavenet", "mnist-vae", "mnist-vqvae", "multi30k-translate", "mushrooms", "nltcs", "plants", "shakespeare-lstm", "shakespeare-transformer", "stacked-mnist-gan",
    "wikipedia-rnn", "bsd-sr", "bsd-sr-x2", "bsd-srgan", "emoji-cyclegan", "emoji-pix2pix", "fashion-ink", "fashion-tint", "flowers-cyclegan",
}  # fmt: skip


@pytest.mark.quick(only=("digits-autoencoder",))
@pytest.mark.parametrize(
    "name", [n for n, p in recipes.shipped().items() if "[recipes]" not in p.read_text()]
)
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
    alike = (
        len({tuple(result.fitted.event.given) for result in results}) == 1
    )  # p(x) and p(x | source) are not compared
    drawn = [result for result in results if result.fitted.definition.offers("sample")]
    assert all(
        {"difference" if alike else "log_prob", "reconstruction", "modes", "critic", "reconstruction_error"}
        & row.keys()
        for row, result in zip(rows, results, strict=True)
        if result in drawn
    )
    for result in drawn:
        for picture in result.pictures:
            assert picture.stat().st_size > 0
        of_texts = result.texts and result.fitted.event.is_text
        look = "analyses/conditionals.surprise.png" if of_texts else "samples.png"
        for file in ("recipe.toml", "model.h5", "samples.h5", "scores.h5", "history.jsonl", look):
            assert (result.run / file).stat().st_size > 0
        with xr.open_datatree(result.run / "scores.h5") as tree:
            assert all(
                v.attrs["units"] == "nat"
                for k, v in tree["/probgen/scores"].items()
                if k not in ("pareto_k", "critic", "length", "reconstruction_error")
            )


@pytest.mark.quick(every=1)
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


NAMED = """
[data]
name = "digits"
rows = 200
[models.maker]
family = "vae"
likelihood = "categorical"
latent = 4
hidden = [16]
epochs = 2
[models.teller]
family = "attributes"
epochs = 1
[sample]
n = 4
[score]
k = 2
[boundaries]
scorer = { model = "teller" }
n = 200
"""


def test_an_analysis_is_told_of_a_model_that_was_fitted_before(tmp_path: Path) -> None:
    """`{ model = "teller" }` is the run of that model; one that comes later or is unknown is refused before anything is fitted."""
    first, second = NAMED.index("[models.maker]"), NAMED.index("[models.teller]")
    end = NAMED.index("[sample]")
    ordered = NAMED[:first] + NAMED[second:end] + NAMED[first:second] + NAMED[end:]
    path = tmp_path / "r.toml"
    path.write_text(ordered)
    teller, maker = recipes.execute(recipes.read(str(path)), tmp_path / "o")
    assert "mean_accuracy" in maker.figures
    assert any("does not apply to 'attributes'" in note for note in teller.notes)
    with xr.open_datatree(tmp_path / "o" / "maker" / "analyses" / "boundaries.h5") as tree:
        attrs = tree["/probgen/boundaries"].attrs
        assert attrs["scorer"] == str((tmp_path / "o" / "teller").resolve())
        assert attrs["scorer_beside"] == str(Path("..") / "teller")
    path.write_text(NAMED)
    with pytest.raises(InputError, match=r"Move \[models.teller\] before the others"):
        list(recipes.execute(recipes.read(str(path)), tmp_path / "p"))
    assert not (tmp_path / "p").exists()
    path.write_text(NAMED.replace('model = "teller"', 'model = "tellr"'))
    with pytest.raises(InputError, match="'tellr': did you mean 'teller'"):
        recipes.read(str(path))


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


SMALL = """
[data]
name = "digits-binary"
rows = 60
[models.a]
family = "independent"
[models.b]
family = "nade"
hidden = 8
epochs = 3
batch_size = 20
given = ["label"]
[sample]
n = 2
given = { label = [3, 1, 4] }
[complete]
rows = 5
n = 3
hide = "left"
[conditionals]
rows = 4
[expect.b]
log_prob = { at_least = 0.0 }
[fast]
data.rows = 10
models.b.epochs = 1
[fast.expect.a]
log_prob = { at_least = -100.0 }
"""


def test_the_fast_variant_is_the_recipe_with_changes(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(SMALL)
    whole, fast = (recipes.read(str(tmp_path / "r.toml"), fast=fast) for fast in (False, True))
    assert (whole.data.rows, fast.data.rows) == (60, 10)
    assert whole.models["b"].options["epochs"] == 3
    assert fast.models["b"].options == {**whole.models["b"].options, "epochs": 1}
    assert list(whole.expect) == ["b"]
    assert list(fast.expect) == ["a"]
    changed = recipes.read(str(tmp_path / "r.toml"), {"data.rows": 7}, fast=True)
    assert changed.data.rows == 7
    with pytest.raises(InputError, match=r"no table \[fast\]"):
        recipes.read("iris", fast=True)
    (tmp_path / "bad.toml").write_text(SMALL + "[fast.complete]\nhid = 1\n")
    with pytest.raises(InputError, match="complete: unknown option 'hid'"):
        recipes.check(recipes.read(str(tmp_path / "bad.toml"), fast=True))


def test_what_is_drawn_completed_and_explained(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(SMALL)
    a, b = recipes.execute(recipes.read(str(tmp_path / "r.toml")), tmp_path / "o")
    assert [p.name for p in a.pictures] == ["samples.png", "complete.completions.png"]
    assert a.notes == [
        "conditionals was left out: analysis 'conditionals' does not apply to 'independent': it needs "
        + conditionals.needs
    ]
    assert [p.name for p in b.pictures] == [
        "history.png",
        "samples.png",
        "complete.completions.png",
        "conditionals.sites.png",
    ]
    assert b.scores is not None
    assert b.scores.sizes["row"] == 60
    with xr.open_datatree(b.run / "samples.h5") as tree:
        assert dict(tree["/probgen/samples"].sizes) == {"sample": 2, "row": 3, "height": 8, "width": 8}
    with xr.open_datatree(b.run / "analyses" / "complete.h5") as tree:
        drawn = tree["/probgen/complete"].load()
        known = drawn["observed"].values == 1
        assert known[..., 4:].all()
        assert not known[..., :4].any()
        assert (drawn["x"].values == drawn["truth"].values)[:, known].all()
        assert drawn["ess"].sizes == {"sample": 3, "row": 5}
    with xr.open_datatree(b.run / "analyses" / "conditionals.h5") as tree:
        found = tree["/probgen/conditionals"].load()
        total = found["site_log_prob"].sum(("height", "width"))
        xr.testing.assert_allclose(total, found["log_prob"].astype("float32"), rtol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("given = { label = [3, 1, 4] }\n", "", "sample.given.label is missing"),
        ("label = [3, 1, 4]", "labl = [3]", "label"),
        ("label = [3, 1, 4]", "label = [3, 10]", "from 0 to 10 - 1"),
        ('name = "digits-binary"', 'name = "iris"', "only an image"),
    ],
)
def test_what_does_not_suit_the_data_is_refused_before_the_first_fit(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(SMALL.replace(old, new))
    with pytest.raises(InputError, match=message):
        list(recipes.execute(recipes.read(str(tmp_path / "r.toml")), tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_analyses_are_of_the_families_that_they_apply_to(tmp_path: Path) -> None:
    """A MADE of several orderings has no conditionals: the recipe goes on without."""
    text = SMALL.replace('family = "nade"\n', 'family = "made"\nmasks = 2\nordering = "random"\n')
    (tmp_path / "r.toml").write_text(text)
    _, b = recipes.execute(recipes.read(str(tmp_path / "r.toml")), tmp_path / "o")
    assert [p.name for p in b.pictures] == ["history.png", "samples.png", "complete.completions.png"]
    assert "averages several orderings" in b.notes[0]
    again = recipes.read(str(tmp_path / "r.toml"), {"complete": None})
    _, b = recipes.execute(again, tmp_path / "o", force=True)
    assert not (b.run / "analyses").exists()


def test_halves() -> None:
    image = Event(("height", "width"), (4, 6), "binary")
    for half, rows, columns in (
        ("lower", slice(2, 4), slice(None)),
        ("upper", slice(0, 2), slice(None)),
        ("left", slice(None), slice(0, 3)),
        ("right", slice(None), slice(3, 6)),
    ):
        expected = np.zeros((4, 6), bool)
        expected[rows, columns] = True
        assert (hidden(image, half) == expected).all()
    assert hidden(Event(("feature",), (5,), "binary"), "last").tolist() == [False, False, True, True, True]
    with pytest.raises(InputError, match="only an image"):
        hidden(Event(("feature",), (5,), "binary"), "left")


def test_texts_are_drawn_after_a_prompt_with_the_options_of_the_family(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello world, " * 40)
    recipe = tmp_path / "a.toml"
    recipe.write_text(
        f'[data]\npath = "{tmp_path / "a.txt"}"\n[models.rnn]\nfamily = "char-rnn"\nhidden = 8\nsteps = 5\n'
        '[models.plain]\nfamily = "char-rnn"\ncell = "rnn"\nhidden = 8\nsteps = 5\n'
        '[sample]\nn = 2\nprompt = "hello"\nlength = 7\n[conditionals]\nrows = 1\n'
    )
    for result in recipes.execute(recipes.read(str(recipe)), tmp_path / "out"):
        assert all(text.startswith("hello") and len(text) == 12 for text in result.texts)
        assert len(result.texts) == 2
        assert {path.name for path in result.pictures} == {"history.png", "conditionals.surprise.png"}
    with pytest.raises(InputError, match="sample: unknown option 'lenght'; did you mean 'length'"):
        recipes.check(recipes.read(str(recipe), {"sample.lenght": 3}))
    with pytest.raises(InputError, match="length = 0"):
        recipes.check(recipes.read(str(recipe), {"sample.length": 0}))
