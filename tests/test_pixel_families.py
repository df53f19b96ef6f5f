"""PixelCNN and PixelRNN behind the hooks: conditions, completion, autocast, folders of images, bad input."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import probgen
from probgen.contract.event import Event
from probgen.contract.state import digest_of
from probgen.distributions import Autoregressive
from probgen.errors import FileError, InputError, Interrupted
from probgen.figures.images import images
from probgen.figures.side_by_side import columns
from probgen.testing import spaces
from probgen.testing.helpers import Stop

SMALL: dict[str, dict[str, Any]] = {
    "pixelcnn": {
        "channels": 8,
        "layers": 2,
        "head": 8,
        "epochs": 25,
        "batch_size": 20,
        "learning_rate": 0.02,
    },
    "pixelrnn": {"hidden": 4, "layers": 1, "head": 8, "epochs": 25, "batch_size": 20, "learning_rate": 0.03},
}
FAMILIES = list(SMALL)
DIMS = ("row", "height", "width")


def labeled(rows: int = 400) -> xr.Dataset:
    """Images of 2 x 2 bits that are mostly those of the label (0, 1, 2) in binary, twice over."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, rows)
    bits = np.stack([label >> 1, label & 1, label >> 1, label & 1], 1) ^ (rng.random((rows, 4)) < 0.1)
    x = bits.reshape(-1, 2, 2).astype(np.uint8)
    return xr.Dataset({"x": (DIMS, x, {"support": "binary"}), "label": ("row", label, {"levels": 3})})


@pytest.mark.parametrize("family", FAMILIES)
def test_class_conditional(family: str) -> None:
    """p(x | label) sums to one for every label, and knows which image belongs to it."""
    fitted = probgen.fit(family, labeled(), given=["label"], dtype="float64", **SMALL[family])
    rows = spaces.all_rows(fitted.event)
    for label, bits in enumerate(([0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0])):
        every = xr.Dataset({"x": (DIMS, rows), "label": ("row", np.full(len(rows), label))})
        p = np.exp(probgen.score(fitted, every).log_prob.values)
        assert p.sum() == pytest.approx(1, abs=1e-10)
        assert (rows[np.argmax(p)].flatten() == bits).all()
    draws = probgen.sample(fitted, 3, given={"label": np.arange(3)}).x
    assert draws.dims == ("sample", "row", "height", "width")


@cache
def without_labels(family: str) -> probgen.Fitted:
    """One fit for all that is known of an image."""
    return probgen.fit(family, labeled().drop_vars("label"), dtype="float64", **SMALL[family])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("known", [[0, 1], [1, 2], [2, 3]])
def test_completion_has_the_posterior(family: str, known: list[int]) -> None:
    """Of a raster prefix exact, of other masks by resampling; against the table, with a false-alarm rate of 1e-6."""
    fitted = without_labels(family)
    rows = spaces.all_rows(fitted.event)
    p = np.exp(probgen.score(fitted, rows.astype(float)).log_prob.values)
    x, observed = np.array([0, 1, 1, 0]), np.isin(np.arange(4), known)
    fits = (rows.reshape(-1, 4)[:, known] == x[known]).all(1)
    given = {"x": x.reshape(1, 2, 2), "observed": observed.reshape(1, 2, 2)}
    drawn = probgen.sample(fitted, 4000, given=given, particles=60)
    assert (drawn.ess.values == 60).all() == (known == [0, 1])
    index = drawn.x.values.reshape(-1, 4).astype(int) @ [8, 4, 2, 1]
    counts = np.bincount(index, minlength=16)
    assert counts[~fits].sum() == 0
    assert spaces.p_value(counts[fits], p[fits]) > spaces.FALSE_ALARM


def test_bfloat16_products_change_the_fit_little() -> None:
    """Weights and scores stay float32, and a stopped fit goes on to the same bits."""
    data = labeled().drop_vars("label")
    options = SMALL["pixelcnn"]
    exact = probgen.fit("pixelcnn", data, **options)
    cast = probgen.fit("pixelcnn", data, valid=data, autocast=True, **options)
    assert digest_of(exact.state) != digest_of(cast.state)
    assert all(cast.state[name].dtype == exact.state[name].dtype for name in exact.state)
    means = [float(probgen.score(fitted, data).log_prob.mean()) for fitted in (exact, cast)]
    assert means[0] == pytest.approx(means[1], abs=0.03)
    assert float(np.nanmin(cast.history.valid_loss)) == pytest.approx(-means[1], abs=0.01)


def test_a_fit_in_bfloat16_resumes_to_the_same_bits(tmp_path: Path) -> None:
    data = labeled(60).drop_vars("label")
    options = {**SMALL["pixelcnn"], "epochs": 4, "autocast": True}
    whole = probgen.fit("pixelcnn", data, **options)
    with pytest.raises(Interrupted), probgen.observing(Stop(5)):
        probgen.fit("pixelcnn", data, out=tmp_path / "run", **options)
    resumed = probgen.fit("pixelcnn", data, out=tmp_path / "run", resume=True, **options)
    assert digest_of(resumed.state) == digest_of(whole.state)


def test_entropy_is_that_of_the_conditionals() -> None:
    """By the chain rule the expected entropies of the sites add up to the entropy of x."""
    fitted = without_labels("pixelcnn")
    rows = spaces.all_rows(fitted.event)
    scores = probgen.score(fitted, rows.astype(float), conditionals=True)
    p = np.exp(scores.log_prob.values)
    expected = (p[:, None, None] * scores.site_entropy.values).sum()
    assert expected == pytest.approx(-(p * scores.log_prob.values).sum(), abs=1e-9)
    assert scores.site_entropy.attrs["units"] == "nat"


def folder(path: Path, mode: str = "L", size: int = 4, n: int = 6) -> Path:
    """PNG files of noise."""
    path.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        shape = (size, size, 3) if mode == "RGB" else (size, size)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(path / f"{i}.png")
    return path


def test_a_folder_of_images(tmp_path: Path) -> None:
    """Color images are drawn color by color; bits a dimension of noise are about 8."""
    path = folder(tmp_path / "color", "RGB")
    options = {**SMALL["pixelcnn"], "likelihood": "logistic", "epochs": 2}
    fitted = probgen.fit("pixelcnn", path, chain=[2, 1, 0], **options)
    assert fitted.event.shape == (3, 4, 4)
    assert probgen.sample(fitted, 2).x.shape == (2, 3, 4, 4)
    assert 6 < float(-probgen.score(fitted, path).log_prob.mean() / 48 / np.log(2)) < 12
    with pytest.raises(InputError, match="channel"):
        probgen.score(fitted, folder(tmp_path / "gray"))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "images")
    (path / "3.png").write_bytes((path / "3.png").read_bytes()[:40])
    with pytest.raises(FileError, match=r"3\.png cannot be read as an image"):
        probgen.fit("pixelcnn", path, epochs=1)


def test_images_of_mixed_sizes_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "images")
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(path / "9.png")
    with pytest.raises(InputError, match="all images must have one size"):
        probgen.fit("pixelcnn", path, epochs=1)


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("pixelcnn", {"kernel": [7, 4]}, "kernel = 4: .* blind spot"),
        ("pixelcnn", {"kernel": [1, 3]}, "kernel = 1: .* blind spot"),
        ("pixelcnn", {"dilation": [1, 16]}, "dilation = 16: the other layers reach .* blind spot"),
        ("pixelrnn", {"kernel": 6}, "a blind spot"),
        ("pixelcnn", {"likelihood": "logistic"}, "likelihood = 'logistic' does not suit"),
        ("pixelcnn", {"chain": [0, 1]}, "list each color from 0 to 0 once"),
        ("pixelcnn", {"channels": 0}, "channels"),
        ("pixelcnn", {"given": ["label"]}, "label"),
        ("pixelrnn", {"cell": "column"}, "cell"),
    ],
)
def test_bad_options_are_told_in_a_line(family: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as told:
        probgen.fit(family, labeled().drop_vars("label"), **options)
    assert "\n" not in str(told.value)


def test_bad_data_are_told_in_a_line() -> None:
    fitted = probgen.fit("pixelcnn", labeled().drop_vars("label"), steps=1, channels=2, layers=1)
    for x, message in (
        (np.full((3, 2, 2), 2), r"x.* 2\b"),
        (np.zeros((3, 3, 2)), r"\(3, 2\), but pixelcnn was fitted to rows of 2 x 2"),
        (np.zeros((3, 3, 2, 2)), r"\(3, 2, 2\), but pixelcnn was fitted to rows of 2 x 2"),
    ):
        with pytest.raises(InputError, match=message) as told:
            probgen.score(fitted, x)
        assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="x must be images"):
        probgen.fit("pixelcnn", spaces.example("binary"), steps=1)
    levels = xr.Dataset({"x": (DIMS, np.full((5, 2, 2), 9), {"support": "integer", "levels": 4})})
    with pytest.raises(InputError, match=r"x.* 9\b"):
        probgen.fit("pixelcnn", levels, steps=1)
    many = xr.Dataset({"x": (DIMS, np.full((5, 2, 2), 9), {"support": "integer", "levels": 5000})})
    with pytest.raises(InputError, match=r"5000 levels, .* at most 4096\. Use likelihood = 'logistic'"):
        probgen.fit("pixelcnn", many, steps=1)
    probgen.fit("pixelcnn", many, steps=1, channels=2, layers=1, likelihood="logistic")
    with pytest.raises(InputError, match=r"autocast = true: the fit is in torch\.float64"):
        probgen.fit("pixelcnn", labeled().drop_vars("label"), steps=1, autocast=True, dtype="float64")
    colors = np.zeros((5, 3, 2, 2), dtype=np.uint8)
    with pytest.raises(InputError, match="each of the 3 colors needs at least one feature"):
        probgen.fit("pixelcnn", colors, steps=1, channels=2)


def test_the_chain_is_the_order_of_the_colors() -> None:
    """With chain 2, 0, 1 a color depends on what is before it in that order, in the data as they lie."""
    x = np.random.default_rng(0).integers(0, 4, (40, 3, 2, 2)).astype(np.uint8)
    x[0] = 3
    fitted = probgen.fit("pixelcnn", x, channels=24, layers=2, chain=[2, 0, 1], steps=60, dtype="float64")
    [p] = fitted.module.parts(None)  # type: ignore[operator]  # of an autoregressive pair
    rank = torch.empty(3, 2, 2, dtype=torch.long)
    for i, (row, column, color) in enumerate(np.ndindex(2, 2, 3)):
        rank[[2, 0, 1][color], row, column] = i
    rows = torch.from_numpy(x)
    base = p.conditionals(rows).logits
    for at in np.ndindex(3, 2, 2):
        moved = rows.clone()
        moved[(slice(None), *at)] = (moved[(slice(None), *at)] + 1) % 4
        changed = (p.conditionals(moved).logits != base).any(-1).any(0)
        assert (changed == (rank > rank[at])).all()
    observed = np.zeros((3, 2, 2), dtype=bool)
    observed[:, 0], observed[[2, 0], 1, 0] = True, True  # the first row, and two colors of the next pixel
    draws = probgen.sample(fitted, given={"x": x[:3], "observed": np.broadcast_to(observed, (3, 3, 2, 2))})
    assert (draws.ess == 100).all()
    observed[0, 1, 0], observed[1, 1, 0] = False, True  # the first and the last of them are no prefix
    draws = probgen.sample(fitted, given={"x": x[:3], "observed": np.broadcast_to(observed, (3, 3, 2, 2))})
    assert (draws.ess < 100).any()


def test_images_that_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image has its own label and conditionals, also in the last part, which is smaller."""
    data = labeled(50)
    options = {**SMALL["pixelcnn"], "epochs": 2, "dtype": "float64"}
    fitted = probgen.fit("pixelcnn", data, given=["label"], **options)
    whole = probgen.score(fitted, data, conditionals=True)
    monkeypatch.setattr("probgen.models.bases.pixels.AT_ONCE", 7 * 4 * 32)
    assert fitted.module.at_once == 7
    parts = probgen.score(fitted, data, conditionals=True)
    xr.testing.assert_allclose(parts, whole, atol=1e-9)
    assert parts.log_prob.attrs == whole.log_prob.attrs


def test_particles_go_together_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many groups as it takes; each draw has the particles that were asked for."""
    fitted = probgen.fit("pixelcnn", labeled().drop_vars("label"), **{**SMALL["pixelcnn"], "epochs": 1})
    observed = np.tile(np.array([[0, 1], [1, 0]], dtype=bool), (9, 1, 1))
    sizes = []
    walk = Autoregressive.walk

    def noted(self: Autoregressive, batch: torch.Size, index: torch.Tensor | None = None) -> Any:
        found = walk(self, batch, index)
        sizes.append(len(found.x))
        return found

    monkeypatch.setattr(Autoregressive, "walk", noted)
    monkeypatch.setattr("probgen.inference.particles.BYTES", 1 << 16)
    probgen.sample(fitted, given={"x": np.ones((9, 2, 2)), "observed": observed}, particles=20)
    assert sum(sizes[1:]) == 9 * 20
    assert max(sizes) < 9 * 20


def test_tokens_are_told_in_numbers_that_are_learned() -> None:
    """Codes of more levels than features: as a prior over the codes of a VQ-VAE has them."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.integers(0, 50, (200, 2, 1)), 2, 2)  # the second of a row is the first
    codes = xr.Dataset({"x": (DIMS, x, {"support": "token", "levels": 50})})
    fitted = probgen.fit(
        "pixelcnn",
        codes,
        channels=16,
        layers=2,
        epochs=60,
        batch_size=20,
        learning_rate=0.02,
        schedule="cosine",
    )
    embedding = dict(fitted.module.named_parameters())["conditioner.embedding.weight"]
    assert embedding.shape == (50, 16)
    draws = probgen.sample(fitted, 200).x.values
    assert (draws[:, :, 0] == draws[:, :, 1]).mean() > 0.9


@pytest.mark.parametrize(("levels", "lightest"), [(2, 0), (16, 0), (256, 255)])
def test_photographs_are_light_where_levels_are_high_and_drawings_are_ink(levels: int, lightest: int) -> None:
    event = Event(("height", "width"), (2, 2), "integer", levels)
    x = np.array([[[0, levels - 1], [levels - 1, 0]]])
    for figure in (images(x, event), columns([x], ["x"], event)):
        [shown] = figure.axes[0].images
        gray = shown.to_rgba(shown.get_array())[..., :3].mean(2)
        np.testing.assert_allclose(gray, x[0] == lightest, atol=1e-6)
