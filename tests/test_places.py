"""Decoding from any place to any other: of built-in families, of a stranger's, and of a pair that says nothing about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import probgen
from probgen import Event, Options, Pair, Rows, Run, hookimpl
from probgen.contract.definition import places_of
from probgen.contract.places import At, decoded, maps_of
from probgen.errors import InputError, NotOffered
from probgen.testing import FamilyLaws, spaces


def images(n: int, shape: tuple[int, ...] = (8, 12)) -> xr.Dataset:
    rng = np.random.default_rng(0)
    x = (rng.random((n, *shape)) < 0.4).astype(np.uint8)
    return xr.Dataset({"x": (("row", "height", "width"), x), "label": ("row", rng.integers(3, size=n))})


# steps


def test_only_what_is_needed_is_made_and_once() -> None:
    made: list[str] = []

    def step(name: str, *before: str) -> Any:
        def make(at: Mapping[str, Tensor]) -> Tensor:
            made.append(name)
            return torch.stack([at[b] for b in before]).sum(0) + 1

        return make

    steps = {"w": step("w", "z"), "a": step("a", "w"), "b": step("b", "a", "w"), "x": step("x", "b", "w")}
    z = torch.zeros(2)
    assert decoded(steps, {"z": z}, roots=["z"]).tolist() == [6.0, 6.0]  # w 1, a 2, b 4, x 6
    assert sorted(made) == ["a", "b", "w", "x"]
    made.clear()
    assert decoded(steps, {"z": z, "b": torch.ones(2)}, roots=["z"]).tolist() == [3.0, 3.0]
    assert sorted(made) == ["w", "x"]
    assert decoded(steps, {"z": z}, "a", ["z"]).tolist() == [2.0, 2.0]
    assert At(steps, {"z": z}, "a test")["w"].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="decode from b until x requires 'z' as well"):
        decoded(steps, {"b": z}, roots=["z"])
    with pytest.raises(InputError, match=r"'c' is not a place of this model\. Use one of: z, w, a, b, x"):
        decoded(steps, {"z": z}, "c", ["z"])


def test_maps_are_named_for_their_size() -> None:
    assert maps_of([(4, 4), (8, 8)])["maps8"] == ("maps8_channel", "maps8_height", "maps8_width")
    assert list(maps_of([(2, 3), (4, 6)])) == ["maps2x3", "maps4x6"]


# built-in families


EACH = {"given": ("label",), "conditioning": "decoders"}


@pytest.mark.parametrize(
    ("family", "options", "places"),
    [
        ("vae", {"network": "conv", "hidden": (4, 6)}, ["maps2x3", "maps4x6"]),
        ("autoencoder", {"network": "conv", "hidden": (4,)}, ["maps4x6"]),
        ("m2", {"network": "conv", "hidden": (4, 5), "classes": 3}, ["maps2x3", "maps4x6"]),
        ("vae", {"network": "conv", "hidden": (4,), "given": ("label",)}, ["maps4x6"]),
        ("vae", {"hidden": (6,)}, []),
        ("vae", {"network": "conv", "hidden": (4, 6), **EACH}, ["maps2x3", "maps4x6"]),
        ("autoencoder", {"hidden": (6,), **EACH}, []),
    ],
)
def test_maps_of_convolutional_decoders(family: str, options: dict[str, Any], places: list[str]) -> None:
    """From each place x is that of the latents, and the gradient to it is that of differences."""
    data = images(40)
    model = probgen.fit(family, data, **{"latent": 3, "epochs": 1, **options}, dtype="float64")
    module: Any = model.module
    assert list(places_of(module)) == places
    draws = probgen.sample(
        model,
        1,
        given={"x": data.x.values[:5], "label": data.label.values[:5]}
        if model.event.given
        else {"x": data.x.values[:5]},
    )
    start = {name: draws[name].values[0] for name in module.latents}
    start |= {name: data[name].values[:5] for name in model.event.given}
    expected = probgen.sample(model, 1, given=start, mean=True)["x"].values[0]
    np.testing.assert_allclose(probgen.decode(model, start)["x"], expected, rtol=1e-9)
    # maps of the decoder of a class belong to the class; other maps contain the condition
    given = {name: start[name] for name in model.event.given} if "conditioning" in options else {}
    rest = {name: torch.from_numpy(value) for name, value in given.items()}
    for place in places:
        maps = probgen.decode(model, start, place)[place]
        assert maps.dims[0] == "row"
        np.testing.assert_allclose(
            probgen.decode(model, {place: maps.values, **given})["x"], expected, rtol=1e-9
        )
        at = torch.from_numpy(maps.values).requires_grad_()
        v = torch.from_numpy(np.random.default_rng(0).standard_normal(maps.shape))
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(module.decode({place: at, **rest}).sum(), at)
        h = 1e-6
        with torch.no_grad():
            ends = [module.decode({place: at + sign * h * v, **rest}).sum() for sign in (1, -1)]
        assert (slope * v).sum().item() == pytest.approx(((ends[0] - ends[1]) / (2 * h)).item(), rel=1e-4)


def test_a_component_decodes_to_its_mean() -> None:
    model = probgen.fit("mixture", spaces.example("real"), components=3)
    found = probgen.decode(model, {"z": np.arange(3)})["x"].values
    mean = model.module.gaussians()[1]  # type: ignore[operator]
    np.testing.assert_allclose(found, np.asarray(mean), rtol=1e-9)


@pytest.mark.parametrize(
    ("family", "options", "start", "message"),
    [
        (
            "vae",
            {"latent": 2, "hidden": (4,)},
            {"z": np.zeros((1, 3))},
            "given z: it has 3 numbers per row. Give 2",
        ),
        (
            "vae",
            {"latent": 2, "hidden": (4,)},
            {"x": np.zeros((1, 4))},
            "start contains x or observed, but decode ends at x. Give z",
        ),
        ("mixture", {"components": 2}, {"z": np.array([-1])}, "from 0 to 1"),
        ("mixture", {"components": 2}, {"z": np.array([2])}, "from 0 to 1"),
        (
            "m2",
            {"classes": 2, "latent": 2, "hidden": (4,)},
            {"y": np.array([2]), "z": np.zeros((1, 2))},
            "from 0 to 1",
        ),
    ],
)
def test_codes_that_are_none_are_refused(
    family: str, options: dict[str, Any], start: dict[str, Any], message: str
) -> None:
    data = spaces.example("binary") if family != "mixture" else spaces.example("real")
    data = data.assign(label=("row", np.arange(data.sizes["row"]) % 2))
    if family != "mixture":
        options = {**options, "epochs": 1}
    model = probgen.fit(family, data, **options)
    with pytest.raises(InputError, match=message):
        probgen.decode(model, start)
    with pytest.raises(InputError, match="until = 'label': the model has no such"):
        probgen.decode(model, {}, "label")
    with pytest.raises(InputError, match="stores no numbers"):
        probgen.decode(model, {}, device="meta")


def test_whole_numbers_are_good_codes() -> None:
    model = probgen.fit("vae", spaces.example("binary"), latent=2, hidden=(4,), epochs=1)
    ones = probgen.decode(model, {"z": np.ones((2, 2), int)})
    assert ones.equals(probgen.decode(model, {"z": np.ones((2, 2))}))


def test_an_autoregressive_decoder_has_no_mean() -> None:
    model = probgen.fit("vae", spaces.example("binary"), decoder="nade", latent=2, hidden=(8,), epochs=1)
    with pytest.raises(NotOffered, match="the mean of x given z is unknown"):
        probgen.decode(model, {"z": np.zeros((2, 2))})


# a pair that says nothing about it


class Linear(Pair):
    """z ~ Normal(0, 1), x ~ Normal(W z + b, 0.1)."""

    latents = {"z": ("latent",)}

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.W = nn.Linear(3, event.size)
        self.q = nn.Linear(event.size, 6)

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        with self.rows(n):
            z = pyro.sample("z", dist.Normal(self.W.weight.new_zeros(n, 3), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(self.W(z), 0.1).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        assert x is not None
        mu, log_sigma = self.q(x).chunk(2, 1)
        with self.rows(n):
            return pyro.sample("z", dist.Normal(mu, log_sigma.exp()).to_event(1))


class TestLinear(FamilyLaws):
    family = Linear
    options = {"epochs": 2, "batch_size": 32}
    support = "real"


class Two(Linear):
    """With a second latent it does not say how x is decoded."""

    latents = {"z": ("latent",), "y": ()}


def test_a_pair_of_two_latents_has_to_say_how() -> None:
    two = Two(None, Event(("feature",), (2,), "real"))
    with pytest.raises(NotOffered, match="Two has 2 latents"):
        two.decode({"z": torch.zeros(1, 3)})


# a stranger's


class StrangersOptions(Options):
    steps: int = 5


class Network(nn.Module):
    """z -> maps, told a class -> x."""

    latents = {"z": ("latent",)}
    places = maps_of([(2, 2)])

    def __init__(self, event: Event):
        super().__init__()
        self.first, self.event = nn.Linear(3, 8), event
        self.last = nn.ConvTranspose2d(2, 1, 2, stride=2)

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        steps = {
            "maps2": lambda at: self.first(at["z"].to(self.first.weight)).tanh().unflatten(1, (2, 2, 2)),
            "x": lambda at: self.last(at["maps2"])[:, 0],
        }
        return decoded(steps, start, until, ["z"])


class Stranger:
    """A deterministic generator with a place of its own, written over the public contract alone."""

    Options = StrangersOptions

    @staticmethod
    def build(options: StrangersOptions, event: Event) -> nn.Module:
        return Network(event)

    @staticmethod
    @hookimpl
    def fit(module: Network, data: Rows, options: StrangersOptions, run: Run) -> None:
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def step(t: int) -> dict[str, Any]:
            x = data.batch(t, 16)["x"]
            loss = (module.decode({"z": torch.randn(len(x), 3)}).mean(0) - x.mean(0)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return {"loss": loss.detach()}

        run.train(step, options.steps, keep={"net": module, "optimizer": optimizer})

    @staticmethod
    @hookimpl
    def sample(fitted: probgen.Fitted, n: int, given: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
        if "x" in given:
            raise NotOffered("x is not completed")
        z = given["z"] if "z" in given else torch.randn(n, 3, dtype=run.dtype)
        return {"x": fitted.module.decode({"z": z}), "z": z}  # type: ignore[operator]


class TestStranger(FamilyLaws):
    family = Stranger
    options = {"steps": 5}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        rng = np.random.default_rng(0)
        return xr.Dataset({"x": (("row", "height", "width"), rng.random((40, 4, 4)))})
