"""Attributes: in data, as conditions, told by a network, and computed of pixels, each against planted answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import log_softmax

import probgen
from probgen.data.attributes import factors_of
from probgen.errors import InputError, NotOffered, PluginError
from probgen.evaluation.morphology import clothing, morphology
from probgen.models.attributes import Attributes, agreement
from probgen.testing import FamilyLaws
from probgen.testing.spaces import example


def bars(n: int, seed: int = 0, *, missing: float = 0.0) -> xr.Dataset:
    """Images of a bar whose height is a number and whose side, left or right, is a class; noise all over."""
    rng = np.random.default_rng(seed)
    height, side = rng.random(n), rng.integers(2, size=n)
    x = 0.3 * rng.standard_normal((n, 8, 8))
    for i in range(n):
        x[i, :, 4 * side[i] : 4 * side[i] + 4] += height[i]
    a = np.stack([5 + 20 * height, side], 1)
    a[rng.random(a.shape) < missing] = np.nan
    return xr.Dataset(
        {"x": (("row", "height", "width"), x), "attribute": (("row", "factor"), a, {"levels": [0, 2]})},
        {"factor": ["height", "side"]},
    )


SMALL: dict[str, Any] = {"channels": (6, 8), "hidden": 24, "epochs": 12, "batch_size": 32}


@pytest.fixture(scope="module")
def fitted() -> probgen.Fitted:
    return probgen.fit("attributes", bars(1500), valid=bars(500, seed=1), **SMALL)


# told by a network


def test_planted_attributes_are_told_in_their_units(fitted: probgen.Fitted) -> None:
    """The best there is, by the mean of 32 pixels of noise 0.3: R^2 of the height 1 - 0.053^2 * 12 = 0.97."""
    data = bars(800, seed=2)
    told = probgen.attributes(fitted, data)
    known = data["attribute"].values
    assert told.dims == ("row", "factor")
    assert list(told["factor"].values) == ["height", "side"]
    assert agreement(known[:, 0], told.values[:, 0], 0) > 0.93
    assert agreement(known[:, 1], told.values[:, 1], 2) > 0.9
    held = fitted.groups["held_out"]
    assert set(held.data_vars) == {"r2_height", "accuracy_side"}
    valid = bars(500, seed=1)
    again = probgen.attributes(fitted, valid.drop_dims("factor"))
    assert float(held["r2_height"]) == pytest.approx(
        agreement(valid["attribute"].values[:, 0], again.values[:, 0], 0), rel=1e-5
    )


def test_probabilities_of_classes_are_those_of_the_network(fitted: probgen.Fitted) -> None:
    data = bars(50, seed=3)
    scores = probgen.score(fitted, data)
    assert list(scores["class"].values) == ["side 0", "side 1"]
    p = np.exp(scores["class_log_prob"].values)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.array_equal(p.argmax(1), scores["attribute"].sel(factor="side"))
    assert "log_prob" not in scores


def test_the_loss_is_that_of_what_is_known() -> None:
    """Against NumPy: half squares in deviations, and cross entropies, of known values alone, a row."""
    data = bars(40, missing=0.3)
    model = probgen.fit("attributes", data, **{**SMALL, "epochs": 1}, dtype="float64")
    module = model.module
    assert isinstance(module, Attributes)
    a = data["attribute"].values
    f = module.features(torch.from_numpy(data["x"].values))
    out = module.head(f).detach().numpy()
    known = ~np.isnan(a)
    loc, scale = np.nanmean(a[:, 0]), np.nanstd(a[:, 0])
    assert module.units.loc[0].item() == pytest.approx(loc, rel=1e-9)
    assert module.units.scale[0].item() == pytest.approx(scale, rel=1e-9)
    numbers = 0.5 * (out[:, 0] - (a[:, 0] - loc) / scale)[known[:, 0]] ** 2
    side = a[known[:, 1], 1].astype(int)
    classes = -log_softmax(out[known[:, 1], 1:], 1)[np.arange(len(side)), side]
    loss = module.loss(torch.from_numpy(data["x"].values), n=40, attribute=torch.from_numpy(a))["loss"]
    assert loss.item() == pytest.approx((numbers.sum() + classes.sum()) / 40, rel=1e-9)


def test_a_label_is_an_attribute_too() -> None:
    """A class, or the factors that make it; of rows whose label is not known the rest is learned."""
    data = bars(600)
    side = data["attribute"].values[:, 1].astype(int)
    high = (data["attribute"].values[:, 0] > 15).astype(int)
    x = data[["x"]].drop_vars("factor", errors="ignore")
    one = probgen.fit("attributes", x.assign(label=("row", np.where(np.arange(600) < 50, -1, side))), **SMALL)
    assert one.event.attributes == {"label": 2}
    two = probgen.fit(
        "attributes", x.assign(label=("row", 2 * high + side, {"levels": 4, "factors": "2 2"})), **SMALL
    )
    assert two.event.attributes == {"label_1": 2, "label_2": 2}
    told = probgen.attributes(two, x).values
    assert ((told[:, 0] == high) & (told[:, 1] == side)).mean() > 0.85
    assert (probgen.attributes(one, x).values[:, 0] == side).mean() > 0.9


def test_a_run_tells_as_the_fit_did(fitted: probgen.Fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.h5")
    data = bars(30, seed=4)
    again = probgen.attributes(tmp_path / "model.h5", data)
    assert again.equals(probgen.attributes(fitted, data))
    assert probgen.load(tmp_path / "model.h5").event == fitted.event


def test_attributes_do_not_draw(fitted: probgen.Fitted) -> None:
    with pytest.raises(NotOffered, match="sample"):
        probgen.sample(fitted)


# as conditions


def test_a_model_is_conditioned_on_a_class_among_the_attributes() -> None:
    data = bars(300)
    model = probgen.fit("vae", data, given=("side",), latent=2, hidden=(16,), epochs=150)
    assert model.event.given["side"].levels == 2
    plain = data.drop_dims("factor").assign(side=("row", data["attribute"].values[:, 1].astype(int)))
    same = probgen.fit("vae", plain, given=("side",), latent=2, hidden=(16,), epochs=150)
    assert model.state.equals(same.state)
    assert np.array_equal(probgen.score(model, data)["log_prob"], probgen.score(same, plain)["log_prob"])
    draws = probgen.sample(model, 50, given={"side": [0, 1]}, mean=True)["x"].values.mean(0)
    assert draws[0, :, :4].mean() > draws[0, :, 4:].mean() + 0.2
    assert draws[1, :, 4:].mean() > draws[1, :, :4].mean() + 0.2
    report = probgen.diagnose(model, data, n=60)
    assert "verdict" in report.attrs


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda d: d,
            {"given": ("height",)},
            "'height' is numeric, but a model can be conditioned only on classes.* side",
        ),
        (lambda d: d, {"given": ("sides",)}, "conditioned on 'sides', which is not in the data"),
        (lambda d: d.drop_vars("factor"), {"given": ("side",)}, "the names of factors as a coordinate"),
        (
            lambda d: d.assign_coords(factor=["side", "side"]),
            {"given": ("side",)},
            "must be different texts",
        ),
    ],
)
def test_conditions_that_cannot_be(change: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("vae", change(bars(40)), epochs=1, **options)


def test_a_class_that_is_not_known_is_no_condition() -> None:
    with pytest.raises(InputError, match=r"given 'side' is unknown .NaN. in row \d+"):
        probgen.fit("vae", bars(60, missing=0.2), given=("side",), epochs=1)


# what is wrong is said


def changed(value: float, column: int) -> xr.Dataset:
    data = bars(40)
    data["attribute"].values[3, column] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(2, 1), r"attribute 'side', row 3 = 2.0: must be a class from 0 to 1, or NaN"),
        (changed(0.5, 1), r"attribute 'side', row 3 = 0.5"),
        (changed(np.inf, 0), r"attribute 'height', row 3 = inf: must be a finite number"),
        (bars(40).drop_dims("factor"), "the data have no attributes"),
        (bars(40, missing=1.0), "attribute 'height': no row has a value"),
        (bars(40).rename(factor="kind"), r"\('row', 'factor'\) and the names"),
    ],
)
def test_attributes_that_cannot_be_learned(data: xr.Dataset, message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("attributes", data, **SMALL)


def test_other_attributes_than_those_of_the_fit_are_refused(fitted: probgen.Fitted) -> None:
    """More of them, and in another order, are as good."""
    data = bars(30)
    more = data.sel(factor=["side", "height", "side"]).assign_coords(factor=["side", "height", "again"])
    more["attribute"].attrs["levels"] = [2, 0, 2]
    assert probgen.attributes(fitted, more).equals(probgen.attributes(fitted, data))
    with pytest.raises(InputError, match=r"the model uses 'height', .*did you mean 'hight'"):
        probgen.score(fitted, data.assign_coords(factor=["hight", "side"]))
    other = bars(30)
    other["attribute"].attrs["levels"] = [0, 3]
    with pytest.raises(InputError, match="'side' has 3 classes, but the model was fitted to 2"):
        probgen.score(fitted, other)


def test_the_order_of_attributes_and_conditions_outlives_a_file(tmp_path: Path) -> None:
    """Names that are not in the order of the alphabet: heads and one-hot vectors stand in the order of the event."""
    data = bars(60).rename(factor="factor").assign_coords(factor=["tall", "side"])
    data = data.assign(
        b=("row", np.arange(60) % 4, {"levels": 4}), a=("row", np.arange(60) % 2, {"levels": 2})
    )
    teller = probgen.fit("attributes", data, **{**SMALL, "epochs": 1})
    vae = probgen.fit("vae", data, given=("b", "a"), latent=2, hidden=(8,), epochs=2)
    for model in (teller, vae):
        model.save(tmp_path / "model.h5")
        again = probgen.load(tmp_path / "model.h5")
        assert list(again.event.attributes) == list(model.event.attributes)
        assert list(again.event.given) == list(model.event.given)
        assert probgen.score(again, data).equals(probgen.score(model, data))


def test_a_class_that_is_none_is_refused_as_a_condition() -> None:
    with pytest.raises(InputError, match=r"side, row 3 = 0.5: must be 0 or 1"):
        probgen.fit("vae", changed(0.5, 1), given=("side",), epochs=1)


def test_rows_without_the_highest_class_are_told_and_judged_by() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=300)
    x = rng.standard_normal((300, 2)) + label[:, None]
    data = xr.Dataset({"x": (("row", "feature"), x), "label": ("row", label)})
    few = data.isel(row=np.flatnonzero(label < 2))
    model = probgen.fit("attributes", data, valid=few, hidden=8, epochs=2)
    other = few.assign(attribute=(("row", "factor"), few["x"].values[:, :1])).assign_coords(factor=["q"])
    for rows in (few, few[["x"]], other):
        assert probgen.attributes(model, rows).equals(probgen.attributes(model, few))


@pytest.mark.parametrize(("offset", "unit"), [(1e9, 1.0), (0.0, 1e-12), (-3e12, 1e3)])
def test_attributes_keep_their_digits(offset: float, unit: float) -> None:
    """Of any offset and unit the same is told, to 1e-6 deviations; too large ones are refused."""
    data = bars(200).isel(factor=[0])
    data["attribute"].attrs["levels"] = [0]
    plain = probgen.attributes(probgen.fit("attributes", data, **SMALL), data).values
    moved = data.assign(attribute=data["attribute"].copy(data=offset + unit * data["attribute"].values))
    told = probgen.attributes(probgen.fit("attributes", moved, **SMALL), moved).values
    np.testing.assert_allclose((told - offset) / unit, plain, atol=1e-3)
    large = data.assign(attribute=data["attribute"].copy(data=1e300 * data["attribute"].values))
    with pytest.raises(InputError, match="'height': its values are too large"):
        probgen.fit("attributes", large, **SMALL)


def test_columns_of_a_vector_count_whatever_their_units() -> None:
    x = np.random.default_rng(0).standard_normal((400, 2))
    for unit in (1.0, 1e4):
        data = xr.Dataset(
            {"x": (("row", "feature"), x * [unit, 1]), "attribute": (("row", "factor"), x[:, 1:])},
            {"factor": ["second"]},
        )
        model = probgen.fit("attributes", data, valid=data, steps=200, learning_rate=0.01)
        assert float(model.groups["held_out"]["r2_second"]) > 0.99


@pytest.mark.parametrize("shape", [(28, 1), (1, 5), (1, 1)])
def test_images_of_one_line_are_vectors(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, *shape))
    data = xr.Dataset({"x": (("row", "height", "width"), x), "label": ("row", rng.integers(2, size=40))})
    assert probgen.attributes(probgen.fit("attributes", data, steps=2), data).shape == (40, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(label=d.label + 0.5), "label, row 0 = .*must be a class from 0"),
        (lambda d: d.assign(label=d.label.astype(str)), "whole numbers"),
        (lambda d: d.assign(label=d.label - 2), "label, row"),
        (
            lambda d: d.assign(label=("row", d.label.values, {"factors": "2 x"})),
            "'2 x': must be numbers of classes",
        ),
        (lambda d: d.assign_coords(factor=[0, 1]).drop_vars("label"), "must be different texts"),
        (lambda d: d.drop_vars("label").assign(attribute=d.attribute.astype(str)), "numbers are required"),
    ],
)
def test_labels_and_names_that_are_none(change: Any, message: str) -> None:
    data = bars(40).assign(label=("row", np.arange(40) % 2))
    broken = change(data)
    broken = broken.drop_dims("factor") if "label" in broken else broken
    with pytest.raises(InputError, match=message):
        probgen.fit("attributes", broken, **SMALL)


def test_a_function_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'morphology'"):
        probgen.attributes("morpholgy", "digits")
    with pytest.raises(InputError, match="by = 3"):
        probgen.attributes(3, example("real"))  # type: ignore[arg-type]


def test_a_row_is_drawn_like_by_its_attributes() -> None:
    data = bars(80)
    model = probgen.fit("vae", data, given=("side",), latent=2, hidden=(8,), epochs=1)
    rows = data[["attribute"]].isel(row=slice(3))
    same = probgen.sample(model, given={"side": rows["attribute"].values[:, 1].astype(int)})
    assert probgen.sample(model, given=rows)["x"].equals(same["x"])


# computed of pixels


def stroke(length: float, width: float, slope: float = 0.0, side: int = 40) -> np.ndarray:
    """An upright bar, antialiased by 8 x 8 points a pixel, sheared so that its top leans by the slope."""
    p = (np.arange(8 * side) + 0.5) / 8 - side / 2
    y, x = p[:, None], p[None]
    inside = (np.abs(y) < length / 2) & (np.abs(x + slope * y) < width / 2)
    return inside.reshape(side, 8, side, 8).mean((1, 3))


@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
@pytest.mark.parametrize("slope", [0.0, 0.4, -0.3])
def test_the_shape_of_a_planted_stroke_is_found(width: float, slope: float) -> None:
    """Area and slant exactly, the height to 0.3 and the width to one pixel, thickness and length to 12 %."""
    length = 24.0
    found = {name: float(v[0]) for name, v in morphology(stroke(length, width, slope)[None]).items()}
    across = width / math.hypot(1, slope)  # of a sheared bar, at right angles to it
    assert found["area"] == pytest.approx(length * width, rel=0.01)
    assert found["slant"] == pytest.approx(slope, abs=0.02)
    assert found["height"] == pytest.approx(length, abs=0.3)
    assert found["thickness"] == pytest.approx(across, rel=0.12)
    assert found["length"] == pytest.approx(length * math.hypot(1, slope), rel=0.12)
    if slope == 0:
        assert found["width"] == pytest.approx(width, abs=1.01)


def test_fainter_ink_is_less_area_and_as_thick() -> None:
    strong, faint = (morphology(level * stroke(20, 4)[None]) for level in (1.0, 0.4))
    assert faint["area"] == pytest.approx(0.4 * strong["area"])
    assert faint["thickness"] == pytest.approx(strong["thickness"], rel=0.15)
    assert faint["width"] == pytest.approx(strong["width"])


def test_faint_cloth_has_an_intensity() -> None:
    """The mean of what is above a twentieth of the strongest pixel, on any ground."""
    x = np.zeros((2, 10, 10))
    x[0, 3:7, 3:7] = 0.03
    x[1] = 0.03
    x[1, 3:7, 3:7] = 0.8
    assert clothing(x)["intensity"] == pytest.approx([0.03, 0.8])


def test_symmetry_and_texture_of_planted_cloth() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((3, 20, 20))
    x[0, 5:15, 5:15] = 0.5
    x[1, 5:15, 5:15] = 0.5 + 0.2 * (np.indices((10, 10)).sum(0) % 2)  # a chequered one: all steps are 0.2
    x[2, 5:15, 10:20] = rng.random((10, 10)) * 0.1 + 0.5  # beside its mirror image
    found = clothing(x)
    assert found["symmetry"][0] == pytest.approx(1)
    assert found["symmetry"][2] < 0
    assert found["texture"][0] == pytest.approx(0)
    assert found["texture"][1] == pytest.approx(0.2 / 0.6)
    assert found["aspect"] == pytest.approx(np.ones(3), rel=0.05)
    assert found["intensity"][:2] == pytest.approx([0.5, 0.6])


def test_an_image_without_ink_has_no_shape() -> None:
    for function in (morphology, clothing):
        found = function(np.zeros((2, 9, 7)))
        assert all(np.isnan(values).all() for values in found.values())


def test_registered_functions_and_ones_of_your_own() -> None:
    digits = probgen.datasets.load("digits", "test")
    told = probgen.attributes("morphology", digits)
    assert list(told["factor"].values) == ["area", "thickness", "length", "slant", "width", "height"]
    area = digits["x"].values.sum((1, 2)) / 16
    np.testing.assert_allclose(told.sel(factor="area"), area)
    model = probgen.fit(
        "attributes", digits.assign(attribute=told), **SMALL
    )  # learned from what was computed
    assert list(model.event.attributes) == list(told["factor"].values)

    def left(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"left": x[:, :, :4].sum((1, 2))}

    assert float(probgen.attributes(left, digits)[5, 0]) == pytest.approx(
        digits["x"].values[5, :, :4].sum() / 16
    )
    with pytest.raises(PluginError, match="'few' returned 'a' of shape"):
        probgen.attributes(few, digits)
    with pytest.raises(InputError, match="attributes of pixels need gray images"):
        probgen.attributes("morphology", example("real"))


def few(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"a": x[:1, 0, 0]}


def test_a_model_that_tells_nothing_is_refused() -> None:
    model = probgen.fit("independent", example("real"))
    with pytest.raises(InputError, match="'independent' has no attributes: its score is log_prob"):
        probgen.attributes(model, example("real"))


def test_factors_of_data_without_attributes() -> None:
    assert factors_of(example("real")) == {}


class TestAttributes(FamilyLaws):
    family = "attributes"
    options = {"channels": (4,), "hidden": 8, "epochs": 2, "batch_size": 16}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return bars(60, missing=0.1)


class TestAttributesOfVectors(FamilyLaws):
    family = "attributes"
    options = {"hidden": 8, "steps": 4, "batch_size": 16}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        data = example("real")
        return data.assign(label=("row", (data["x"].values[:, 0] > 1).astype(int)))
