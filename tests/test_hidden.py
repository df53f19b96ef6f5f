"""`hidden` takes the same forms in every family: a number, or a list with the size of each layer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import probgen
from probgen.contract.event import Event
from probgen.contract.options import checked, layer_sizes
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.errors import InputError
from probgen.plugins.family import family
from probgen.plugins.registry import registered

IMAGE = Event(("height", "width"), (4, 4), "binary")
TEXT = Event(("time",), (None,), "token", 5)
# the event, further options, and how many layers the family may have: None where there is one, 0 where all sizes are equal
SHAPES: dict[str, tuple[Event, dict[str, Any]]] = {
    "attributes": (replace(IMAGE, attributes={"label": 2}), {"channels": (4,)}),
    "autoencoder": (IMAGE, {"latent": 2}),
    "char-rnn": (TEXT, {}),
    "diffusion": (Event(("feature",), (16,), "binary"), {"blocks": 1}),
    "flow": (IMAGE, {"dequantization": "uniform"}),
    "flow-vae": (IMAGE, {"latent": 2}),
    "gan": (IMAGE, {"latent": 2}),
    "glow": (IMAGE, {"dequantization": "uniform"}),
    "inverter": (Event(("feature",), (16,), "binary"), {"generator": "a run"}),
    "m2": (IMAGE, {"latent": 2, "classes": 2}),
    "made": (IMAGE, {}),
    "nade": (IMAGE, {}),
    "pixelrnn": (IMAGE, {}),
    "vae": (IMAGE, {"latent": 2}),
    "vqvae": (IMAGE, {"codes": 4, "latent": 2, "halvings": 1}),
    "vqvae2": (IMAGE, {"codes": 4, "latent": 2, "halvings": 1}),
}
LAYERED = ("char-rnn", "flow", "made", "pixelrnn")  # they have the option `layers`
EQUAL = ("char-rnn", "pixelrnn")  # layers of one size
ONE = ("attributes", "glow", "nade", "vqvae", "vqvae2")  # one size


@cache
def generator() -> probgen.Fitted:
    """Of the rows that the encoder is of."""
    x = np.random.default_rng(0).integers(2, size=(10, 16), dtype=np.uint8)
    data = xr.Dataset({"x": (("row", "feature"), x, {"support": "binary"})})
    return probgen.fit("vae", data, latent=2, hidden=(4,), steps=1)


def options_of(name: str) -> Any:
    return family(name).options("fit").model_fields


def built(name: str, **options: Any) -> nn.Module:
    """The module in its initial state, seed 0."""
    event, further = SHAPES[name]
    definition = family(name)
    wanted = checked(definition.options("fit"), {**further, **options}, f"family {name!r}")
    models = {"generator": generator()} if name == "inverter" else {}
    with generators_kept():
        seed_torch(0)
        return definition.build(wanted, event, **models)


def same(a: nn.Module, b: nn.Module) -> bool:
    """Equal names, shapes and bits."""
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_table_has_every_family() -> None:
    names = {name for name in registered("families") if "hidden" in options_of(name)}
    assert names == SHAPES.keys()
    assert {name for name in SHAPES if "layers" in options_of(name)} == set(LAYERED)


@pytest.mark.parametrize("name", SHAPES)
def test_a_number_and_a_list_are_one_module(name: str) -> None:
    one = {"layers": 1} if name in LAYERED else {}
    assert same(built(name, hidden=6, **one), built(name, hidden=(6,)))
    assert same(built(name, hidden=6, **one), built(name, hidden=[6], **one))
    assert not same(built(name, hidden=6, **one), built(name, hidden=(8,)))


@pytest.mark.parametrize("name", LAYERED)
def test_equal_sizes_are_a_number_and_layers(name: str) -> None:
    assert same(built(name, hidden=6, layers=2), built(name, hidden=(6, 6)))
    assert same(built(name, hidden=6, layers=2), built(name, hidden=(6, 6), layers=2))
    assert not same(built(name, hidden=6, layers=2), built(name, hidden=(6, 6, 6)))


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {*EQUAL, *ONE}))
def test_a_list_gives_each_layer(name: str) -> None:
    """In its order: some weight leads from 6 units to 3."""
    shapes = {tuple(array.shape) for array in built(name, hidden=(6, 3)).state_dict().values()}
    assert (3, 6) in shapes


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *((name, {"hidden": (6, 3)}, "hidden = [6, 3]: all layers have one size here") for name in EQUAL),
        *((name, {"hidden": (6, 6)}, "hidden = [6, 6]: one size is needed here") for name in ONE),
        *(
            (name, {"hidden": (6, 6), "layers": 3}, "hidden = [6, 6]: the list has 2 layers, but layers = 3")
            for name in LAYERED
        ),
        *((name, {"hidden": 0}, "hidden = 0: each layer needs at least 1 unit") for name in SHAPES),
        *((name, {"hidden": (6, 0)}, "hidden = (6, 0): each layer needs at least 1 unit") for name in SHAPES),
        *((name, {"hidden": True}, "hidden = True: each layer needs") for name in SHAPES),
        *((name, {"hidden": (2.5,)}, "hidden = (2.5,): each layer needs") for name in SHAPES),
        *((name, {"hidden": "6"}, "hidden = '6': each layer needs") for name in SHAPES),
        *((name, {"hidden": (6,) * 101}, "at most 100") for name in SHAPES),
        *((name, {"hidden": ()}, "hidden = []: ") for name in (*LAYERED, *ONE)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        built(name, **options)
    assert str(caught.value).startswith(f"family {name!r}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [6, (6,), (6, 3)], ids=str)
def test_the_file_keeps_what_was_given(given: Any, tmp_path: Any) -> None:
    data = xr.Dataset({"x": (("row", "feature"), np.eye(4, dtype=np.uint8))})
    fitted = probgen.fit("made", data, hidden=given, steps=1, out=tmp_path / "run")
    loaded = probgen.load(tmp_path / "run")
    assert fitted.options.hidden == loaded.options.hidden == given
    assert loaded.options.layers == 1
    xr.testing.assert_identical(
        probgen.score(fitted, data)["log_prob"], probgen.score(loaded, data)["log_prob"]
    )


def test_sizes_of_layers() -> None:
    assert layer_sizes(5) == (5,)
    assert layer_sizes(5, 3) == (5, 5, 5)
    assert layer_sizes((5, 4)) == layer_sizes((5, 4), 2) == layer_sizes((5, 4), 7, usual=7) == (5, 4)
