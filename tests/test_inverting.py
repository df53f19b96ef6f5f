"""The analyses `inversion` and `restoration`, encoders of given generators, and pictures of a user's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from scipy.stats import norm
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.errors import FileError, InputError, NotOffered
from probgen.recipes.plan import Recipe
from probgen.testing import AnalysisLaws
from tests.planted import factors, planted

Q = {"n": 300, "pictured": 3}  # quick
SEARCH = {"search": "gauss-newton", "search_steps": 6}


@pytest.fixture(scope="module")
def generator() -> probgen.Fitted:
    x = np.random.default_rng(0).random((20, 10, 10))
    return probgen.fit(planted, xr.Dataset({"x": (("row", "height", "width"), x)}))


@pytest.fixture(scope="module")
def own(generator: probgen.Fitted) -> xr.Dataset:
    """Rows that the generator can make."""
    return probgen.sample(generator, 30, seed=7)[["x"]].rename(sample="row")


def same(a: xr.Dataset, name: str, b: float, within: float) -> None:
    assert abs(float(a[name]) - b) <= within, f"{name} = {float(a[name])}, not {b}"


def test_rows_that_a_generator_can_make_are_found(generator: probgen.Fitted, own: xr.Dataset) -> None:
    """x to many digits, its attributes, edits as strong as of draws; ways begin and end at rows."""
    found = probgen.analyze(
        "inversion",
        generator,
        own,
        scorer=factors,
        attribute=["a", "b"],
        hold=[],
        by=1.0,
        rows=30,
        **Q,
        **SEARCH,
    )
    assert list(found.approach.values) == ["mean"]
    assert float(found.psnr_mean) > 60
    assert found.attribute_error.sel(approach="mean", factor=["a", "b", "c"]).max() < 0.01
    same(found, "edit_share_mean", 1.0, 0.25)
    assert found.own.sel(of="mean", edited="a") > 0.5
    for end, x in ((0, found.x[:3]), (-1, found.x[:3].roll(row=-1))):
        np.testing.assert_allclose(found.interpolation.isel(way=end).values, x.values, atol=1e-2)
    middle = found.edit.isel(step=3).values[0]  # an edit of 0
    np.testing.assert_allclose(middle, found.reconstruction.values[0, :3], atol=1e-5)
    assert {"reconstructions", "interpolations", "diffusion", "edit_a", "edit_b"} == set(
        probgen.figures_of(found)
    )
    error = np.square(found.reconstruction.values[0] - found.x.values).reshape(30, -1).mean(1)
    peak = float(found.x.max() - found.x.min())
    np.testing.assert_allclose(
        found.psnr.values[0], np.minimum(10 * np.log10(peak**2 / np.maximum(error, 1e-300)), 120), rtol=1e-9
    )


def test_what_is_lost_is_restored_where_the_generator_knows_it(
    generator: probgen.Fitted, own: xr.Dataset
) -> None:
    """100 pixels of 3 numbers: what is left of them determines these, whatever was lost; baselines are what they say."""
    found = probgen.analyze(
        "restoration", generator, own, scorer=factors, rows=12, prior=0.0, factor=2, blur=0.5,
        tasks=["inpainting", "super-resolution", "deblurring"], **Q, **SEARCH,
    )  # fmt: skip
    assert (found.psnr.sel(approach="one").mean("row") > 50).all()
    best = found.psnr.mean("row").sel(task="inpainting", approach=["plain", "smooth"]).max()
    same(found, "gain_inpainting", float(found.psnr_inpainting_one - best), 1e-9)
    assert (found.psnr.sel(approach="one") > found.psnr.sel(approach="plain")).all()
    assert (found.attribute_error.sel(approach="one", factor=["a", "b", "c"]) < 0.02).all()
    x = found.x.values
    hole = np.zeros((10, 10), dtype=bool)
    hole[3:7, 3:7] = True
    mean = x[:, ~hole].mean(1)
    expected = np.where(hole, mean[:, None, None], x)
    np.testing.assert_allclose(found.restored.sel(task="inpainting", approach="plain"), expected)
    np.testing.assert_array_equal(
        np.isnan(found.seen.sel(task="inpainting").values), np.broadcast_to(hole, x.shape)
    )
    for approach in found.approach.values:  # what is known stays
        np.testing.assert_array_equal(
            found.restored.sel(task="inpainting", approach=approach).values[:, ~hole], x[:, ~hole]
        )
    small = x.reshape(12, 5, 2, 5, 2).mean((2, 4))
    np.testing.assert_allclose(found.seen.sel(task="super-resolution"), small.repeat(2, 1).repeat(2, 2))


def test_noise_is_taken_away_and_quantized_levels_are_filled(
    generator: probgen.Fitted, own: xr.Dataset
) -> None:
    how: dict[str, Any] = {"rows": 12, "prior": 0.0, **Q, **SEARCH}
    found = probgen.analyze(
        "restoration", generator, own, tasks=["denoising", "dequantization"], sigma=0.2, **how
    )
    assert (
        found.psnr.sel(approach="one").mean("row") > found.psnr.sel(approach="plain").mean("row") + 5
    ).all()
    peak = float(found.x.max() - found.x.min())
    seen = found.restored.sel(task="denoising", approach="plain") - found.x
    np.testing.assert_allclose(float(seen.std()), 0.2 * peak, rtol=0.1)
    assert len(np.unique(found.seen.sel(task="dequantization"))) <= 4
    again = probgen.analyze("restoration", generator, own, tasks=["denoising"], sigma=0.2, seed=1, **how)
    assert not np.array_equal(again.seen, found.seen.sel(task=["denoising"]))


def test_what_cannot_be_searched_for_is_one_line(
    generator: probgen.Fitted, own: xr.Dataset, tmp_path: Path
) -> None:
    def refused(said: str, analysis: str = "restoration", **options: Any) -> None:
        with pytest.raises(InputError, match=said) as caught:
            probgen.analyze(analysis, generator, own, **{**Q, **SEARCH, "rows": 2, **options})
        assert "\n" not in str(caught.value)

    def image(name: str, array: np.ndarray) -> str:
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / name)
        return str(tmp_path / name)

    refused("has no encoder", analysis="inversion", methods=["encoder"])
    refused("no feature maps", analysis="inversion", methods=["codes"])
    refused("has no q", analysis="inversion", methods=["posterior"])
    refused("there is no scorer of attributes", analysis="inversion", attribute="a")
    refused("there is no scorer of attributes", analysis="inversion", by=2.0)
    refused("codes = 3 has no effect", analysis="inversion", codes=3)
    refused("held_weight = 0.5 has no effect", analysis="inversion", held_weight=0.5)
    refused("place = 'maps' has no effect", place="maps")
    refused("factor has no effect without the task super-resolution", tasks=["denoising"], factor=2)
    refused("levels has no effect", levels=3)
    refused("hole has no effect with a mask", hole=0.5, mask=image("some.png", np.eye(10) * 255))
    refused("feature_weight", analysis="inversion", scorer=factors, feature_weight=0.1)
    refused("attribute = 'd'", analysis="inversion", attribute="d", scorer=factors)
    refused("colorization needs images of three colors", tasks=["colorization"])
    refused("hides nothing", mask=image("none.png", np.zeros((10, 10))))
    refused("hides everything", mask=image("all.png", np.full((10, 10), 255)))
    refused("is 12 x 8, and the images are 10 x 10", mask=image("other.png", np.eye(8, 12) * 255))
    refused("there is no such file", mask=str(tmp_path / "nowhere.png"))
    refused("cannot be shrunk by 3", factor=3, tasks=["super-resolution"])
    refused("a task is repeated", tasks=["denoising", "denoising"])
    left = probgen.analyze("restoration", generator, own, factor=3, rows=2, **Q, **SEARCH)
    assert list(left.task.values) == ["inpainting", "denoising"]
    refused("learning_rate = 0.2 has no effect", learning_rate=0.2)
    refused("noise = 0.1 has no effect", noise=0.1)
    refused("tasks", tasks=[])


def test_a_mask_of_a_file_hides_what_is_white(
    generator: probgen.Fitted, own: xr.Dataset, tmp_path: Path
) -> None:
    white = np.zeros((10, 10), dtype=np.uint8)
    white[2:4, 5:9] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    how: dict[str, Any] = {"rows": 4, "tasks": ["inpainting"], **Q, **SEARCH}
    for mode in ("L", "RGB", "1"):
        Image.fromarray(white).convert(mode).save(tmp_path / "mask.png")
        found = probgen.analyze("restoration", generator, own, mask=str(tmp_path / "mask.png"), **how)
        np.testing.assert_array_equal(np.isnan(found.seen.values[0, 0]), white == 255)


# families of all kinds


@pytest.fixture(scope="module")
def digits() -> xr.Dataset:
    return probgen.datasets.load("digits").isel(row=slice(0, 300))


# fmt: off
FAMILIES: dict[str, dict[str, Any]] = {
    "vae": {"latent": 4, "network": "conv", "hidden": (8, 16), "epochs": 3},
    "autoencoder": {"latent": 4, "hidden": (16,), "epochs": 10},
    "m2": {"latent": 3, "hidden": (16,), "epochs": 2, "likelihood": "categorical"},
    "gan": {"latent": 4, "hidden": (16,), "steps": 20, "members": 2},
    "vqvae": {"codes": 8, "latent": 4, "halvings": 1, "hidden": 8, "epochs": 2, "prior": {"epochs": 1}},
    "dcgan": {"latent": 4, "channels": (8, 16), "steps": 10},
    "stylegan": {"latent": 6, "style": 6, "channels": (8, 8), "d_channels": (8,), "steps": 10},
    "progan": {"latent": 6, "channels": (8, 8), "steps": 20},
    "biggan": {"latent": 4, "channels": (8, 8), "d_channels": (8,), "steps": 10, "given": ("label",)},
}
# fmt: on
METHODS = {
    "vae": {"encoder", "mean", "start", "held", "codes", "posterior"},
    "autoencoder": {"encoder", "mean", "start", "held"},
    "vqvae": {"encoder", "mean", "start", "held"},
    "m2": {"encoder", "mean", "start", "held", "posterior"},
    "gan": {"mean"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_any_family_that_decodes_is_inverted(name: str, digits: xr.Dataset) -> None:
    fitted = probgen.fit(name, digits, **FAMILIES[name])
    how: dict[str, Any] = {"rows": 4, "n": 100, "search_steps": 30}
    if name in ("vae", "dcgan", "stylegan", "progan", "biggan"):
        how["codes"] = 3
    if name == "gan":
        with pytest.raises(InputError, match="several models"):
            probgen.analyze("inversion", fitted, digits, **how)
        how["given"] = {"member": 1}
    found = probgen.analyze("inversion", fitted, digits, **how)
    assert set(found.approach.values) == METHODS.get(name, {"mean", "codes"})
    plain = {k: v for k, v in how.items() if k != "codes"}
    begun = probgen.analyze("inversion", fitted, digits, **{**plain, "methods": ["mean"], "search_steps": 1})
    assert (found.psnr.sel(approach="mean") >= begun.psnr.sel(approach="mean")).all()
    assert found.psnr_mean > begun.psnr_mean
    assert np.isfinite(found.psnr).all()
    if "start" in found.approach:
        assert (found.psnr.sel(approach="start") >= found.psnr.sel(approach="encoder") - 1e-6).all()
    restored = probgen.analyze(
        "restoration", fitted, digits, factor=2, tasks=["inpainting", "super-resolution"], **how
    )
    assert ("posterior" in restored.approach) == (name == "vae")
    for approach in set(found.coded.values) - {"posterior"}:  # x is what is made of the code
        start = {found.attrs["latent"]: found.code.sel(coded=approach).values}
        if name == "gan":
            start["member"] = np.ones(4)
        if name == "m2":
            start["y"] = probgen.encode(fitted, digits.isel(row=np.arange(4) * 75)).y.values
        if name == "biggan":
            start["label"] = digits.label.values[np.arange(4) * 75]
        x = probgen.decode(fitted, start).x.values.clip(0, 16)
        np.testing.assert_allclose(x, found.reconstruction.sel(approach=approach), rtol=1e-3, atol=1e-3)
    probgen.figures_of(found)
    probgen.figures_of(restored)


def test_log_p_of_x_given_z_is_that_of_the_decoder() -> None:
    """Of a VAE of real rows: a Normal around the decoded mean, of the deviation that is learned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1)) @ rng.normal(size=(1, 6)) + 0.1 * rng.normal(size=(200, 6)) + 50
    fitted = probgen.fit("vae", x, latent=2, hidden=(8,), likelihood="normal", epochs=20)
    found = probgen.analyze("inversion", fitted, x, rows=50, n=100, methods=["encoder", "start"])
    state = fitted.state
    sigma = float(state["site.standard.scale"]) * np.exp(float(state["site.log_sigma"]))
    for approach in ("encoder", "start"):
        mean = found.reconstruction.sel(approach=approach).values
        expected = norm.logpdf(found.x.values, mean, sigma).sum(1).mean()
        same(found, f"log_p_{approach}", expected, 1e-3 * abs(expected))
    assert found.log_p_start > found.log_p_encoder
    assert set(probgen.figures_of(found)) == set()


# encoders of given generators


@pytest.fixture(scope="module")
def runs(digits: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator, a network of features, and an encoder, in one folder."""
    folder = tmp_path_factory.mktemp("runs")
    gan = {"latent": 4, "style": 4, "channels": (8, 8), "d_channels": (8,), "steps": 60}
    probgen.fit("stylegan", digits, out=folder / "generator", **gan)
    probgen.fit("attributes", digits, epochs=2, out=folder / "attributes")
    how = {"generator": folder / "generator", "features": folder / "attributes", "hidden": (8, 16)}
    probgen.fit("inverter", digits, out=folder / "encoder", epochs=20, **how)
    return folder


def test_an_encoder_is_the_generator_with_codes_of_rows(runs: Path, digits: xr.Dataset) -> None:
    fitted, generator = probgen.load(runs / "encoder"), probgen.load(runs / "generator")
    codes = probgen.encode(fitted, digits)
    assert list(codes.data_vars) == ["styles"]
    x = probgen.decode(fitted, codes)["x"]
    np.testing.assert_array_equal(x, probgen.decode(generator, codes)["x"])
    drawn = probgen.sample(generator, 300, mean=True)
    truth = digits.x.values.astype(float)
    far = np.square(drawn.x.values - truth).mean()
    assert np.square(x.values - truth).mean() < 0.85 * far  # nearer than draws are
    same_draws = probgen.sample(fitted, 300, mean=True)
    np.testing.assert_array_equal(same_draws.styles, drawn.styles)
    given = probgen.sample(fitted, given={"x": digits.x.values[:5]})
    np.testing.assert_allclose(given.styles[0], codes.styles[:5], rtol=1e-5, atol=1e-6)
    history = fitted.history
    assert {"pixels", "features", "critic", "domain"} <= set(history.data_vars)
    parts = sum(history[name] for name in ("pixels", "features", "critic", "domain"))
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-5)
    found = probgen.analyze("inversion", fitted, digits, rows=5, n=200, search_steps=10, codes=2)
    assert set(found.approach.values) == {"encoder", "mean", "start", "held", "codes"}
    assert found.attrs["latent"] == "styles"


def test_the_domain_term_keeps_layers_together(runs: Path, digits: xr.Dataset) -> None:
    """With more weight layers of a code differ less, in deviations of draws."""
    spreads = []
    for weight in (0.0, 3.0):
        fitted = probgen.fit(
            "inverter", digits, generator=runs / "generator", hidden=(8, 16), epochs=6, domain_weight=weight
        )
        u = probgen.encode(fitted, digits).styles / fitted.state["middle.scale"].values
        spreads.append(float((u - u.mean("layer")).std()))
    assert spreads[1] < 0.5 * spreads[0]


def test_an_encoder_knows_its_generator_by_its_digest(runs: Path, digits: xr.Dataset, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(runs, moved)
    provenance = probgen.load(runs / "encoder").provenance["models"]
    assert set(provenance) == {"generator", "features"}
    assert all(len(digest) == 64 for digest in provenance.values())
    again = tmp_path / "again"
    shutil.copytree(runs, again)
    shutil.move(runs, tmp_path / "away")
    try:
        there = probgen.load(moved / "encoder")  # beside it, as in a folder that was moved
        assert there.models["generator"].family == "stylegan"
        assert set(there.models) == {"generator"}  # features are of a fit alone
        shutil.rmtree(again / "generator")
        with pytest.raises(FileError, match=r"builds on generator = .* but neither"):
            probgen.load(again / "encoder")
        gan = {"latent": 4, "style": 4, "channels": (8, 8), "d_channels": (8,), "steps": 1}
        probgen.fit("stylegan", digits, out=again / "generator", **gan)
        with pytest.raises(FileError, match="was fitted with another generator"):
            probgen.load(again / "encoder")
    finally:
        shutil.move(tmp_path / "away", runs)


def test_a_fit_goes_on_with_the_same_generator_only(runs: Path, digits: xr.Dataset, tmp_path: Path) -> None:
    how: dict[str, Any] = {"generator": tmp_path / "generator", "hidden": (8,), "steps": 3}
    shutil.copytree(runs / "generator", tmp_path / "generator")
    probgen.fit("inverter", digits, out=tmp_path / "encoder", **how)
    (tmp_path / "encoder" / "model.h5").unlink()
    shutil.rmtree(tmp_path / "generator")
    gan = {"latent": 4, "style": 4, "channels": (8, 8), "d_channels": (8,), "steps": 1}
    probgen.fit("stylegan", digits, out=tmp_path / "generator", **gan)
    with pytest.raises(InputError, match=r"started with built_on\.generator"):
        probgen.fit("inverter", digits, out=tmp_path / "encoder", resume=True, **how)


def test_what_is_no_generator_is_one_line(runs: Path, digits: xr.Dataset, tmp_path: Path) -> None:
    def refused(said: str, data: Any = digits, **options: Any) -> None:
        with pytest.raises(InputError, match=said) as caught:
            probgen.fit(
                "inverter", data, **{"generator": runs / "generator", "steps": 1, "hidden": (8,), **options}
            )
        assert "\n" not in str(caught.value)

    refused("there is no such run", generator="nowhere")
    refused("'attributes' does not decode latents", generator=runs / "attributes")
    refused("fitted.save", generator=probgen.load(runs / "generator"))
    refused("its x is 8 x 8 .*, but the rows are", data=np.zeros((20, 4, 4), dtype=np.uint8))
    refused("conditional on \\[\\]", given=["label"])
    refused("latent = 'v'", latent="v")
    refused("features: family 'stylegan' has no features", features=runs / "generator")
    refused("feature_weight = 0.1 has no effect", feature_weight=0.1)
    vae = tmp_path / "vae.h5"
    probgen.fit("vae", digits, latent=2, hidden=(8,), epochs=1).save(vae)
    refused("'vae' has no discriminator", generator=vae, critic_weight=0.1)
    several = tmp_path / "gans.h5"
    probgen.fit("gan", digits, members=2, hidden=(8,), steps=1).save(several)
    refused("several models", generator=several)
    codes = tmp_path / "vq.h5"
    probgen.fit("vqvae", digits, codes=4, latent=2, halvings=1, hidden=4, epochs=1, prior={"epochs": 1}).save(
        codes
    )
    refused("whole numbers", generator=codes)
    given = tmp_path / "big.h5"
    probgen.fit("biggan", digits, **FAMILIES["biggan"]).save(given)
    refused("Use given = \\['label'\\]", generator=given)
    fitted = probgen.fit("inverter", digits, generator=given, given=["label"], steps=2, hidden=(8,))
    assert fitted.module.latents == {"styles": ("layer", "style")}


def test_what_a_fit_builds_on_is_not_written_over(runs: Path, digits: xr.Dataset, tmp_path: Path) -> None:
    for out, generator in (("generator", "generator"), ("generator", "encoder"), ("encoder", "encoder")):
        with pytest.raises(InputError, match="which the fit builds on"):
            probgen.fit("inverter", digits, generator=runs / generator, out=runs / out, force=True, steps=1)
    place = tmp_path / "runs"
    shutil.copytree(runs, place)
    probgen.load(place / "encoder")
    junk = tmp_path / "away"
    probgen.fit(
        "inverter",
        digits,
        generator=place / "generator",
        out=place / "encoder",
        force=True,
        hidden=(8,),
        steps=1,
    )
    shutil.move(place, junk)
    (place / "generator").mkdir(parents=True)
    (place / "generator" / "model.h5").write_bytes(b"junk")
    assert probgen.load(junk / "encoder").models["generator"].family == "stylegan"  # beside it
    shutil.rmtree(junk / "generator")
    with pytest.raises(FileError):
        probgen.load(junk / "encoder")
    given = probgen.load(junk / "encoder", models={"generator": probgen.load(runs / "generator")})
    assert given.module.latents == {"styles": ("layer", "style")}
    with pytest.raises(InputError, match="not on 'critic'"):
        probgen.load(runs / "encoder", models={"critic": given})


@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64"), ("float64", "float64")])
def test_an_encoder_and_its_generator_may_have_any_dtypes(
    dtypes: tuple[str, str], digits: xr.Dataset, tmp_path: Path
) -> None:
    gan = {"latent": 4, "style": 4, "channels": (8, 8), "d_channels": (8,), "steps": 2}
    probgen.fit("stylegan", digits, dtype=dtypes[0], **gan).save(tmp_path / "g.h5")
    fitted = probgen.fit(
        "inverter", digits, dtype=dtypes[1], generator=tmp_path / "g.h5", hidden=(8,), steps=2
    )
    assert np.isfinite(probgen.decode(fitted, probgen.encode(fitted, digits)).x).all()
    assert np.isfinite(probgen.sample(fitted, 3).x).all()
    assert np.isfinite(probgen.score(fitted, digits).reconstruction_error).all()


def test_codes_of_a_conditional_model_stay_with_their_condition(digits: xr.Dataset) -> None:
    """Searched for in z; of each row alone, whatever the labels of others are; mixed only at places behind the latent."""
    fitted = probgen.fit("biggan", digits, **FAMILIES["biggan"])
    x = digits.x.values[[0, 0]].astype(float)
    x[:, 4:] = np.nan
    one, other = (
        probgen.sample(fitted, given={"x": x, "label": np.array([3, label])}, search_steps=10)
        for label in (3, 5)
    )
    assert "z" in one
    np.testing.assert_allclose(one.x[0, 0], other.x[0, 0], atol=1)
    np.testing.assert_allclose(one.search_error[0, 0], other.search_error[0, 0], rtol=1e-3)
    found = probgen.analyze("inversion", fitted, digits, rows=3, n=50, search_steps=3)
    assert found.attrs["latent"] == "z"
    style = probgen.fit("stylegan", digits, **FAMILIES["stylegan"])
    how: dict[str, Any] = {"rows": 3, "n": 50, "search_steps": 3, "codes": 2}
    with pytest.raises(NotOffered, match="latent 'styles': the rows have no value"):
        probgen.analyze("inversion", style, digits, latent="maps4", **how)
    with pytest.raises(InputError, match="place = 'maps': did you mean"):
        probgen.analyze("inversion", style, digits, place="maps", **how)


# the command line, and recipes


def test_pictures_of_a_user_go_in_by_their_files(runs: Path, tmp_path: Path) -> None:
    """One, a folder, of another size and colors; each wrong one is one line that says what to do."""
    rng = np.random.default_rng(0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 17, (8, 8)).astype(np.uint8)).save(pictures / f"{i}.png")
    vae = tmp_path / "vae"
    probgen.fit(
        "vae",
        probgen.datasets.load(str(pictures)),
        latent=2,
        hidden=(8,),
        epochs=1,
        likelihood="normal",
        out=vae,
    )
    Image.fromarray(rng.integers(0, 255, (20, 40, 3)).astype(np.uint8)).save(tmp_path / "photo.png")
    quick = ["--set", "n=50", "--set", "search_steps=5", "--set", "rows=3"]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["analyze", *arguments, *quick])

    done = run("restoration", str(vae), "--data", str(pictures), "--set", "factor=2")
    assert done.exit_code == 0, done.output
    assert (vae / "analyses" / "restoration.inpainting.png").exists()
    wrong = run("inversion", str(vae), "--data", str(tmp_path / "photo.png"))
    assert wrong.exit_code == 2
    assert "--size 8x8 (and --crop)" in wrong.output
    assert "--gray" in wrong.output
    distorted = run("inversion", str(vae), "--data", str(tmp_path / "photo.png"), "--size", "8", "--gray")
    assert distorted.exit_code == 2
    assert "crop" in distorted.output
    right = run(
        "inversion", str(vae), "--data", str(tmp_path / "photo.png"), "--size", "8x8", "--gray", "--crop"
    )
    assert right.exit_code == 0, right.output
    for size in ("8x", "", "99999", "999999x999999"):
        assert run("inversion", str(vae), "--data", str(pictures), "--size", size).exit_code == 2


def recipe(**tables: Any) -> Recipe:
    return Recipe.model_validate(
        {"data": {"name": "digits"}, "models": {"a": {"family": "vae"}, "b": {"family": "vae"}}, **tables}
    )


def test_the_table_of_an_analysis_says_of_which_models_it_is() -> None:
    wanted = recipe(latent={"models": ["b"], "rows": 3}, complete={})
    assert wanted.analyses == {"latent": {"rows": 3}, "complete": {}}
    assert wanted.analyzed("latent") == ["b"]
    assert wanted.analyzed("complete") == ["a", "b"]
    with pytest.raises(InputError, match=r"latent\.models: .*known: a, b"):
        recipe(latent={"models": ["c"]}).analyzed("latent")
    for wrong in ("b", [], [{"model": "b"}], ["b", "b"]):
        with pytest.raises(InputError, match="a list of different names of models"):
            recipe(latent={"models": wrong}).analyzed("latent")


class TestInversion(AnalysisLaws):
    analysis = "inversion"
    options = {"rows": 3, "n": 50, "search_steps": 4, "pictured": 2}


class TestRestoration(AnalysisLaws):
    analysis = "restoration"
    options = {
        "rows": 3,
        "n": 50,
        "search_steps": 4,
        "pictured": 2,
        "tasks": ("denoising", "inpainting"),
        "hole": 0.5,
    }
