"""Painted images: shapes against exact areas, rows that depend on nothing but their seed and number, factors that show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

import probgen
from probgen.datasets import faces, rooms
from probgen.datasets.canvas import Canvas, ellipse, polygon, rectangle
from probgen.datasets.scenes import BLOCK, Scene
from probgen.errors import InputError

SCENES = {"rooms": rooms.scene, "faces": faces.scene, "faces-uncorrelated": faces.uncorrelated}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> Scene:
    return SCENES[request.param]


def area(shape: object, box: tuple[float, float, float, float], side: int) -> float:
    """Of a white shape on black, as a share of the image."""
    canvas = Canvas(np.zeros((1, 3), np.float32), side)
    canvas.paint(shape, (1, 1, 1), box)  # type: ignore[arg-type]
    return float(canvas.x.mean())


@pytest.mark.parametrize("side", [16, 32, 100])
@pytest.mark.parametrize("offset", [0.0, 0.013, 0.4 / 16])
def test_the_area_of_a_shape_is_exact(side: int, offset: float) -> None:
    """To two pixels of a rectangle, whose corners alone are rounded, and of others to a thousandth and a pixel."""
    box = (0.2 + offset, 0.6 + offset, 0.3 + offset, 0.7 + offset)
    assert area(rectangle(*box), box, side) == pytest.approx(0.16, abs=2 / side**2)
    round_ = rectangle(*box, 0.1)
    assert area(round_, box, side) == pytest.approx(0.16 - (4 - math.pi) * 0.01, abs=2 / side**2)
    x, y = 0.4 + offset, 0.5 + offset
    oval = area(ellipse(x, y, 0.3, 0.2), (x - 0.3, x + 0.3, y - 0.2, y + 0.2), side)
    assert oval == pytest.approx(math.pi * 0.06, abs=1e-3 + 1 / side**2)
    slanted = polygon((x, 0.1), (x + 0.3, 0.5), (x, 0.9), (x - 0.3, 0.5))
    assert area(slanted, (x - 0.3, x + 0.3, 0.1, 0.9), side) == pytest.approx(0.24, abs=1e-3 + 1 / side**2)


def test_a_box_changes_nothing_but_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shape's box leaves out is what the shape leaves alone."""
    f = scene.factors(range(60))
    expected = scene.images(f, 24)
    monkeypatch.setattr(Canvas, "_pixel", lambda self, edge, least: 0 if least else self.side)
    assert np.array_equal(scene.images(f, 24), expected)


def test_a_row_depends_on_seed_and_number_alone(scene: Scene) -> None:
    f = scene.factors(range(2 * BLOCK + 10))
    part = scene.factors(range(BLOCK - 5, BLOCK + 9))
    assert all(np.array_equal(part[name], f[name][BLOCK - 5 : BLOCK + 9]) for name in f)
    other = scene.factors(range(10), seed=1)
    assert not any(np.array_equal(other[name], f[name][:10]) for name, n in scene.levels.items() if not n)


@pytest.mark.parametrize("side", [16, 33, 64])
def test_rows_have_the_same_bits_in_any_shard(scene: Scene, side: int) -> None:
    f = scene.factors(range(140))
    whole = scene.images(f, side)
    for size in (1, 7, 64, 100):
        parts = [scene.images({k: v[i : i + size] for k, v in f.items()}, side) for i in range(0, 140, size)]
        assert np.array_equal(np.concatenate(parts), whole), size


def test_each_factor_shows(scene: Scene) -> None:
    """From one end to the other every factor alone changes the image by 1/255 or more, on average over pixels."""
    f = scene.factors(range(200))
    for name, levels in scene.levels.items():
        ends = (0, levels - 1) if levels else (-1 if f[name].min() < 0 else 0, 1)
        low, high = (scene.images({**f, name: np.full(200, end, np.float32)}, 32).astype(int) for end in ends)
        assert np.abs(high - low).mean() >= 1, name


def test_factors_have_the_laws_that_are_said() -> None:
    """Uniform (Kolmogorov & Smirnov, false alarms 1e-6), independent or with the rank correlations of a Gaussian copula."""
    for name, scene in SCENES.items():
        f = scene.factors(range(20_000))
        for factor, levels in scene.levels.items():
            v = f[factor]
            if levels:
                share = 0.4 if factor == "glasses" else 1 / 3
                assert (v == levels - 1).mean() == pytest.approx(share, abs=0.02)
            elif factor == "beard":
                assert (v == 0).mean() == pytest.approx(0.55, abs=0.02)
            else:
                assert kstest((v + 1) / 2 if v.min() < 0 else v, "uniform").pvalue > 1e-6, factor
        wanted = faces.CORRELATED if name == "faces" else {}
        R = spearmanr(np.stack([*f.values()], 1)).statistic
        names = list(f)
        for i, a in enumerate(names):
            for j, b in enumerate(names[:i]):
                r = wanted.get((a, b), wanted.get((b, a), 0.0))
                if {"glasses", "beard"} & {a, b}:  # cut: the sign is left, and more than half of the size
                    assert abs(R[i, j]) < 0.03 if r == 0 else 0.5 * abs(r) < R[i, j] * np.sign(r) < abs(r)
                else:
                    assert R[i, j] == pytest.approx(6 / math.pi * math.asin(r / 2), abs=0.03), (a, b)


def test_two_people_differ_in_what_is_theirs_alone() -> None:
    """A row is one of two people; yaw, smile and ground are uniform (false alarms 1e-6) in the same way for both."""
    f = faces.two.factors(range(20_000))
    person = faces.person(f).astype(int)
    assert person.mean() == pytest.approx(0.5, abs=0.02)
    for name, values in faces.PEOPLE.items():
        np.testing.assert_array_equal(f[name], np.asarray(values, np.float32)[person])
    for name in ("yaw", "smile", "ground"):
        own, other = (
            (f[name][person == i] + 1) / 2 if name != "ground" else f[name][person == i] for i in (0, 1)
        )
        assert kstest(own, "uniform").pvalue > 1e-6
        assert kstest(own, other).pvalue > 1e-6
    data = faces.two.dataset({name: v[:50] for name, v in f.items()}, 16)
    np.testing.assert_array_equal(data["label"], person[:50])
    assert data["label"].attrs["levels"] == 2


def test_data_sets_by_name() -> None:
    data = probgen.datasets.load("rooms", "valid", size=16)
    assert data["x"].shape == (2000, 3, 16, 16)
    assert data["x"].dtype == np.uint8
    assert data["attribute"].dims == ("row", "factor")
    assert data["attribute"].attrs["levels"] == list(rooms.LEVELS.values())
    assert list(data["factor"].values) == list(rooms.LEVELS)
    view, light = data["attribute"].sel(factor=["view", "light"]).values.T
    assert view.min() < -0.9 < 0.9 < view.max()
    category = data["attribute"].sel(factor="category").values
    assert np.array_equal(data["label"].values, 2 * category + (light > 0.5))
    again = probgen.datasets.load("rooms", "valid", size=16)
    assert data.identical(again)
    test = probgen.datasets.load("rooms", "test", size=16)
    assert not np.array_equal(test["x"].values[:2000], data["x"].values)


@pytest.mark.parametrize(
    ("size", "said"), [(8, "must be from 16 to 128"), ((16, 32), "square"), (200, "from 16 to 128")]
)
def test_sizes_that_are_not_painted_are_refused(size: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        probgen.datasets.load("faces", "valid", size=size)  # type: ignore[arg-type]
