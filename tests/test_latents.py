"""Ways through latent spaces and clusters of codes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from probgen import latents
from probgen.latents import path_length, separability


def test_ways_begin_and_end_where_they_should() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 7))
    for spherical in (False, True):
        way = latents.interpolate(a, b, 9, spherical=spherical)
        assert way.shape == (5, 9, 7)
        np.testing.assert_allclose(way[:, 0], a, atol=1e-12)
        np.testing.assert_allclose(way[:, -1], b, atol=1e-12)
    straight = latents.interpolate(a, b, 3)
    np.testing.assert_allclose(straight[:, 1], (a + b) / 2)


def test_a_spherical_way_keeps_its_length_and_pace() -> None:
    a, b = np.array([[2.0, 0, 0]]), np.array([[0, 2.0, 0]])
    way = latents.interpolate(a, b, 7, spherical=True)[0]
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 2)
    angles = np.degrees(np.arctan2(way[:, 1], way[:, 0]))
    np.testing.assert_allclose(angles, np.linspace(0, 90, 7), atol=1e-9)
    np.testing.assert_allclose(latents.interpolate(a, a, 3, spherical=True)[0], np.repeat(a, 3, 0))


def test_a_walk_stays_within_a_standard_normal() -> None:
    """After 30 steps from normal codes they are normal still: Kolmogorov-Smirnov, false-alarm rate 1e-6."""
    rng = np.random.default_rng(0)
    walk = latents.random_walk(rng.standard_normal((3000, 2)), 30, 0.5, rng)
    assert walk.shape == (3000, 30, 2)
    for axis in range(2):
        assert stats.kstest(walk[:, -1, axis], "norm").pvalue > 1e-6
    steps = np.diff(walk, axis=1)
    assert steps.std() == pytest.approx(np.sqrt(2 - 2 * np.sqrt(0.75)), rel=0.02)


def test_the_grid_is_one_of_quantiles() -> None:
    z = latents.grid(5, tail=0.1)
    assert z.shape == (25, 2)
    np.testing.assert_allclose(stats.norm.cdf(z[:5, 0]), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert (np.diff(z[::5, 1]) < 0).all()
    assert (z[:5, 1] == z[0, 1]).all()


def test_clusters_that_are_the_labels_under_other_names() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 200)
    z = np.eye(4)[label] * 10 + rng.standard_normal((200, 4))
    clusters = latents.cluster(z, 4, seed=3)
    assert latents.agreement(clusters, label) == {
        "cluster_accuracy": 1.0, "cluster_nmi": pytest.approx(1), "cluster_ari": pytest.approx(1),
    }  # fmt: skip
    assert (clusters == latents.cluster(z, 4, seed=3)).all()
    chance = latents.agreement(rng.integers(0, 4, 20_000), rng.integers(0, 4, 20_000))
    assert abs(chance["cluster_ari"]) < 0.01
    assert chance["cluster_accuracy"] == pytest.approx(0.25, abs=0.03)
    more = latents.agreement(np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1]))
    assert more["cluster_accuracy"] == pytest.approx(2 / 6)


def test_the_plane_of_codes() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((50, 5)) * [5, 0.1, 3, 0.1, 0.1]
    assert np.corrcoef(latents.plane(z)[:, 0], z[:, 0])[0, 1] ** 2 > 0.99
    assert latents.plane(z[:, :1]).shape == (50, 2)
    np.testing.assert_array_equal(latents.plane(z[:, :2]), z[:, :2])


def test_the_length_of_paths_through_a_linear_map_is_known() -> None:
    """Of a straight line |A (b - a)|^2; of a great circle (angle)^2 d where the map is orthogonal."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200, 6))
    A = rng.standard_normal((6, 9))
    straight = path_length(lambda c: c @ A, a, b)
    assert straight == pytest.approx(np.square((b - a) @ A).sum(1).mean(), rel=1e-9)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    u, v = (c / np.linalg.norm(c, axis=1, keepdims=True) for c in (a, b))
    angle = np.arccos((u * v).sum(1))
    curved = path_length(lambda c: c @ Q, a, b, spherical=True)
    assert curved == pytest.approx(6 * np.square(angle).mean(), rel=1e-3)


def test_separability_is_1_where_hyperplanes_tell_all_and_2_a_bit_that_they_do_not() -> None:
    """Planted hyperplanes; attributes that codes know nothing of, a bit each; both together."""
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((4000, 8))
    planes, noise = codes @ rng.standard_normal((8, 3)), rng.standard_normal((4000, 3))
    assert separability(codes, planes) < 1.1
    assert separability(codes, noise) == pytest.approx(8, rel=0.02)
    assert separability(codes, np.concatenate([planes, noise], 1)) == pytest.approx(8, rel=0.1)
    shifted = separability(1e3 + 1e-3 * codes, planes)
    assert shifted == pytest.approx(separability(codes, planes), rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_predictive_directions_of_a_linear_decoder_are_its_singular_vectors(scale: float) -> None:
    """x = A s + noise, with codes c = L s of any scale: the moves are L v_i, and the shares s_i^2 / sum."""
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.standard_normal((20, 3)))[0], np.linalg.qr(rng.standard_normal((3, 3)))[0]
    sizes, deviations = np.array([4.0, 2.0, 1.0]), np.array([3.0, 1.0, 0.5])
    s = rng.standard_normal((4000, 3))
    s = np.linalg.qr(s - s.mean(0))[0] * np.sqrt(len(s))  # white: of mean 0 and covariance 1 exactly
    moves, shares = latents.predictive(scale * s * deviations, s @ (u * sizes @ v).T + 5)
    np.testing.assert_allclose(shares, sizes**2 / (sizes**2).sum(), rtol=1e-6)
    wanted = v * deviations * scale
    signs = np.sign((moves * wanted).sum(1, keepdims=True))
    np.testing.assert_allclose(signs * moves, wanted, atol=1e-6 * scale)


def test_a_predictive_direction_without_effect_has_no_share() -> None:
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((400, 4))
    moves, shares = latents.predictive(codes, codes[:, :1])
    assert moves.shape == (4, 4)
    np.testing.assert_allclose(shares, [1, 0, 0, 0], atol=1e-12)
    assert abs(moves[0, 0]) == pytest.approx(codes[:, 0].std(), rel=0.05)
