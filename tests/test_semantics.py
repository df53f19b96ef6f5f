"""Analyses of latent spaces, on a generator whose factors are known, on families of all kinds and a stranger's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import probgen
from probgen.analyses import space as spaces
from probgen.cli import app
from probgen.contract.analysis import Call
from probgen.contract.options import Options
from probgen.errors import InputError, NotOffered
from probgen.store.trees import read_dataset
from probgen.testing import AnalysisLaws
from tests.planted import LAYERS, SIDE, factors, planted


@pytest.fixture(scope="module")
def generator() -> probgen.Fitted:
    x = np.random.default_rng(0).random((20, SIDE, SIDE))
    return probgen.fit(planted, xr.Dataset({"x": (("row", "height", "width"), x)}))


HOW: dict[str, Any] = {"scorer": factors, "n": 600}


def test_boundaries_of_planted_factors_are_found_through_a_generator(generator: probgen.Fitted) -> None:
    """In all layers at once, since w is in all of them; what was not planted is no better than chance."""
    found = probgen.analyze("boundaries", generator, **HOW)
    world = generator.module.world
    normals = found.normal.sum("layer").values[:3]
    cosines = (normals * world.q).sum(1) / np.linalg.norm(normals, axis=1)
    assert cosines.min() > 0.98
    assert found.accuracy.values[:3].min() > 0.95
    assert list(found.chance.values) == [False, False, False, True]
    assert "no better than chance: nothing" in found.attrs["summary"]
    in_w = probgen.analyze("boundaries", generator, latent="w", **HOW)
    np.testing.assert_allclose(in_w.accuracy.values, found.accuracy.values, atol=1e-3)


def test_edits_move_their_attribute_and_hold_the_others(generator: probgen.Fitted) -> None:
    three = ["a", "b", "c"]
    alone = probgen.analyze("edits", generator, attribute=three, by=1.5, hold=[], **HOW)
    held = probgen.analyze("edits", generator, attribute=three, by=1.5, hold=three, **HOW)
    assert held.held_most.values.max() < 0.03
    off = [abs(alone.moved.values[i, j]) for i in range(3) for j in range(3) if i != j]
    assert max(off) > 0.2  # the planted directions have a cosine of 0.3
    np.testing.assert_allclose(held.own, alone.own, rtol=0.1)
    assert float(held.own.min()) > 1.0
    for along in ("gentle", "normal"):
        one = probgen.analyze("edits", generator, attribute="a", hold=["b"], along=along, **HOW)
        assert abs(float(one.moved.sel(edited="a", factor="b"))) < 0.06


def test_edits_of_one_layer_change_what_that_layer_reads(generator: probgen.Fitted) -> None:
    where = int(generator.module.world.layer[0])
    there = probgen.analyze("edits", generator, attribute="a", hold=[], layers=where, **HOW)
    elsewhere = probgen.analyze(
        "edits", generator, attribute="a", hold=[], layers=(where + 1) % LAYERS, **HOW
    )
    assert float(there.own[0]) > 1.2
    assert abs(float(elsewhere.own[0])) < 1e-6
    whole = probgen.analyze("edits", generator, attribute="a", hold=[], layers=f"0-{LAYERS - 1}", **HOW)
    plain = probgen.analyze("edits", generator, attribute="a", hold=[], **HOW)
    np.testing.assert_array_equal(whole.moved, plain.moved)


def test_the_strip_is_made_of_the_codes_that_the_move_says(generator: probgen.Fitted) -> None:
    found = probgen.analyze("edits", generator, attribute="b", steps=3, reach=2.0, pictured=2, **HOW)
    codes = probgen.sample(generator, 600).styles.values[:2]
    np.testing.assert_array_equal(found.at, [-2, 0, 2])
    for j, by in enumerate(found.at.values):
        moved = (codes + by * found["move"].values[0]).astype(np.float32)
        np.testing.assert_allclose(
            found.strip.values[0, :, j], probgen.decode(generator, {"styles": moved}).x, atol=1e-5
        )


def test_rescoring_names_planted_layers_and_no_other(generator: probgen.Fitted) -> None:
    found = probgen.analyze("rescoring", generator, measured=100, hold=["a", "b", "c"], **HOW)
    assert list(found.named.values) == [*generator.module.world.layer, -1]
    assert (found.share.values[:3].max(1) > 0.95).all()
    assert found.attrs["summary"].endswith("boundaries no better than chance: nothing")
    figures = probgen.figures_of(found)
    assert set(figures) == {"layers", "share"}
    with pytest.raises(NotOffered, match="no layers"):
        probgen.analyze("rescoring", generator, latent="w", measured=20, **HOW)


def test_directions_of_a_generator(generator: probgen.Fitted) -> None:
    """Components of w are those of its covariance; the three ways that act on images span the planted ones, whatever the method of the codes."""
    found = probgen.analyze("directions", generator, latent="w", k=3, method="sensitive", **HOW)
    world = generator.module.world
    span = np.linalg.qr(world.q.T)[0]
    np.testing.assert_allclose(np.linalg.norm(found.direction.values @ span, axis=1), 1, atol=1e-3)
    principal = probgen.analyze("directions", generator, latent="w", k=2, **HOW)
    top = np.linalg.eigh(np.cov(probgen.sample(generator, 600).w.values.T))[1][:, ::-1][:, :2].T
    assert np.abs((principal.direction.values * top).sum(1)).min() > 1 - 1e-5
    assert principal.walk.sizes["leg"] == 5
    np.testing.assert_allclose(principal.walk[0, 0], probgen.sample(generator, 600).x[0], atol=1e-5)


def test_a_walk_is_an_animation(generator: probgen.Fitted, tmp_path: Path) -> None:
    probgen.analyze("directions", generator, k=2, stops=3, steps=4, out=tmp_path, **HOW)
    with Image.open(tmp_path / "analyses" / "directions.walking.png") as image:
        assert image.format == "PNG"
        assert image.n_frames == 12
        assert image.info["duration"] == 80


def test_disentanglement_of_each_latent_vector(generator: probgen.Fitted) -> None:
    """w is rotated and of planted directions that are not orthogonal: informative, and not disentangled by axis."""
    found = probgen.analyze("disentanglement", generator, latent="w", **HOW)
    assert float(found.mig_w) < 0.2
    assert float(found.dci_disentanglement_w) < 0.5
    np.testing.assert_array_equal(
        found.value.values[0, :6], [float(found[f"{m}_w"]) for m in found.measure.values[:6]]
    )


def test_what_cannot_be_asked_of_codes_is_refused_in_one_line(
    generator: probgen.Fitted, tmp_path: Path
) -> None:
    def refused(said: str, analysis: str = "edits", **options: Any) -> None:
        with pytest.raises(InputError, match=said) as caught:
            probgen.analyze(analysis, generator, **{**HOW, **options})
        assert "\n" not in str(caught.value)

    refused("attribute = 'smile': known: a, b, c", attribute="smile")
    refused("hold = 'smile': known", attribute="a", hold=["smile"])
    refused("no better than chance", attribute="nothing")
    refused("layers: these codes have 4 layers", attribute="a", layers=7)
    refused("layers = '2-1'", attribute="a", layers="2-1")
    refused("layers: these codes have no layers", attribute="a", latent="w", layers=0)
    refused("latent = 'v': known: styles, w", latent="v")
    refused("Use more codes", n=15)
    refused("it is 0 for every sample", scorer=lambda x: {"flat": np.zeros(len(x))})
    refused("neither a registered function of attributes nor a run", scorer="no/such/run")
    refused("there is no scorer", scorer=None)
    refused("attribute = \\[\\]", attribute=[])
    refused("names must be different", attribute=["a", "a"])
    refused("layers: these codes have 4 layers", attribute="a", layers="2-9")
    refused("layers = '0-'", attribute="a", layers="0-")
    refused("too large", attribute="a", by=1e300)
    refused("different names", scorer=lambda x: {0: x[:, 0, 0], "0": x[:, 0, 1]})
    refused("by = 1.0 has no effect", analysis="directions", scorer=None, by=1.0)
    refused("paths = 9 has no effect", analysis="disentanglement", paths=9, latent="w")
    refused("given.member: the model has no conditions", given={"member": 0})
    refused("of = 'rows'", of="rows")
    refused("method", method="magic")
    refused("share = 0.1", analysis="boundaries", share=0.1)
    forced = probgen.analyze("edits", generator, attribute="nothing", force=True, **HOW)
    assert forced.sizes["edited"] == 1


def test_a_scorer_of_another_event_is_refused(generator: probgen.Fitted) -> None:
    x = np.random.default_rng(0).random((40, 4, 4))
    other = xr.Dataset(
        {
            "x": (("row", "height", "width"), x),
            "attribute": (("row", "factor"), x[:, :1, 0], {"levels": [0]}),
        },
        {"factor": ["a"]},
    )
    tells = probgen.fit("attributes", other, epochs=1)
    with pytest.raises(InputError, match="scorer: it scores"):
        probgen.analyze("boundaries", generator, scorer=tells, n=100)


def test_boundaries_of_a_run_serve_its_edits_and_those_of_another_generator_are_refused(
    generator: probgen.Fitted, tmp_path: Path
) -> None:
    from probgen.evaluation.morphology import morphology

    probgen.analyze("boundaries", generator, scorer="morphology", n=300, out=tmp_path)
    found = probgen.analyze("edits", generator, attribute="area", hold=[], n=300, folder=tmp_path)
    again = probgen.analyze("edits", generator, attribute="area", hold=[], n=300, scorer=morphology)
    np.testing.assert_array_equal(found.moved, again.moved)
    assert found.attrs["scorer"] == "morphology"
    with pytest.raises(InputError, match="are in 'styles'"):
        probgen.analyze("edits", generator, attribute="area", n=300, folder=tmp_path, latent="w")
    file = tmp_path / "analyses" / "boundaries.h5"
    from probgen.store.trees import write_dataset

    other = read_dataset(file, "boundaries").assign_attrs(model_sha256="another")
    file.unlink()
    write_dataset(file, "boundaries", other)
    with pytest.raises(InputError, match="belong to another generator"):
        probgen.analyze("edits", generator, attribute="area", n=300, folder=tmp_path)


# families of all kinds


@pytest.fixture(scope="module")
def digits() -> xr.Dataset:
    return probgen.datasets.load("digits").isel(row=slice(0, 300))


# fmt: off
FAMILIES: dict[str, dict[str, Any]] = {
    "vae": {"latent": 4, "hidden": (16,), "epochs": 3, "likelihood": "categorical"},
    "autoencoder": {"latent": 4, "hidden": (16,), "epochs": 20, "learning_rate": 0.005},
    "m2": {"latent": 3, "hidden": (16,), "epochs": 2, "likelihood": "categorical"},
    "gan": {"latent": 4, "hidden": (16,), "steps": 20},
    "dcgan": {"latent": 4, "channels": (8, 16), "steps": 10},
    "stylegan": {"latent": 6, "style": 6, "channels": (8, 8), "d_channels": (8,), "steps": 10},
    "progan": {"latent": 6, "channels": (8, 8), "steps": 20},
    "biggan": {"latent": 6, "channels": (8, 8), "d_channels": (8,), "given": ("label",), "steps": 10},
    "vqvae": {
        "codes": 16, "latent": 4, "hidden": 16, "halvings": 1, "epochs": 8, "learning_rate": 0.005,
        "prior": {"epochs": 1, "channels": 8, "layers": 2},
    },
}
# fmt: on


def brightness(x: np.ndarray) -> dict[str, np.ndarray]:
    flat = x.reshape(len(x), 8, 8)
    return {"top": flat[:, :4].mean((1, 2)), "left": flat[:, :, :4].mean((1, 2))}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_with_real_latents_is_analyzed(family: str, digits: xr.Dataset) -> None:
    data = digits
    if family == "gan":
        data = xr.Dataset({"x": (("row", "feature"), digits.x.values.reshape(-1, 64).astype(float))})
    fitted = probgen.fit(family, data, **FAMILIES[family])
    found = probgen.analyze("boundaries", fitted, scorer=brightness, n=300)
    assert np.isfinite(found.normal.values).all()
    edits = probgen.analyze(
        "edits", fitted, scorer=brightness, n=300, measured=20, steps=3, pictured=2, force=True, hold=[]
    )
    assert np.isfinite(edits.moved.values).all()
    assert probgen.figures_of(edits)
    ways = probgen.analyze(
        "directions", fitted, scorer=brightness, n=300, k=2, measured=20, pictured=2, steps=3
    )
    assert np.isfinite(ways.effect.values).all()
    if "layer" in found.normal.dims:
        layers = probgen.analyze("rescoring", fitted, scorer=brightness, n=300, measured=20, random=5)
        assert layers.sizes["layer"] == found.sizes["layer"]


def test_the_member_of_several_gans_is_named(digits: xr.Dataset) -> None:
    x = xr.Dataset({"x": (("row", "feature"), digits.x.values.reshape(-1, 64).astype(float))})
    several = probgen.fit("gan", x, members=2, latent=4, hidden=(16,), steps=10)
    with pytest.raises(InputError, match=r"several models.*given = \{member = 0\}"):
        probgen.analyze("boundaries", several, scorer=brightness, n=200)
    one = probgen.analyze("boundaries", several, scorer=brightness, n=200, given={"member": 1})
    np.testing.assert_allclose(np.linalg.norm(one.normal.values, axis=1), 1, atol=1e-9)


class TwoBumps(probgen.Pair):
    """A user's pair with one latent vector: bright to the left, bright at the top."""

    latents: ClassVar = {"z": ("latent",)}

    def __init__(self, options: Options, event: probgen.Event):
        super().__init__(options, event)
        self.W = nn.Parameter(torch.zeros(2, 64))

    def model(self, x: Tensor | None = None, *, n: int) -> Tensor:
        import pyro

        with self.rows(n):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1).to_event(1))
            return pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int) -> Tensor:
        import pyro

        assert x is not None
        with self.rows(n):
            return pyro.sample("z", dist.Normal(x.flatten(1) @ self.W.T, 1).to_event(1))

    def likelihood(self, z: Tensor) -> Any:
        return dist.Normal((z @ self.W).unflatten(1, (8, 8)), 1).to_event(2)


def test_a_pair_of_a_script_is_analyzed(digits: xr.Dataset) -> None:
    x = xr.Dataset({"x": (("row", "height", "width"), digits.x.values.astype(float))})
    fitted = probgen.fit(TwoBumps, x, epochs=8, learning_rate=0.02)
    found = probgen.analyze("boundaries", fitted, scorer=brightness, n=400)
    assert found.attrs["latent"] == "z"
    assert found.accuracy.values.max() > 0.9
    codes = probgen.analyze("boundaries", fitted, x, scorer=brightness, n=200, of="rows")
    assert codes.sizes == found.sizes


def test_whole_numbers_are_no_codes_to_edit() -> None:
    mixture = probgen.fit("mixture", "iris", components=2)
    with pytest.raises(NotOffered, match="whole numbers"):
        probgen.analyze("boundaries", mixture, scorer=lambda x: {"a": x[:, 0]}, n=100)


def test_the_place_of_vectors_is_where_codes_of_a_vqvae_are_edited(digits: xr.Dataset) -> None:
    fitted = probgen.fit("vqvae", digits, **FAMILIES["vqvae"])
    found = probgen.analyze("boundaries", fitted, scorer=brightness, n=300)
    assert found.attrs["latent"] == "z_vectors"
    with pytest.raises(InputError, match="latent = 'z': it contains whole numbers"):
        probgen.analyze("boundaries", fitted, scorer=brightness, n=300, latent="z")


def test_a_class_is_scored_by_its_probability_and_other_classes_of_it_are_not_held(
    digits: xr.Dataset,
) -> None:
    tells = probgen.fit("attributes", digits, epochs=2)
    vae = probgen.fit("vae", digits, **FAMILIES["vae"])
    found = probgen.analyze("boundaries", vae, scorer=tells, n=300)
    assert [str(n) for n in found.factor.values[:2]] == ["label 0", "label 1"]
    assert set(found.of.values) == {"label"}
    edited = probgen.analyze("edits", vae, scorer=tells, n=300, attribute="label 3", force=True, measured=10)
    assert edited.attrs["held"] == "label 3 with nothing fixed"
    posterior = probgen.fit("m2", digits, **FAMILIES["m2"])
    by_class = probgen.analyze("boundaries", vae, scorer=posterior, n=300)
    assert by_class.sizes["factor"] == 10
    assert str(by_class.factor.values[0]) == "class 0"


def test_the_critic_of_a_gan_is_a_scorer(digits: xr.Dataset) -> None:
    gan = probgen.fit("dcgan", digits, **FAMILIES["dcgan"])
    found = probgen.analyze("boundaries", gan, scorer=gan, n=300)
    assert list(found.factor.values) == ["critic"]


def test_mistakes_are_held_against_real_rows_and_random_moves(digits: xr.Dataset) -> None:
    rows = digits.assign(attribute=probgen.attributes("morphology", digits))
    tells = probgen.fit("attributes", rows, epochs=2)
    vae = probgen.fit("vae", digits, **FAMILIES["vae"])
    found = probgen.analyze("mistakes", vae, digits, scorer=tells, n=400, random=3, hold=["slant"])
    assert float(found.distance_before) > float(found.distance_draws)
    assert float(found.distance_real) > 0
    assert float(found.of_random) == pytest.approx(float(found.distance_after / found.distance_random))
    with pytest.raises(InputError, match="needs rows"):
        probgen.analyze("mistakes", vae, scorer=tells, n=400)
    with pytest.raises(InputError, match="run of the family 'attributes'"):
        probgen.analyze("mistakes", vae, digits, scorer="morphology", n=400)
    with pytest.raises(InputError, match="no critic"):
        probgen.analyze("mistakes", vae, digits, scorer=tells, n=400, judge="critic", hold=[])


def test_the_command_line_goes_from_boundaries_to_edits(digits: xr.Dataset, tmp_path: Path) -> None:
    run = str(tmp_path / "vae")
    probgen.fit("vae", digits, out=run, **FAMILIES["vae"])
    runner = CliRunner()

    def asked(*words: str, code: int = 0) -> Any:
        result = runner.invoke(app, ["analyze", *words, "--json", "--quiet"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.stderr

    asked("boundaries", run, "--set", "scorer=morphology", "--set", "n=300")
    found = asked(
        "edits",
        run,
        "--set",
        "n=300",
        "--set",
        "attribute=area",
        "--set",
        "by=1",
        "--set",
        "hold=[slant,width]",
    )
    assert "own change at 1: area" in found["summary"]
    assert any(file.endswith("edits.strip_area.png") for file in found["written"])
    said = asked("edits", run, "--set", "n=300", "--set", "attribute=smile", code=2)
    assert "did you mean" in said or "known" in said
    assert "Give --data" in asked("mistakes", run, code=2)
    assert "Give --data" in asked("boundaries", run, "--split", "test", code=2)


class SemanticsLaws(AnalysisLaws):
    """The kit's laws of analyses, on a small vae."""

    options: ClassVar = {"scorer": "morphology", "n": 200}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return probgen.datasets.load("digits").isel(row=slice(0, 150))

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> probgen.Fitted:
        return probgen.fit("vae", data, **FAMILIES["vae"])


class TestBoundaries(SemanticsLaws):
    analysis = "boundaries"


class TestEdits(SemanticsLaws):
    analysis = "edits"
    options: ClassVar = {
        **SemanticsLaws.options,
        "steps": 3,
        "pictured": 2,
        "force": True,
        "hold": [],
        "measured": 20,
    }


class TestDirections(SemanticsLaws):
    analysis = "directions"
    options: ClassVar = {**SemanticsLaws.options, "k": 2, "pictured": 2, "steps": 3, "measured": 20}


class TestDisentanglement(SemanticsLaws):
    analysis = "disentanglement"


class TestRescoring(SemanticsLaws):
    analysis = "rescoring"
    options: ClassVar = {**SemanticsLaws.options, "measured": 20, "random": 3}

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> probgen.Fitted:
        return probgen.fit("stylegan", data, **FAMILIES["stylegan"])


class TestMistakes(SemanticsLaws):
    analysis = "mistakes"
    options: ClassVar = {"n": 200, "random": 2, "hold": ["slant", "area"]}

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> probgen.Fitted:
        return probgen.fit("vae", data, **FAMILIES["vae"])

    def found(self, fitted: probgen.Fitted, data: xr.Dataset, **how: Any) -> xr.Dataset:
        rows = data.assign(attribute=probgen.attributes("morphology", data))
        return super().found(fitted, data, scorer=probgen.fit("attributes", rows, epochs=1), **how)


def test_codes_follow_one_another(generator: probgen.Fitted) -> None:
    """Chosen w, styles are made of it and not held as they were drawn; of styles w stays aside."""
    options = spaces.SpaceOptions(n=20, latent="w")
    assert spaces.space_of(generator, None, options, Call()).rest == {}
    options = spaces.SpaceOptions(n=20)
    assert set(spaces.space_of(generator, None, options, Call()).rest) == {"w"}


def test_boundaries_know_their_scorer(
    digits: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is found from another folder, and when both were moved; another scorer in its place is refused, as one that was in a script."""
    rows = digits.assign(attribute=probgen.attributes("morphology", digits))
    recipe = tmp_path / "recipe"
    tells = probgen.fit("attributes", rows, epochs=1, out=recipe / "tells")
    vae = probgen.fit("vae", digits, out=recipe / "vae", **FAMILIES["vae"])
    monkeypatch.chdir(recipe)
    how: dict[str, Any] = {"n": 200, "hold": [], "force": True, "measured": 20}
    probgen.analyze("boundaries", vae, scorer="tells", n=200, out="vae")
    monkeypatch.chdir(tmp_path)
    first = probgen.analyze("edits", vae, folder=recipe / "vae", **how)
    recipe.rename(tmp_path / "moved")
    again = probgen.analyze("edits", vae, folder=tmp_path / "moved" / "vae", **how)
    np.testing.assert_array_equal(first.moved, again.moved)
    with pytest.raises(InputError, match="method has no effect"):
        probgen.analyze("edits", vae, folder=tmp_path / "moved" / "vae", method="svm", **how)
    probgen.fit("attributes", rows, epochs=1, seed=1, out=tmp_path / "moved" / "tells", force=True)
    with pytest.raises(InputError, match="with another scorer"):
        probgen.analyze("edits", vae, folder=tmp_path / "moved" / "vae", **how)
    probgen.analyze("boundaries", vae, scorer=tells, n=200, out=tmp_path / "moved" / "vae")
    with pytest.raises(InputError, match="of a script: attributes\\. Set scorer"):
        probgen.analyze("edits", vae, folder=tmp_path / "moved" / "vae", **how)


def test_pictures_of_earlier_results_do_not_stay(generator: probgen.Fitted, tmp_path: Path) -> None:
    for attribute in ("a", "b"):
        probgen.analyze("edits", generator, attribute=attribute, pictured=2, steps=3, out=tmp_path, **HOW)
    found = sorted(path.name for path in (tmp_path / "analyses").iterdir())
    assert found == ["edits.h5", "edits.moved.png", "edits.strip_b.png"]


def test_errors_of_means_are_of_the_pairs_that_are_known(generator: probgen.Fitted) -> None:
    def few(x: np.ndarray) -> dict[str, np.ndarray]:
        a = factors(x)["a"]
        return {"a": a, "rare": np.where(np.arange(len(x)) % 12 == 0, a, np.nan)}

    found = probgen.analyze("boundaries", generator, scorer=few, n=1200)
    assert found.sizes["factor"] == 2
    edits = probgen.analyze("edits", generator, scorer=few, n=1200, attribute="a", hold=[], measured=300)
    ratio = float(edits.error.sel(factor="rare")[0] / edits.error.sel(factor="a")[0])
    assert 2 < ratio < 6  # 25 pairs of 300


def test_a_weak_attribute_is_left_out_where_nobody_named_it(generator: probgen.Fitted) -> None:
    found = probgen.analyze("edits", generator, hold=["a", "b", "c"], measured=50, **HOW)
    assert [str(name) for name in found.edited.values] == ["a", "b", "c"]
    assert "left out, no better than chance: nothing" in found.attrs["summary"]
