"""Codes of what is seen: least squares of rows, degradations, inversion, several codes, and the analyses over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from probgen.errors import InputError
from probgen.evaluation.pictures import harmonic
from probgen.inference import degradations, inversion
from probgen.inference.inversion import Comparison, Domain, Held, invert, multi_code, nearest
from probgen.inference.least_squares import Search, least_squares

GAUSS_NEWTON = Search("gauss-newton", steps=10)


class Linear:
    """x = W z + b, by maps m = V z of 3 channels: x = U m + b."""

    def __init__(self, seed: int = 0, latent: int = 5, pixels: int = 40):
        g = torch.Generator().manual_seed(seed)
        self.V = torch.randn(3 * 4, latent, generator=g, dtype=torch.float64)
        self.U = torch.randn(pixels, 3 * 4, generator=g, dtype=torch.float64)
        self.b = torch.randn(pixels, generator=g, dtype=torch.float64)
        self.z = torch.randn(7, latent, generator=g, dtype=torch.float64)
        self.domain = Domain.of("z", torch.randn(500, latent, generator=g, dtype=torch.float64))

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        maps = start["maps"] if "maps" in start else (start["z"] @ self.V.T).unflatten(1, (3, 4))
        if until == "maps":
            return maps
        return maps.flatten(1) @ self.U.T + self.b

    @property
    def x(self) -> Tensor:
        return self.decode({"z": self.z})


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


# least squares


def test_gauss_newton_is_the_solution_of_the_normal_equations() -> None:
    """Of a linear problem with noise, row by row, as NumPy solves it."""
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((30, 6)), rng.standard_normal((9, 30))
    u, loss = least_squares(
        lambda u: u @ torch.tensor(A).T - torch.tensor(b),
        torch.zeros(9, 6, dtype=torch.float64),
        GAUSS_NEWTON,
    )
    expected = np.linalg.lstsq(A, b.T, rcond=None)[0].T
    np.testing.assert_allclose(u.numpy(), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(loss.numpy(), np.square(expected @ A.T - b).sum(1), rtol=1e-9)


@pytest.mark.parametrize("search", [Search(steps=60), Search("gauss-newton", steps=8)])
def test_rows_do_not_see_one_another(search: Search) -> None:
    """Rosenbrock's valley from several starts: together and one by one."""

    def r(u: Tensor) -> Tensor:
        return torch.stack([10 * (u[:, 1] - u[:, 0] ** 2), 1 - u[:, 0]], 1)

    starts = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    together, _ = least_squares(r, starts, search)
    alone = torch.cat([least_squares(r, start[None], search)[0] for start in starts])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


def test_gauss_newton_follows_a_curved_valley() -> None:
    u, loss = least_squares(
        lambda u: torch.stack([10 * (u[:, 1] - u[:, 0] ** 2), 1 - u[:, 0]], 1),
        torch.tensor([[-1.2, 1.0]], dtype=torch.float64),
        Search("gauss-newton", steps=60),
    )
    torch.testing.assert_close(u, torch.ones_like(u), rtol=1e-8, atol=1e-8)
    assert loss < 1e-16


@pytest.mark.parametrize("search", [Search(steps=5), Search(steps=5, noise=0.5), GAUSS_NEWTON])
def test_a_row_at_its_minimum_stays_there(search: Search) -> None:
    start = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    u, loss = least_squares(lambda u: u - start[:1], start, search)
    assert torch.equal(u[0], start[0])
    assert loss[0] == 0
    assert loss[1] < 5


def test_noise_ends_after_three_quarters_of_the_steps() -> None:
    """u + noise is what r is asked for, and for the last quarter u itself: the same from step to step where nothing pulls."""
    asked: list[Tensor] = []

    def r(u: Tensor) -> Tensor:
        asked.append(u.detach().clone())
        return u * 0

    least_squares(r, torch.zeros(1, 3), Search(steps=40, noise=1.0))
    moved = [bool(u.any()) for u in asked]
    assert moved == [False] + [True] * 30 + [False] * 11


@pytest.mark.parametrize("factor", [1.0, 1e-3, 100.0])
def test_the_unit_of_residuals_does_not_matter_to_gauss_newton(factor: float) -> None:
    _, loss = least_squares(
        lambda u: factor * torch.stack([10 * (u[:, 1] - u[:, 0] ** 2), 1 - u[:, 0]], 1),
        torch.tensor([[-1.2, 1.0]], dtype=torch.float64),
        Search("gauss-newton", steps=40),
    )
    assert loss < 1e-20 * factor**2


def test_noise_is_of_the_seed_and_of_each_row() -> None:
    """Whatever the global generator is at, and however rows are split."""
    world = Linear()
    found = []
    for at_once, seed, surrounding in ((7, 0, 1), (2, 0, 2), (7, 1, 1)):
        torch.manual_seed(surrounding)
        before = torch.get_rng_state()
        search = Search(steps=12, noise=0.3, seed=seed)
        found.append(invert(world.decode, world.x, world.domain, search=search, at_once=at_once).codes)
        assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_what_has_no_gradient_is_refused() -> None:
    with pytest.raises(InputError, match="no gradient"):
        least_squares(lambda u: torch.ones(1, 2), torch.zeros(1, 2), Search())


# degradations, against NumPy


def image(seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 12)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape)


def of(degradation: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(degradation(torch.from_numpy(x)).numpy())


def test_degradations_are_what_they_say() -> None:
    x = image()
    np.testing.assert_allclose(
        of(degradations.gray, x)[:, 0], 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    )
    np.testing.assert_allclose(of(degradations.shrink(4), x), x.reshape(2, 3, 2, 4, 3, 4).mean((3, 5)))
    np.testing.assert_allclose(
        of(degradations.shrink(2), x[:, 0]), x[:, 0].reshape(2, 4, 2, 6, 2).mean((2, 4))
    )
    blurred = gaussian_filter(x, (0, 0, 0.8, 0.8), mode="mirror", truncate=3 / 0.8)
    np.testing.assert_allclose(of(degradations.blur(0.8), x), blurred, rtol=1e-12)
    known = np.random.default_rng(1).random((3, 8, 12)) < 0.5
    np.testing.assert_array_equal(
        of(degradations.mask(torch.from_numpy(known)), x), np.where(known, x, np.nan)
    )
    nearest_level = np.array([0, 85, 170, 255])[np.abs(x[..., None] - np.array([0, 85, 170, 255])).argmin(-1)]
    np.testing.assert_allclose(of(degradations.quantize(4), x), nearest_level)
    np.testing.assert_allclose(of(degradations.quantize(4), x + 300), 255)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda x: degradations.shrink(5)(x), "8 x 12 cannot be shrunk by 5"),
        (lambda x: degradations.shrink(1), "factor = 1"),
        (lambda x: degradations.gray(x[:, :2]), "3 colors"),
        (lambda x: degradations.blur(0.0), "above 0"),
        (lambda x: degradations.blur(3.0)(x), "too much"),
        (lambda x: degradations.mask(torch.ones(3, 8, 8, dtype=torch.bool))(x), "3 x 8 x 8, x is 3 x 8 x 12"),
        (lambda x: degradations.quantize(1), "levels = 1"),
        (lambda x: degradations.quantize(2, 1.0, 1.0), "above low"),
        (lambda x: degradations.shrink(2)(x.flatten(1)), "of images"),
        (lambda x: degradations.gray(x.long()), "real numbers"),
        (lambda x: degradations.blur(1.0)(x.to(torch.uint8)), "real numbers"),
        (lambda x: degradations.blur(1e9)(x), "too much"),
        (lambda x: degradations.blur(float("inf")), "above 0"),
        (lambda x: degradations.mask(np.zeros((3, 8, 12))), "hides everything"),
        (lambda x: degradations.checked(torch.round, x), "no gradient"),
        (lambda x: degradations.checked(lambda x: x.detach(), x), "no gradient"),
        (lambda x: degradations.checked(lambda x: x[:1], x), "as many rows"),
    ],
)
def test_what_cannot_be_degraded_is_one_line(made: Any, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        made(torch.from_numpy(image()))
    assert "\n" not in str(caught.value)


def test_every_degradation_passes_the_check_of_gradients() -> None:
    """`quantize` too, whose gradient is that of x; also of an image that is black."""
    known = torch.ones(3, 8, 12, dtype=torch.bool)
    known[:, 2:4] = False
    every = [
        degradations.whole, degradations.gray, degradations.mask(known), degradations.shrink(2), degradations.blur(0.5),
        degradations.quantize(3),
    ]  # fmt: skip
    for x in (image(), np.zeros((2, 3, 8, 12))):
        for degradation in every:
            assert degradations.checked(degradation, torch.from_numpy(x)).shape[0] == 2


# inversion of a planted generator


def test_a_planted_linear_generator_is_inverted_to_ten_digits() -> None:
    world = Linear()
    found = invert(world.decode, world.x, world.domain, search=GAUSS_NEWTON)
    assert relative(found.x, world.x) < 1e-10
    assert relative(found.codes, world.z) < 1e-9
    assert (found.error < 1e-18).all()
    near = invert(world.decode, world.x, world.domain, search=Search(steps=600, schedule="cosine"))
    assert relative(near.x, world.x) < 1e-4


def test_what_is_hidden_is_restored_where_the_generator_determines_it() -> None:
    """Half of 40 pixels of a generator of 5 dimensions; NaN, a mask, and any callable say the same."""
    world = Linear()
    known = torch.arange(40) % 2 == 0
    hidden = torch.where(known, world.x, torch.nan)
    for seen, degradation in (
        (hidden, degradations.whole),
        (hidden, degradations.mask(known)),
        (world.x[:, known], lambda x: x[:, known]),
    ):
        found = invert(
            world.decode, seen, world.domain, comparison=Comparison(degradation), search=GAUSS_NEWTON
        )
        assert relative(found.x, world.x) < 1e-9
    some = hidden.clone()
    some[3] = torch.nan  # a row of which nothing is known stays where it began
    found = invert(world.decode, some, world.domain, search=GAUSS_NEWTON)
    torch.testing.assert_close(found.codes[3], world.domain.mean)
    assert found.error[3] == 0
    assert relative(found.x[:3], world.x[:3]) < 1e-9


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_rows_in_memory_together_change_nothing(at_once: int) -> None:
    world = Linear()
    expected = invert(world.decode, world.x, world.domain, search=Search(steps=20), at_once=7)
    found = invert(world.decode, world.x, world.domain, search=Search(steps=20), at_once=at_once)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_the_error_is_the_mean_square_of_what_is_known_in_units() -> None:
    world = Linear()
    seen = world.x.clone()
    seen[:, 10:] = torch.nan
    found = invert(world.decode, seen, world.domain, comparison=Comparison(unit=3.0), search=Search(steps=3))
    expected = np.square((found.x - world.x).numpy()[:, :10] / 3).mean(1)
    np.testing.assert_allclose(found.error.numpy(), expected, rtol=1e-9)


def test_a_prior_and_an_encoder_hold_codes_back_as_ridge_regression_does() -> None:
    """min |W z + b - x|^2 / p + w |z - z0|^2 / d in closed form; the encoder says z0 whatever it sees."""
    world = Linear()
    W, w = world.U @ world.V, 0.7
    domain = Domain("z", torch.zeros(5, dtype=torch.float64), torch.full((5,), 2.0, dtype=torch.float64))
    z0 = torch.full((7, 5), 0.5, dtype=torch.float64)
    ridge = w / 5 / 4 * torch.eye(5, dtype=torch.float64)  # in units of a deviation of 2
    for center, how in (
        (torch.zeros_like(z0), {"prior": w}),
        (z0, {"held": Held(lambda x, rest: z0[: len(x)], w)}),
    ):
        found = invert(world.decode, world.x, domain, search=GAUSS_NEWTON, **how)  # type: ignore[arg-type]
        right = (world.x - world.b) @ W / 40 + center @ ridge
        expected = torch.linalg.solve(W.T @ W / 40 + ridge, right.T).T
        assert relative(found.codes, expected) < 1e-8


def test_features_of_degraded_images_are_refused() -> None:
    world = Linear()
    comparison = Comparison(lambda x: x[:, :20], features=lambda x: x[:, :3])
    with pytest.raises(InputError, match="features are of whole images"):
        invert(world.decode, world.x[:, :20], world.domain, comparison=comparison)
    with pytest.raises(InputError, match="20 per row, but the degradation returns 40"):
        invert(world.decode, world.x[:, :20], world.domain)


def test_features_pull_towards_what_they_see() -> None:
    """Of a generator that cannot reach x: more weight, a smaller error of the features, a larger one of x."""
    world = Linear()
    x = world.x + torch.randn(7, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = []
    for weight in (0.0, 1.0, 100.0):
        comparison = Comparison(features=lambda x: x[:, :3], feature_weight=weight)
        found = invert(world.decode, x, world.domain, comparison=comparison, search=GAUSS_NEWTON)
        errors.append([float((found.x - x)[:, :3].square().mean()), float(found.error.mean())])
    features, pixels = zip(*errors, strict=True)
    assert features[0] > features[1] > features[2]
    assert pixels[0] < pixels[1] < pixels[2]


def test_several_codes_reach_what_one_cannot_and_one_code_is_one() -> None:
    """Maps of 3 channels x 4 from 5 numbers: importance by channel gives each channel a code of its own."""
    world = Linear()
    target = torch.cat([world.decode({"z": world.z[[i]]}, "maps")[:, [i]] for i in range(3)], 1)
    x = world.decode({"maps": target})
    g = torch.Generator().manual_seed(0)
    starts = torch.randn(1, 3, 5, generator=g, dtype=torch.float64)
    one = invert(world.decode, x, world.domain, search=GAUSS_NEWTON)
    many = multi_code(world.decode, x, world.domain, "maps", starts, search=Search("gauss-newton", steps=60))
    assert one.error[0] > 0.1
    assert many.error[0] < 1e-12
    assert many.importance.shape == (1, 3, 3)
    mixed = (world.decode({"z": many.codes[0]}, "maps") * many.importance[0, ..., None]).sum(0)
    torch.testing.assert_close(world.decode({"maps": mixed[None]}), many.x)
    alone = multi_code(world.decode, world.x, world.domain, "maps", world.z[:, None], search=Search(steps=1))
    assert relative(alone.x, world.x) < 1e-12  # it begins with an importance of 1
    with pytest.raises(InputError, match="no channels"):
        multi_code(
            lambda start, until: start["z"][:, 0], world.z, world.domain, "z", starts.expand(7, -1, -1)
        )


def test_a_search_begins_at_the_draws_that_are_nearest_to_what_is_known() -> None:
    world = Linear()
    codes = torch.randn(300, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = world.decode({"z": codes})
    seen = world.x.clone()
    seen[0, :30] = torch.nan
    found = nearest(seen, codes, x, degradations.whole, 3)
    distance = np.nansum(np.square(seen.numpy()[:, None] - x.numpy()[None]), 2)
    expected = codes.numpy()[np.argsort(distance, 1)[:, :3]].mean(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_coordinates_that_draws_do_not_vary_in_stay_as_they_are() -> None:
    codes = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    domain = Domain.of("z", codes)
    torch.testing.assert_close(domain.standard(codes), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(domain.codes(domain.standard(codes)), codes)
    torch.testing.assert_close(domain.distance(codes), torch.full((2,), 0.5**0.5))


def test_memory_grows_with_what_is_kept_for_a_gradient() -> None:
    """y = sin(sin(c)) keeps c twice: about 2 x 8 bytes a number, whatever the weights weigh."""
    domain = Domain("z", torch.zeros(1000, dtype=torch.float64), torch.ones(1000, dtype=torch.float64))
    weights = torch.randn(1000, 1000, dtype=torch.float64)
    kept = inversion.memory_of_codes(lambda start, until: (start["z"].sin() @ weights).sin(), domain, {}, 3)
    assert 6 * 8000 <= kept <= 9 * 8000


# plain baselines


def test_a_hole_is_filled_by_what_is_harmonic() -> None:
    """Planes are; inside a hole each pixel is the mean of its neighbors; what is known stays."""
    y, x = np.mgrid[:9, :7].astype(float)
    known = np.ones((9, 7), dtype=bool)
    known[3:6, 2:5] = False
    plane = np.stack([2 * x - y, x * 0 + 4])
    broken = np.where(known, plane, -99)
    np.testing.assert_allclose(harmonic(broken, known), plane, atol=1e-10)
    rng = np.random.default_rng(0)
    rough = rng.random((2, 3, 9, 7))
    known = rng.random((3, 9, 7)) < 0.6
    found = harmonic(rough, known)
    np.testing.assert_array_equal(found[:, known], rough[:, known])
    for c, i, j in np.argwhere(~known):
        near = [
            found[:, c, a, b]
            for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
            if 0 <= a < 9 and 0 <= b < 7
        ]
        np.testing.assert_allclose(found[:, c, i, j], np.mean(near, 0), atol=1e-9)


def test_what_cannot_be_searched_for_is_one_line() -> None:
    world = Linear()
    known = torch.arange(40) < 20
    for how, why in (
        ({"comparison": Comparison(degradations.mask(known))}, "returns NaN"),
        ({"at_once": 0}, "at_once = 0"),
        ({"prior": -1.0}, "at least 0"),
        ({"held": Held(lambda x, rest: world.z, -1.0)}, "at least 0"),
    ):
        with pytest.raises(InputError, match=why):
            invert(world.decode, world.x, world.domain, **how)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no rows"):
        invert(world.decode, world.x[:0], world.domain)
    for wrong in ({"method": "newton"}, {"steps": 0}, {"noise": -1.0}):
        with pytest.raises(InputError):
            Search(**wrong)  # type: ignore[arg-type]
