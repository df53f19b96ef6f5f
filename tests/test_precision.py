"""Units and offsets of the data cost no digit: a fit of a x + b is that of x, in the units of a x + b."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import probgen
from probgen.distributions import Standardization
from probgen.errors import InputError
from probgen.inference.annealed import bidirectional
from probgen.inference.training import SVIOptions
from probgen.plugins.registry import registered

N = 60
NETS: dict[str, Any] = {"epochs": 2, "batch_size": 20}
LAYERED: dict[str, Any] = {"latent": 2, "channels": (4, 4), "steps": 4, "batch_size": 20}
OPTIONS: dict[str, dict[str, Any]] = {
    "attributes": {"hidden": 8, **NETS},
    "stylegan": {**LAYERED, "style": 4, "d_channels": (4,), "clusters": 2},
    "progan": LAYERED,
    "biggan": {**LAYERED, "d_channels": (4,)},
    "independent": {},
    "mixture": {"components": 2, "steps": 20},
    "bayesian-mixture": {"components": 2, "method": "svi", "steps": 20},
    "made": {"hidden": 8, **NETS},
    "nade": {"hidden": 8, "components": 2, **NETS},
    "pixelcnn": {"channels": 4, "layers": 2, **NETS},
    "pixelrnn": {"hidden": 4, "layers": 1, **NETS},
    "vae": {"latent": 2, "hidden": 8, "prior": "vamp", **NETS},
    "autoencoder": {"latent": 2, "hidden": 8, **NETS},
    "m2": {"latent": 2, "hidden": 8, "classes": 2, **NETS},
    "gan": {"latent": 2, "hidden": (8, 8), "steps": 8, "batch_size": 20},
    "dcgan": {"latent": 2, "channels": (4,), "steps": 4, "batch_size": 20},
    "diffusion": {"hidden": 8, "blocks": 1, **NETS},
    "flow": {"depth": 2, "hidden": 4, "bins": 4, **NETS},
    "flow-vae": {"latent": 2, "hidden": 8, "flow_hidden": 4, **NETS},
    "glow": {"levels": 1, "steps_per_level": 2, "hidden": 4, **NETS},
    "vqvae": {"codes": 4, "latent": 2, "halvings": 1, "hidden": 4, "prior": {"epochs": 1}, **NETS},
    "vqvae2": {"codes": 4, "latent": 2, "halvings": 1, "hidden": 4, "prior": {"epochs": 1}, **NETS},
}
DISCRETE = {"char-rnn", "fvsbn", "ngram", "seq2seq", "transformer", "wavenet"}
LEVELS = {"srresnet", "subscale", "srgan", "pix2pix", "cyclegan"}  # of images
BUILT_ON = {"inverter"}  # needs a generator of the same units: a test of its own
EXAMPLES = {"laplace"}  # of the documentation; it does not declare `x_dtype`
IMAGES = {"glow", "pixelcnn", "pixelrnn", "dcgan", "stylegan", "progan", "biggan", "vqvae", "vqvae2"}
UNITS = [(1.0, 1e9), (10.0, 1.7e9), (1e-12, 0.0), (1e12, 0.0), (1e-12, 1e-3), (1e12, -1e21)]


def standard(family: str) -> np.ndarray:
    """Rows whose digits survive an offset of 1e9 deviations: multiples of 2^-20."""
    shape = (N, 4, 4) if family in IMAGES else (N, 2)
    y = np.random.default_rng(0).standard_normal(shape)
    y[:, 0] += np.sign(y[:, 1]) if len(shape) == 2 else 0
    return np.round(y * 2**20) / 2**20


def dataset(x: np.ndarray) -> xr.Dataset:
    dims = ("feature",) if x.ndim == 2 else ("height", "width")
    return xr.Dataset(
        {"x": (("row", *dims), x), "label": ("row", np.arange(len(x)) % 2, {"support": "token", "levels": 2})}
    )


def numbers(fitted: Any, data: xr.Dataset) -> xr.DataArray:
    scores = probgen.score(fitted, data)
    return scores["log_prob" if "log_prob" in scores else next(iter(scores.data_vars))]


def test_every_family_is_in_the_table() -> None:
    assert OPTIONS.keys() | DISCRETE | LEVELS | BUILT_ON == set(registered("families")) - EXAMPLES


@pytest.mark.quick(over="family")
@pytest.mark.parametrize(("a", "b"), UNITS)
@pytest.mark.parametrize("family", OPTIONS)
def test_units_and_offsets_change_nothing(family: str, a: float, b: float) -> None:
    """log p less the logarithm of the Jacobian, and draws, are those of standard data: to 1e-4."""
    y = standard(family)
    x = a * y + b
    one, other = (probgen.fit(family, dataset(data), **OPTIONS[family]) for data in (y, x))
    if one.definition.offers("score"):
        found, expected = numbers(other, dataset(x)), numbers(one, dataset(y))
        jacobian = y[0].size * math.log(a) if "measure" in expected.attrs else 0.0
        np.testing.assert_allclose(found + jacobian, expected, rtol=1e-4, atol=1e-3)
    if not one.definition.offers("sample"):
        return
    draws, like = (probgen.sample(fitted, 20, seed=1)["x"].values for fitted in (other, one))
    np.testing.assert_allclose((draws - b) / a, like, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("a", "b"), UNITS)
def test_an_encoder_of_any_units(a: float, b: float, tmp_path: Path) -> None:
    """Codes are those of standard data, by generators of either; and so are codes that are searched for."""
    y = standard("vae")
    codes, found = [], []
    for i, x in enumerate((y, a * y + b)):
        file = tmp_path / f"{i}.h5"
        probgen.fit("vae", dataset(x), **{**OPTIONS["vae"], "prior": "normal"}).save(file)
        fitted = probgen.fit("inverter", dataset(x), generator=file, hidden=(8,), **NETS)
        codes.append(probgen.encode(fitted, dataset(x))["z"].values)
        how: dict[str, Any] = {"methods": ["mean"], "search_steps": 10, "rows": 20, "n": 100}
        found.append(probgen.analyze("inversion", fitted, dataset(x), **how))
    np.testing.assert_allclose(codes[1], codes[0], rtol=1e-3, atol=1e-3)
    one, other = (f.reconstruction.values[0] for f in found)
    np.testing.assert_allclose((other - b) / a, one, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("family", ["made", "nade", "mixture", "independent"])
def test_what_is_known_is_kept_to_the_bit(family: str) -> None:
    x = 1.7e9 + 10 * standard(family)
    known = np.where(np.arange(2) == 0, x[:5], np.nan)
    fitted = probgen.fit(family, x, **OPTIONS[family])
    drawn = probgen.sample(fitted, 3, given={"x": known})["x"].values
    assert np.array_equal(drawn[..., 0], np.broadcast_to(x[:5, 0], (3, 5)))
    assert (abs(drawn[..., 1] - 1.7e9) < 100).all()
    assert len(np.unique(drawn[..., 1])) == 15


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64"])
def test_data_of_any_dtype_with_an_offset(kind: str) -> None:
    """What the dtype of the data holds is what is modeled."""
    offset = 1000.0 if kind == "float16" else 1.6e7
    x = (offset + 8 * standard("made")).round().astype(kind)
    data = xr.Dataset({"x": (("row", "feature"), x, {"support": "real"})})
    fitted = probgen.fit("made", data, **OPTIONS["made"])
    same = probgen.fit("made", x.astype(np.float64), **OPTIONS["made"])
    np.testing.assert_allclose(numbers(fitted, data), numbers(same, dataset(x.astype(np.float64))), rtol=1e-6)


class Plain(probgen.Pair):
    """A normal by gradients, whose rows come in float32."""

    Options = SVIOptions

    def __init__(self, options: Any, event: Any):
        super().__init__(options, event)
        self.mu = torch.nn.Parameter(torch.zeros(event.size))

    def model(self, x: torch.Tensor | None = None, *, n: int, **given: Any) -> torch.Tensor:
        import pyro
        import pyro.distributions as dist

        with self.rows(n):
            return pyro.sample("x", dist.Normal(self.mu, 1.0).expand([n, 2]).to_event(1), obs=x)


def test_a_column_that_is_lost_is_refused_by_name() -> None:
    y, far = standard("made"), np.array([0.0, 1e9])
    with pytest.raises(InputError, match=r"x, column 1: mean 1e\+09 and standard deviation .* float32"):
        probgen.fit(Plain, y + far, steps=1)
    probgen.fit(Plain, y + far, steps=1, dtype="float64")
    probgen.fit(Plain, (y + far).astype(np.float32), steps=1)  # nothing is lost that is there
    probgen.fit(Plain, y + far / 1e6, steps=1)
    condition = xr.Dataset({"x": (("row", "feature"), y), "t": (("row", "place"), 1.7e9 + y)})
    with pytest.raises(InputError, match=r"t, column 0: mean 1\.7e"):
        probgen.fit("made", condition, given=["t"], **OPTIONS["made"])


def test_whole_numbers_that_are_lost_are_refused_by_name() -> None:
    """Integers come in the dtype of the parameters: beyond 2^24 float32 has not all of them."""
    seconds = 10**9 + np.random.default_rng(0).integers(0, 50, (60, 2))
    seconds[:, 0] -= 10**9
    data = xr.DataArray(seconds, dims=("row", "feature"), coords={"feature": ["start", "end"]})
    for family, options in (
        ("vae", {"likelihood": "normal", **OPTIONS["vae"]}),
        ("independent", {"likelihood": "normal"}),
    ):
        with pytest.raises(
            InputError, match=r"x, column 'end': mean .* use floats, or fit with dtype = 'float64'"
        ):
            probgen.fit(family, data, dtype="float32", **options)
    exact = probgen.fit("independent", data, likelihood="normal")
    np.testing.assert_allclose(probgen.sample(exact, 4000)["x"].values.std(0), seconds.std(0), rtol=0.1)
    probgen.fit("independent", seconds - [0, 10**9] + 2**24 - 100, likelihood="normal", dtype="float32")


@pytest.mark.parametrize("options", [{}, {"prior": "mixture", "sigma": "feature"}])
def test_latents_are_in_the_dtype_of_the_model(options: dict[str, Any]) -> None:
    """Densities of x are in float64; what moves along their gradients is not."""
    x = standard("vae")
    fitted = probgen.fit("vae", x, **{**OPTIONS["vae"], **options})
    known = np.where(np.arange(2) == 0, x[:3], np.nan)
    assert np.isfinite(probgen.sample(fitted, 2, given={"x": known}, steps=5)["x"]).all()
    assert np.isfinite(probgen.score(fitted, x[:4], estimator="ais", steps=5, chains=2)["log_prob"]).all()
    below, above = bidirectional(fitted.module, 4, steps=5, chains=2)  # type: ignore[arg-type]
    assert torch.isfinite(below + above).all()


def test_a_standardization_stays_in_float64() -> None:
    standard = Standardization((2,))
    standard.learn(torch.tensor([1e9 + 0.125, 0.0], dtype=torch.float64), torch.tensor([3.0, 1e-12]).double())
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), standard).to(torch.float32)
    assert module[0].weight.dtype == torch.float32
    assert standard.loc.dtype == standard.scale.dtype == torch.float64
    assert standard.loc[0].item() == 1e9 + 0.125
    x = torch.tensor([[1e9 + 6.125, 2e-12]], dtype=torch.float64)
    y = standard(x, torch.float32)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.tensor([[2.0, 2.0]]))
    torch.testing.assert_close(standard.inverse(y), x, rtol=1e-7, atol=0)
