"""Boundaries, edits, re-scoring and directions, held against a generator of which everything is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.svm import SVC

from probgen import latents
from probgen.errors import InputError
from tests.planted import Planted


def unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


def cosines(condition: float, n: int, method: str, worlds: int = 5) -> np.ndarray:
    """Of found normals and planted directions."""
    found = []
    for seed in range(worlds):
        world = Planted(seed, condition=condition)
        w, y = world.drawn(n)
        b = latents.boundaries(w, y, method=method, held_out=0.02)  # type: ignore[arg-type]
        found.append(np.abs((b.normal * unit(world.q)).sum(1)))
    return np.concatenate(found)


@pytest.mark.parametrize(("condition", "n", "least"), [(1, 1000, 0.985), (10, 5000, 0.98)])
def test_planted_directions_are_found_and_better_than_by_extremes(
    condition: float, n: int, least: float
) -> None:
    ours = cosines(condition, n, "least-squares").mean()
    assert ours >= least
    assert ours > cosines(condition, n, "logistic").mean() > cosines(condition, n, "svm").mean()


def test_normals_are_those_of_their_methods() -> None:
    """Least squares by the normal equations; a support vector machine of 2 % extremes as InterFaceGAN fits it, in a space of its own."""
    world = Planted(0, d=8)
    w, y = world.drawn(2000)
    X, t = w - w.mean(0), y[:, 0] - y[:, 0].mean()
    ours = latents.boundaries(w, y).normal[0]
    np.testing.assert_allclose(ours, unit(np.linalg.solve(X.T @ X, X.T @ t)), atol=1e-10)
    ends = np.argsort(y[:, 0])[np.r_[0:40, -40:0]]
    machine = SVC(kernel="linear").fit(w[ends], np.repeat([0, 1], 40))
    np.testing.assert_allclose(
        latents.boundaries(w, y, method="svm").normal[0],
        unit(machine.coef_[0]),
        atol=1e-3,  # its solver stops there
    )


def test_the_accuracy_is_that_of_the_side_told() -> None:
    """Score and code jointly normal with correlation r: 1/2 + arcsin(r) / pi. Extremes are told better than the middle."""
    rng = np.random.default_rng(0)
    r, n = 0.8, 40_000
    c = rng.standard_normal((n, 3))
    y = r * c[:, :1] + np.sqrt(1 - r**2) * rng.standard_normal((n, 1))
    b = latents.boundaries(c, y)
    assert b.accuracy[0] == pytest.approx(
        0.5 + np.arcsin(r) / np.pi, abs=4 * 0.5 / np.sqrt(12_000)
    )  # 4 errors: 6e-5
    assert b.r2[0] == pytest.approx(r**2, abs=0.02)
    assert b.accuracy_extremes[0] > b.accuracy[0] > b.accuracy_middle[0] > 0.6
    assert abs(b.offset[0]) < 0.03
    assert b.deviation[0] == pytest.approx(1, abs=0.02)


def test_a_boundary_of_nothing_is_said_to_be_chance() -> None:
    """1 % of 400 attributes that codes tell nothing of are called, within what a binomial allows at 1e-6; real ones all."""
    rng = np.random.default_rng(0)
    c = rng.standard_normal((800, 6))
    b = latents.boundaries(c, rng.standard_normal((800, 400)))
    assert (~b.chance).sum() <= binom.isf(1e-6, 400, 0.01)
    assert not latents.boundaries(c, c + 2 * rng.standard_normal(c.shape)).chance.any()


def test_sides_of_classes_are_those_of_the_middle_that_is_named() -> None:
    """A class of a tenth of the rows: as many codes lie above as rows have it, and both sides count alike."""
    rng = np.random.default_rng(0)
    c = rng.standard_normal((20_000, 4))
    y = (c[:, 1] + 0.1 * rng.standard_normal(20_000) > 1.2816).astype(float)[:, None]
    b = latents.boundaries(c, y, middle=np.array([0.5]))
    assert b.offset[0] == pytest.approx(1.2816, abs=0.05)
    assert b.accuracy[0] > 0.93
    assert not b.chance[0]


def test_codes_with_layers_that_are_equal_have_the_boundary_of_one_layer() -> None:
    """What a style-based generator has: w in every layer. The move of a deviation is the same in each."""
    world = Planted(3, d=16)
    w, y = world.drawn(3000)
    one, all_ = latents.boundaries(w, y), latents.boundaries(world.styles(w).astype(np.float32), y)
    for k in range(6):
        move = (all_.normal[k] * all_.deviation[k]).reshape(8, 16)
        np.testing.assert_allclose(move, np.repeat((one.normal[k] * one.deviation[k])[None], 8, 0), atol=1e-5)
    np.testing.assert_allclose(one.accuracy, all_.accuracy, atol=1e-12)


def test_what_is_held_by_planted_directions_does_not_move() -> None:
    world = Planted(0, cosine=0.6, condition=4, noise=0.0)
    t = world.codes(300)
    base = world.seen(world.styles(t))
    S = world.M @ world.M.T
    for k in range(6):
        others, n = np.delete(world.q, k, 0), unit(world.q[k])
        for direction in (latents.project(n, others), latents.gentle(n, others, S)):
            move = latents.step(n, 1.0, direction)
            changed = np.abs(world.seen(world.styles(latents.edit(t, move, 2))) - base).max(0)
            assert np.delete(changed, k).max() < 1e-10
            assert changed[k] > 0.5


def test_what_is_held_by_found_directions_hardly_moves() -> None:
    """Five others of pairwise cosine 0.6, of 5,000 codes: on average 0.02 of the edited change, of which 0.75 is kept."""
    moved, kept = [], []
    for seed in range(4):
        world = Planted(seed, cosine=0.6, condition=4)
        b = latents.boundaries(*world.drawn(5000))
        t, world.noise = world.codes(500), 0.0
        base = world.seen(world.styles(t))
        for k in range(6):
            ways = b.normal[k], latents.project(b.normal[k], np.delete(b.normal, k, 0))
            alone, held = (
                (world.seen(world.styles(latents.edit(t, 2 * (t @ v).std() * v, 1))) - base).mean(0)
                for v in ways
            )
            moved.append(np.abs(np.delete(held, k)).mean() / abs(held[k]))
            kept.append(held[k] / alone[k])
    assert np.mean(moved) <= 0.02
    assert max(moved) <= 0.035
    assert np.mean(kept) >= 0.75


def test_the_gentle_move_is_the_shortest_of_all_that_hold() -> None:
    """Against a solver of the quadratic program with equality constraints, through its KKT system."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((7, 7))
    S, n, H = A @ A.T, rng.standard_normal(7), rng.standard_normal((2, 7))
    constraints = np.vstack([n, H])
    system = np.block([[np.linalg.inv(S), constraints.T], [constraints, np.zeros((3, 3))]])
    shortest = np.linalg.solve(system, np.r_[np.zeros(7), 1, 0, 0])[:7]
    np.testing.assert_allclose(latents.gentle(n, H, S), unit(shortest), atol=1e-9)
    np.testing.assert_allclose(latents.gentle(n, np.zeros((0, 7)), S), unit(S @ n), atol=1e-12)
    # held ones that depend on one another count once
    np.testing.assert_allclose(latents.gentle(n, np.vstack([H, H.sum(0)]), S), unit(shortest), atol=1e-8)


def test_a_step_is_one_deviation_whatever_is_held() -> None:
    world = Planted(1, d=12, cosine=0.5, condition=3)
    w, y = world.drawn(2000)
    b = latents.boundaries(w, y)
    for direction in (b.normal[0], latents.project(b.normal[0], b.normal[1:3])):
        move = latents.step(b.normal[0], b.deviation[0], direction)
        moved = latents.edit(w, move, -1.5) @ b.normal[0] - w @ b.normal[0]
        np.testing.assert_allclose(moved, -1.5 * b.deviation[0], rtol=1e-9)
    each = np.linspace(0, 1, len(w))
    moved = latents.edit(w, move, each) @ b.normal[0] - w @ b.normal[0]
    np.testing.assert_allclose(moved, each * b.deviation[0], atol=1e-9)


def test_edits_stay_in_their_layers() -> None:
    codes = np.zeros((2, 5, 3), dtype=np.float32)
    moved = latents.edit(codes, np.ones((5, 3)), 2, slice(1, 3))
    assert moved.dtype == np.float32
    assert (moved[:, 1:3] == 2).all()
    assert not moved[:, [0, 3, 4]].any()


def test_styles_are_mixed_by_layers() -> None:
    a, b = np.zeros((2, 5, 3)), np.ones((2, 5, 3))
    mixed = latents.mix(a, b, slice(3, 5))
    assert (mixed[:, 3:] == 1).all()
    assert not mixed[:, :3].any()
    with pytest.raises(InputError, match="have 5 layers"):
        latents.mix(a, b, slice(3, 9))


def test_planted_layers_are_found_and_no_others_called() -> None:
    """Of 12 worlds every layer is found. Nulls: 24, each a false alarm at 2.5 % at most; more than 5 would have a chance of 1e-5."""
    found = called = 0
    for seed in range(12):
        world = Planted(100 + seed, d=32, cosine=0.3, condition=4, noise=0.5, null=2)
        b = latents.boundaries(*world.drawn(4000))
        styles, among = world.styles(world.codes(400)), world.styles(world.codes(2000))
        r = latents.rescore(world.seen, styles, world.ways(b.normal), among=among, seed=seed)
        found += (r.layer[:6] == world.layer).sum()
        called += (r.layer[6:] >= 0).sum()
    assert found == 72
    assert called <= 5


def test_of_two_layers_the_heavier_comes_first() -> None:
    first = third = 0
    for seed in range(6):
        world = Planted(500 + seed, d=32, attributes=4, cosine=0.3, condition=4, noise=0.5, spread=(0.8, 0.6))
        b = latents.boundaries(*world.drawn(4000))
        styles, among = world.styles(world.codes(400)), world.styles(world.codes(2000))
        r = latents.rescore(world.seen, styles, world.ways(b.normal), among=among, seed=seed)
        first += (r.layer == world.layer).sum()
        third += sum(np.delete(r.called[k], [world.layer[k], world.layer[k] + 1]).any() for k in range(4))
    assert first == 24
    assert third <= 4


def test_effects_are_means_of_pairs_and_higan_s_statistic_has_no_null() -> None:
    """A score that is noise alone: its effects are within their errors of 0, and the rectified mean is half a deviation and more."""
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((400, 3, 4))

    def seen(c: np.ndarray) -> np.ndarray:
        return np.stack([c[:, 1, 0], rng.standard_normal(len(c))], 1)

    moves = np.zeros((2, 3, 4))
    moves[0, :, 0] = 1
    moves[1, :, 1] = 1
    r = latents.rescore(seen, codes, moves, random=19)
    # a length of 2, of which each of the three independent layers has a share
    assert r.effect[0, 1, 0] == pytest.approx(2 / np.sqrt(3) / codes[:, 1, 0].std(), rel=0.05)
    assert r.effect[0, 0, 0] == 0
    assert (np.abs(r.effect[1, :, 1]) < 5 * r.error[1, :, 1]).all()
    assert (r.rectified[1, :, 1] > 0.5).all()
    assert list(r.layer) == [1, -1]
    assert r.random.shape == (19, 3, 2)


def test_directions_without_labels() -> None:
    """Components of planted variances; the weights of a linear layer, by themselves and through what the layer makes."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    codes = rng.standard_normal((20_000, 6)) * [4, 3, 2, 1, 1, 1] @ Q.T
    axes, deviations = latents.principal(codes, 3)
    assert np.abs((axes * Q.T[:3]).sum(1)).min() > 0.999
    np.testing.assert_allclose(deviations, [4, 3, 2], rtol=0.03)
    A = rng.standard_normal((9, 6))
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    by_weights = latents.factorized([A], 4)
    by_images, change = latents.sensitive(lambda c: c @ A.T, codes[:30], 4)
    np.testing.assert_allclose(np.abs((by_weights * by_images).sum(1)), 1, atol=1e-8)
    np.testing.assert_allclose(change, np.linalg.svd(A)[1][:4], rtol=1e-8)


def test_measures_of_codes_whose_truth_is_known() -> None:
    rng = np.random.default_rng(0)
    n, k = 4000, 6
    f = rng.random((n, k))
    c = (f - 0.5) * np.sqrt(12)
    permuted = np.c_[-c[:, ::-1], rng.standard_normal((n, 4))]
    rotated, noise = c @ np.linalg.qr(rng.standard_normal((k, k)))[0], rng.standard_normal((n, 10))
    doubled = np.repeat(c, 2, 1) + 0.1 * rng.standard_normal((n, 2 * k))
    for codes in (c, permuted):
        assert min(latents.dci(codes, f)) >= 0.95
        assert latents.mig(codes, f) >= 0.95
        assert latents.sap(codes, f) >= 0.95
    assert latents.mig(rotated, f) <= 0.15
    assert latents.dci(rotated, f).disentanglement <= 0.3
    assert latents.dci(rotated, f).informativeness >= 0.99
    assert max(*latents.dci(noise, f), latents.mig(noise, f), latents.sap(noise, f)) <= 0.02
    D, C, informativeness = latents.dci(doubled, f)
    assert min(D, informativeness) >= 0.95
    assert abs(C - (1 - np.log(2) / np.log(2 * k))) < 0.02  # two of twelve dimensions alike
    assert max(latents.mig(doubled, f), latents.sap(doubled, f)) <= 0.02


def test_the_information_gap_is_the_one_of_closed_forms() -> None:
    """A factor of four values, a code that tells two pairs of them apart and one that tells nothing: ln 2 of ln 4."""
    f = np.repeat([0, 1, 2, 3], 1000)
    codes = np.stack([f // 2, np.tile([0, 1], 2000)], 1).astype(float)
    assert latents.mig(codes, f[:, None]) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, y: (c[:5], y[:5]), "Use more codes"),
        (lambda c, y: (c, np.c_[y[:, 0], np.ones(len(y))]), "'b': it is 1 for every sample"),
        (lambda c, y: (c * np.nan, y), "finite"),
        (lambda c, y: (c, y[:-1]), "Use the shape"),
        (lambda c, y: (c * 0, y), "all codes are equal"),
        (lambda c, y: (c[:2], y[:2]), "at least 4"),
    ],
)
def test_codes_that_say_nothing_are_refused(change, said: str) -> None:
    rng = np.random.default_rng(0)
    c, y = change(rng.standard_normal((50, 4)), rng.standard_normal((50, 2)))
    with pytest.raises(InputError, match=said):
        latents.boundaries(c, y, names=["a", "b"])


def test_moves_that_cannot_be_are_refused() -> None:
    codes = np.zeros((3, 4))
    n = np.array([1.0, 0, 0, 0])
    with pytest.raises(InputError, match="Hold fewer"):
        latents.project(n, np.eye(4))
    with pytest.raises(InputError, match="Hold fewer"):
        latents.gentle(n, np.eye(4), np.eye(4))
    with pytest.raises(InputError, match="does not change the attribute"):
        latents.step(n, 1.0, np.array([0, 1.0, 0, 0]))
    with pytest.raises(InputError, match="have no layers"):
        latents.edit(codes, n, 1, slice(0, 1))
    with pytest.raises(InputError, match="have 4 layers"):
        latents.edit(np.zeros((3, 4, 2)), np.ones((4, 2)), 1, slice(7, 9))
    with pytest.raises(InputError, match="no layers"):
        latents.rescore(lambda c: c, codes, n[None])
    with pytest.raises(InputError, match="codes vary in"):
        latents.principal(np.random.default_rng(0).standard_normal((10, 4)), 5)


def test_a_slope_is_the_gradient_of_a_planted_surface() -> None:
    """Codes of three scales that lie in a subspace; scores bad in the middle of one axis: moves go out, on either side, and hold what is held."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((8000, 5))
    spread = np.array([3.0, 2.0, 1.0, 1.0, 0.5])
    basis = np.linalg.qr(rng.standard_normal((9, 9)))[0][:5]
    codes = white * spread @ basis + 4
    bad = -np.square(white[:, 0]) + 0.2 * rng.standard_normal(8000)
    slope = latents.Slope(codes, bad)
    at = np.array([[0.5, 1, 0, 0, 0], [-0.5, 1, 0, 0, 0]]) * spread @ basis + 4
    down = slope.down(at, np.zeros((0, 9)))
    expected = np.array([[1.0], [-1.0]]) * spread[0] * basis[0]
    np.testing.assert_allclose(down, expected, atol=0.2)
    assert 1 - np.square(bad - slope.predict(codes)).mean() / bad.var() > 0.95
    held = slope.down(at, basis[:1])
    np.testing.assert_allclose(held @ basis[0], 0, atol=1e-9)
    white_length = np.linalg.norm((down @ basis.T) / spread, axis=1)
    np.testing.assert_allclose(white_length, 1, atol=0.02)
    space = latents.Whitened(codes)
    moves = space.random(20, rng)
    np.testing.assert_allclose(np.linalg.norm((moves @ basis.T) / spread, axis=1), 1, atol=0.05)
    np.testing.assert_allclose(space.lengths(3 * moves), 3, rtol=1e-9)
    with pytest.raises(InputError, match="Hold fewer"):
        slope.down(at, basis)


def test_a_move_that_is_long_where_others_are_held_calls_no_layer() -> None:
    """An even score, of which no direction tells: moves of all attributes and of random directions have one length."""
    called = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        codes = np.repeat(rng.standard_normal((1500, 1, 8)), 4, 1)
        told = np.c_[codes[:, 0, :6], np.square(codes[:, 0]).sum(1)] + 0.1 * rng.standard_normal((1500, 7))
        b = latents.boundaries(codes, told)
        S = np.cov(codes.reshape(1500, -1).T)
        moves = np.stack(
            [10 * latents.gentle(n, np.delete(b.normal, k, 0), S) for k, n in enumerate(b.normal)]
        )

        def seen(c: np.ndarray) -> np.ndarray:
            w = c.mean(1)
            return np.c_[w[:, :6], np.square(w).sum(1)]

        r = latents.rescore(seen, codes[:200], moves, among=codes, seed=seed)
        called += int(r.layer[6] >= 0)
    assert called <= 4  # of 20 at 2.5 % each more have a chance of 1e-4


@pytest.mark.parametrize("share", [0.2, 0.5, 0.6, 0.9])
def test_a_class_of_most_rows_is_told_as_one_of_few_is(share: float) -> None:
    c = np.random.default_rng(0).standard_normal((4000, 4))
    y = (c[:, :1] < np.quantile(c[:, 0], share)).astype(float)
    b = latents.boundaries(c, y)
    assert b.accuracy[0] > 0.9
    assert not b.chance[0]
    np.testing.assert_allclose(b.accuracy, latents.boundaries(c, -y).accuracy, atol=0.02)


def test_what_is_held_may_be_much_smaller_than_others() -> None:
    scale = np.array([1, 1e-5, 1])
    R = np.array([[1, 0.9, 0], [0.9, 1, 0.3], [0, 0.3, 1.0]])
    S = R * scale[:, None] * scale
    d = latents.gentle(np.array([1.0, 0, 0]), np.eye(3)[1:], S)
    assert abs(d[1]) < 1e-9 * scale[1] * 1e3
    assert abs(d[2]) < 1e-9
