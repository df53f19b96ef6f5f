"""A decoder for each class, the swaps that it makes, and detectors of fakes: against answers that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import mannwhitneyu
from torch import Tensor

import probgen
from probgen.contract.event import Event
from probgen.contract.options import NoOptions
from probgen.errors import InputError, NotOffered
from probgen.evaluation.detection import area_under_curve, roc
from probgen.models.autoencoder import Autoencoder
from probgen.models.vae import VAE

SIDE = 8
LABEL = Event((), (), "token", 2)
IMAGE = Event(("height", "width"), (4, 4), "integer", 256, given={"label": LABEL})
SMALL: dict[str, Any] = {"latent": 3, "hidden": (5,), "given": ("label",), "conditioning": "decoders"}


# a decoder for each class


@pytest.mark.parametrize("pair_class", [Autoencoder, VAE])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_each_row_has_the_decoder_of_its_class_and_the_encoder_no_class(
    pair_class: Any, network: str
) -> None:
    """Weights of class 1 change rows of class 1 alone, in any order of rows; codes are those of any label."""
    pair = pair_class(pair_class.Options(network=network, **SMALL), IMAGE).eval()
    x = torch.randint(0, 256, (6, 4, 4)).float()
    label = torch.tensor([1, 0, 0, 1, 1, 0])
    with torch.no_grad():
        z = pair.encoded(x, label=label)["z"]
        assert torch.equal(z, pair.encoded(x, label=1 - label)["z"])
        before = pair.decode({"z": z, "label": label})
        order = torch.tensor([5, 3, 1, 0, 4, 2])
        again = pair.decode({"z": z[order], "label": label[order]})
        torch.testing.assert_close(again, before[order])
        for parameter in pair.decoder.each[1].parameters():
            parameter.add_(1)
        after = pair.decode({"z": z, "label": label})
    changed = (after != before).flatten(1).any(1)
    assert torch.equal(changed, label == 1)
    own = pair.decoder.each[0](z[label == 0])
    torch.testing.assert_close(pair.decoder(z, pair.context({"label": label}))[label == 0], own)


def test_a_batch_of_one_class_leaves_the_other_decoder_alone() -> None:
    pair = Autoencoder(Autoencoder.Options(**SMALL), IMAGE)
    x = torch.randint(0, 256, (6, 4, 4)).float()
    pair.loss(x, n=6, label=torch.zeros(6, dtype=torch.long))["loss"].backward()
    gradients = [torch.cat([p.grad.flatten() for p in d.parameters()]) for d in pair.decoder.each]  # type: ignore[union-attr]
    assert gradients[0].abs().max() > 0
    assert gradients[1].abs().max() == 0


@pytest.mark.parametrize(
    "given", [{}, {"label": LABEL, "other": LABEL}, {"label": Event(("feature",), (2,), "real")}]
)
def test_conditions_that_are_not_one_class_are_refused(given: dict[str, Event]) -> None:
    event = Event(("height", "width"), (4, 4), "integer", 256, given=given)
    options = Autoencoder.Options(**{**SMALL, "given": tuple(given) or ("label",)})
    with pytest.raises(InputError, match="one condition with classes"):
        Autoencoder(options, event)


# detectors


def test_the_area_is_that_of_mann_and_whitney_and_of_the_curve() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 9, 60).astype(float), rng.integers(2, 12, 40).astype(float)
    area, _ = area_under_curve(real, fake)
    assert area == pytest.approx(mannwhitneyu(fake, real).statistic / (60 * 40))
    alarms, found = roc(real, fake)
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(found, alarms) == pytest.approx(area)


def test_the_error_of_the_area_is_its_deviation() -> None:
    """Over 2,000 sets of 50 and 80 numbers, whose area is Phi(1 / sqrt(2)) = 0.760; to 5 %, of an error of 1.6 %."""
    rng = np.random.default_rng(1)
    each = np.array(
        [area_under_curve(rng.standard_normal(50), rng.standard_normal(80) + 1) for _ in range(2000)]
    )
    assert each[:, 0].mean() == pytest.approx(0.7602, abs=0.005)
    assert each[:, 1].mean() == pytest.approx(each[:, 0].std(), rel=0.05)


# the analysis, with a planted model


class Fixed(probgen.Pair):
    """A pair that learns nothing."""

    SampleOptions = NoOptions
    by_loss = False

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def learn(self, data: Any, run: Any) -> None:
        """Learn nothing."""

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Any:
        raise NotImplementedError


class Copying(Fixed):
    """z is x; class 1 is the negative of class 0 if `negative`, and both are x otherwise."""

    class Options(probgen.Options):
        given: tuple[str, ...] = ("label",)
        negative: bool = False

    latents = {"z": ("height", "width")}

    def _turned(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.where((label == 1)[:, None, None] & self.options.negative, 255 - x, x)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        return {"z": self._turned(x.float(), given["label"])}

    def way(self) -> Any:
        return {"x": lambda at: self._turned(at["z"], at["label"])}


class Noise(Fixed):
    """Samples of black and white pixels."""

    Options = NoOptions

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        return {"x": 255.0 * torch.randint(0, 2, (n, SIDE, SIDE))}


def blobs(n: int, seed: int) -> xr.Dataset:
    """Bright spots at random heights on gray; in class 1 the negatives of such images."""
    rng = np.random.default_rng(seed)
    height, label = rng.uniform(1, 6, n), rng.integers(0, 2, n)
    y, x = np.mgrid[:SIDE, :SIDE]
    spots = 60 + 150 * np.exp(-((y - height[:, None, None]) ** 2 + (x - 3.5) ** 2) / 3)
    spots = np.rint(spots + rng.uniform(-5, 5, spots.shape))
    spots = np.where(label[:, None, None] == 1, 255 - spots, spots)
    return xr.Dataset(
        {
            "x": (
                ("row", "height", "width"),
                spots.astype(np.uint8),
                {"support": "integer", "levels": 256},
            ),
            "label": ("row", label, {"levels": 2}),
        }
    )


def height(x: np.ndarray) -> dict[str, np.ndarray]:
    """The height of the spot, which a negative keeps."""
    off = np.abs(x - np.median(x, (1, 2), keepdims=True)) ** 2
    return {"height": (off.sum(2) * np.arange(SIDE)).sum(1) / off.sum((1, 2)), "nothing": x[:, 0, 0]}


TRAIN, TEST = blobs(1500, 0), blobs(500, 1)


def found(negative: bool, **options: Any) -> xr.Dataset:
    swap = probgen.fit(Copying, TRAIN, given=("label",), negative=negative)
    generators = {"noise": probgen.fit(Noise, TRAIN[["x"]])}
    wanted = {"generators": generators, "n": 1500, "rows": 500, **options}
    return probgen.analyze("fakes", swap, TEST, reference=TRAIN, **wanted)


def test_fakes_that_are_rows_are_missed_as_often_as_rows_are_passed() -> None:
    """No detector tells a row from itself; one of noise finds all noise (500 of 500) and nothing else."""
    told = found(False)
    assert float(told["misses_swap"]) == 1 - float(told["false_alarms"])
    np.testing.assert_array_equal(told["log_odds"].sel(source="swap"), told["log_odds"].sel(source="rows"))
    np.testing.assert_allclose(told["area"].sel(source="swap"), 0.5)
    assert float(told["misses_known"]) == 0
    assert float(told["area_known"]) == 1
    assert float(told["false_alarms"]) == 0
    low, high = (float(told[end].sel(detector="all others", source="rows")) for end in ("low", "high"))
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 500), rel=1e-3)  # Clopper and Pearson, 0 of 500
    assert float(told["as_target"]) <= 1 - float(told["as_own"]) + 1e-9  # a copy is of its own class


def test_a_swap_that_keeps_the_height_is_taken_for_the_other_class() -> None:
    told = found(True, scorer=height, keep=["height"])
    assert float(told["as_own"]) == float(told["as_own_rebuilt"]) == 1
    assert float(told["as_target"]) == 1
    assert float(told["kept_height"]) > 0.99
    assert float(told["kept_rebuilt_height"]) == 1
    assert list(told["factor"].values) == ["height"]
    np.testing.assert_array_equal(told["shown"][1], told["shown"][0])
    np.testing.assert_array_equal(told["shown"][2], 255 - told["shown"][0].astype(int))
    assert set(probgen.figures_of(told)) == {"swaps", "flagged", "roc"}


def test_what_cannot_be_measured_is_refused() -> None:
    swap = probgen.fit(Copying, TRAIN, given=("label",))
    with pytest.raises(InputError, match="the same rows"):
        probgen.analyze("fakes", swap, TEST, reference=TEST)
    few: dict[str, Any] = {"reference": TRAIN, "n": 20, "rows": 20}
    with pytest.raises(InputError, match="another meaning"):
        probgen.analyze("fakes", swap, TEST, generators={"swap": swap}, **few)
    other = probgen.fit(Noise, TRAIN[["x"]].isel(width=slice(4)))
    with pytest.raises(InputError, match="same rows"):
        probgen.analyze("fakes", swap, TEST, generators={"other": other}, **few)
    with pytest.raises(InputError, match="keep = 'age'"):
        probgen.analyze("fakes", swap, TEST, scorer=height, keep=["age"], **few)
    with pytest.raises(NotOffered):
        probgen.analyze("fakes", other, TEST, **few)
