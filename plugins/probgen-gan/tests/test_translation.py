"""Images from images by games: cyclegan, pix2pix, srgan."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_gan.given_images import original
from probgen_gan.pool import Pool
from probgen_gan.translators import Translator, UNet
from scipy import stats

import probgen
from probgen.errors import InputError
from probgen.testing import FamilyLaws

LEVELS: dict[str, Any] = {"support": "integer", "levels": 4}


def two_kinds(rows: int = 40, seed: int = 0, side: int = 4) -> xr.Dataset:
    """Images of four levels; kind 1 is dark where kind 0 is light."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (rows, side, side))
    label = rng.integers(0, 2, rows)
    x = np.where(label[:, None, None] == 1, 3 - x // 2, x // 2).astype(np.uint8)
    return xr.Dataset({"x": (("row", "height", "width"), x, LEVELS), "label": ("row", label, {"levels": 2})})


def pairs(rows: int = 40, seed: int = 0, scale: int = 1, side: int = 4) -> xr.Dataset:
    """Images of four levels, and what they are conditioned on: their means over cells, or the same in other levels."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (rows, side, side)).astype(np.uint8)
    low = x.reshape(rows, side // scale, scale, side // scale, scale).mean((2, 4)).round().astype(np.uint8)
    name = "low" if scale > 1 else "source"
    low = low if scale > 1 else (3 - low).astype(np.uint8)
    return xr.Dataset(
        {
            "x": (("row", "height", "width"), x, LEVELS),
            name: (("row", f"{name}_height", f"{name}_width"), low, LEVELS),
        }
    )


SMALL = {"steps": 6, "batch_size": 8, "width": 4}


class TestCycleGAN(FamilyLaws):
    family = "cyclegan"
    options = {**SMALL, "d_channels": (4, 4), "pool": 10, "identity": 0.5}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Of two kinds."""
        return two_kinds()


class TestCycleGANWithZ(FamilyLaws):
    family = "cyclegan"
    options = {
        **SMALL,
        "d_channels": (4, 4),
        "latent": 2,
        "norm": "instance",
        "halvings": 1,
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Of two kinds."""
        return two_kinds(side=8)


class TestPix2Pix(FamilyLaws):
    family = "pix2pix"
    options = {**SMALL, "halvings": 1, "d_channels": (4,)}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Pairs."""
        return pairs()


class TestPix2PixWithZ(FamilyLaws):
    family = "pix2pix"
    options = {**SMALL, "halvings": 1, "d_channels": (4, 4), "latent": 2, "norm": "none"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Pairs."""
        return pairs()


class TestSRGAN(FamilyLaws):
    family = "srgan"
    options = {
        **SMALL, "pixels": 4, "patch": 4, "blocks": 1, "shuffled": 2, "d_channels": (3, 4), "game_batch_size": 4,
    }  # fmt: skip

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """With what they are at half the size."""
        return pairs(scale=2)


# beyond the laws


def test_a_pool_shows_past_draws() -> None:
    """Until it is full every draw is shown; then each with probability 1/2 (400 draws, false-alarm rate 1e-9), and it keeps its size."""
    torch.manual_seed(0)
    pool = Pool(8)
    first = torch.arange(8.0).reshape(8, 1, 1, 1)
    assert torch.equal(pool.exchange(first[:5]), first[:5])
    assert torch.equal(pool.exchange(first[5:]), first[5:])
    new = torch.arange(100.0, 500.0).reshape(400, 1, 1, 1)
    shown = pool.exchange(new).flatten()
    own = (shown == new.flatten()).float().mean().item()
    assert abs(own - 0.5) < 6.1 * 0.5 / 400**0.5
    assert pool.x is not None
    assert len(pool.x) == 8
    everything = set(first.flatten().tolist()) | set(new.flatten().tolist())
    assert sorted([*shown.tolist(), *pool.x.flatten().tolist()]) == sorted(
        everything
    )  # none is lost, none is twice
    other = Pool(8)
    other.load_state_dict(pool.state_dict())
    torch.manual_seed(1)
    a = pool.exchange(new[:6])
    torch.manual_seed(1)
    assert torch.equal(a, other.exchange(new[:6]))
    assert torch.equal(Pool(0).exchange(new[:3]), new[:3])


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1), (9, 2)])
def test_translators_keep_any_size(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    z = torch.randn(2, 4)
    assert Translator(3, 1, 4, 1, 2, "none", 4)(x, z).shape == (2, 1, *size)
    assert UNet(3, 1, 4, 2, "none", 4, 0.0)(x, z).shape == (2, 1, *size)


def _planted(data: xr.Dataset) -> Any:
    """A CycleGAN whose translators invert levels."""

    class Inverting(torch.nn.Module):
        def forward(self, x: torch.Tensor, z: Any = None) -> torch.Tensor:
            return -x

    fitted = probgen.fit("cyclegan", data, **SMALL, d_channels=(4,))
    fitted.module.T[0] = fitted.module.T[1] = Inverting()
    return fitted


def test_what_is_said_of_a_cycle() -> None:
    """Of translators that invert: the cycle is whole, the pair 3 - x is met, nothing is hidden; another pair says how much would be."""
    data = two_kinds(12)
    fitted = _planted(data)
    honest = data.assign(pair=(data["x"].dims, (3 - data["x"].values).astype(np.uint8), LEVELS))
    said = probgen.score(fitted, honest)
    for name, value in {"cycle": 120, "translation": 120, "hidden": 0}.items():
        np.testing.assert_allclose(said[name], value, atol=1e-6)
    assert (said["cycle_disturbed"] < 40).all()
    assert said["cycle"].attrs["kind"] == "surrogate"
    other = data.assign(pair=(data["x"].dims, np.zeros_like(data["x"].values), LEVELS))
    said = probgen.score(fitted, other)
    error = np.square((3 - data["x"].values.astype(float)) / 3).mean((1, 2))
    np.testing.assert_allclose(
        said["translation"], np.minimum(120, -10 * np.log10(np.maximum(error, 1e-12))), rtol=1e-4
    )
    np.testing.assert_allclose(said["hidden"], 120 - said["translation"], rtol=1e-4)  # from 0 comes 3
    assert "hidden" not in probgen.score(fitted, data)
    drawn = probgen.sample(fitted, given={"source": data["x"].values, "label": 1 - data["label"].values})[
        "x"
    ].values[0]
    np.testing.assert_array_equal(drawn, 3 - data["x"].values)


def test_no_fit_sees_the_pairs() -> None:
    data = two_kinds(12)
    with_pairs = data.assign(pair=(data["x"].dims, np.full_like(data["x"].values, 2), LEVELS))
    states = [probgen.fit("cyclegan", rows, **SMALL, d_channels=(4,)).state for rows in (data, with_pairs)]
    xr.testing.assert_identical(*states)


def test_kinds_and_sources_that_are_none() -> None:
    data = two_kinds(12)
    fitted = probgen.fit("cyclegan", data, **SMALL, d_channels=(4,))
    x = data["x"].values[0]
    with pytest.raises(InputError, match=r"samples x from an image of the other kind. Pass given=.'source'"):
        probgen.sample(fitted, given={"label": 1})
    with pytest.raises(InputError, match="black: multiply by 3"):
        probgen.sample(fitted, given={"source": x / 3.5, "label": 1})
    with pytest.raises(InputError, match="allowed is a whole number from 0 to 3"):
        probgen.sample(fitted, given={"source": x + 3.0, "label": 1})
    for bad, said in ((2.5, "allowed is a whole number from 0 to 3"), (np.nan, "Give finite numbers")):
        with pytest.raises(InputError, match=said):
            probgen.sample(fitted, given={"source": np.full((4, 4), bad), "label": 1})
    with pytest.raises(InputError, match=r"needs given=.'label'"):
        probgen.sample(fitted, given={"source": x})
    one = data.isel(row=np.flatnonzero(data["label"].values == 1))
    with pytest.raises(InputError, match="no image is of kind 0"):
        probgen.fit("cyclegan", one, **SMALL, d_channels=(4,))
    three = data.assign(label=("row", np.arange(12) % 3, {"levels": 3}))
    with pytest.raises(InputError, match="which of two kinds"):
        probgen.fit("cyclegan", three, **SMALL, d_channels=(4,))
    with pytest.raises(InputError, match="halves images of this size too often"):
        probgen.fit("cyclegan", data, **SMALL, d_channels=(4, 4, 4))
    with pytest.raises(InputError, match="needs maps larger than 1 x 1"):
        probgen.fit("cyclegan", data, **SMALL, d_channels=(4,), norm="instance", halvings=2)
    with pytest.warns(UserWarning, match="all samples are equal"):
        draws = probgen.sample(fitted, 3, given={"source": x, "label": 1})["x"].values
    assert (draws == draws[:1]).all()


def test_a_function_is_a_normal_around_its_image() -> None:
    """The deviation is that of the rows to choose by, and log p is the discretized normal's, summed over pixels."""
    data, valid = pairs(), pairs(seed=1)
    fitted = probgen.fit("pix2pix", data, valid=valid, **SMALL, halvings=1, d_channels=(4,))
    with torch.no_grad():
        mean = fitted.module.decode({"source": torch.as_tensor(valid["source"].values)}).double().numpy()
    s = np.sqrt(np.square(mean - valid["x"].values).mean())
    assert float(np.exp(fitted.state["log_s"])) == pytest.approx(s, rel=1e-4)
    scores = probgen.score(fitted, valid, estimator="normal")["log_prob"]
    assert (scores.attrs["kind"], scores.attrs["measure"]) == ("exact", "counting")
    edges = np.array([-np.inf, 0.5, 1.5, 2.5, np.inf])
    x = valid["x"].values
    p = stats.norm.cdf(edges[x + 1], mean, s) - stats.norm.cdf(edges[x], mean, s)
    np.testing.assert_allclose(scores, np.log(p).sum((1, 2)), rtol=1e-4)
    with_z = probgen.fit("pix2pix", data, **SMALL, halvings=1, d_channels=(4,), latent=2)
    with pytest.raises(InputError, match="is not one image"):
        probgen.score(with_z, valid, estimator="normal")
    with pytest.raises(InputError, match="must be as large as x"):
        probgen.fit(
            "pix2pix",
            pairs(scale=2).rename(low="source", low_height="source_height", low_width="source_width"),
            **SMALL,
        )


SR = {
    **SMALL, "pixels": 4, "patch": 4, "blocks": 1, "shuffled": 2, "d_channels": (3, 4), "game_batch_size": 4,
}  # fmt: skip


def test_mixtures_of_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pairs(scale=2)
    fitted = probgen.fit("srgan", data, **SR)
    module, low = fitted.module, data["low"].values

    def made(**how: Any) -> np.ndarray:
        x: np.ndarray = probgen.sample(fitted, given={"low": low}, **how)["x"].values[0]
        return x

    with torch.no_grad():
        y = module.low_of({"low": torch.as_tensor(low)})
        nets = [original(net(y), fitted.event).round().numpy() for net in (module.pixels, module.average)]
        half = copy.deepcopy(module.pixels)
        for a, b in zip(half.parameters(), module.average.parameters(), strict=True):
            a.copy_((a + b) / 2)
        nets.insert(1, original(half(y), fitted.event).round().numpy())
    for mix, expected in zip((0.0, 0.5, 1.0), nets, strict=True):
        np.testing.assert_array_equal(made(mix=mix), expected)
    np.testing.assert_array_equal(made(), nets[2])
    for net, mix in (("pixels", 0.0), ("game", 1.0)):
        s = np.sqrt(np.square(module.made(y, mix).detach().numpy() - data["x"].values).mean())
        scores = probgen.score(fitted, data, estimator="normal", net=net)["log_prob"]
        assert scores.attrs["noise"] == pytest.approx(s, rel=1e-4)
    large = torch.randint(0, 4, (1, 23, 19)).float()
    with torch.no_grad():
        y = module.low_of({"low": large})
        np.testing.assert_allclose(module.made(y, 1.0, tile=5), module.made(y, 1.0), atol=1e-5)


def test_features_of_a_network_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point; one that is not known is named with those that are."""

    class Entry:
        name = "blurred"

        @staticmethod
        def load() -> Any:
            return lambda: torch.nn.AvgPool2d(2)

    data = pairs(scale=2)
    usual = probgen.fit("srgan", data, **SR).state
    monkeypatch.setattr(
        "probgen_gan.srgan.entry_points", lambda group: [Entry] if group == "probgen_gan.features" else []
    )
    other = probgen.fit("srgan", data, **SR, features="blurred").state
    assert not np.array_equal(usual["G.last.weight"], other["G.last.weight"])
    with pytest.raises(InputError, match="known are discriminator, pixels, blurred"):
        probgen.fit("srgan", data, **SR, features="vgg")
    with pytest.raises(InputError, match=r"perceptual = 0\.5 has no effect"):
        probgen.fit("srgan", data, **SR, features="pixels", perceptual=0.5)
