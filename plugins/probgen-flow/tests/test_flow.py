"""The flows against Jacobians by autograd, closed forms, integrals, and the laws of every family."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_flow.flow import Flow
from probgen_flow.glow import Glow
from probgen_flow.steps import ActNorm, InvertibleConvolution
from pyro import poutine
from scipy import stats
from torch import Tensor

import probgen
from probgen import Event
from probgen.contract.options import checked
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.errors import InputError, NotOffered
from probgen.testing import FamilyLaws, spaces

DIMS = ("row", "height", "width")
SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 20, "depth": 2, "hidden": [8, 8], "bins": 4}
IMAGES: dict[str, Any] = {"epochs": 3, "batch_size": 20, "steps_per_level": 2, "hidden": 8}
AFFINE: dict[str, Any] = {"epochs": 3, "batch_size": 20, "depth": 2, "hidden": 8, "transform": "affine"}


def vectors(x: np.ndarray, **variables: Any) -> xr.Dataset:
    return xr.Dataset({"x": (("row", "feature"), x), **variables})


def images(rows: int = 60, sides: tuple[int, int] = (4, 4), levels: int = 5) -> xr.Dataset:
    """Blocks of one level each with noise; the label is 1 where the first block is bright."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, levels, (rows, sides[0] // 2, sides[1] // 2))
    x = np.kron(blocks, np.ones((2, 2), dtype=int)) - (rng.random((rows, *sides)) < 0.2)
    x = x.clip(0).astype(np.uint8)
    label = ("row", (blocks[:, 0, 0] > levels // 2).astype(int), {"levels": 2})
    return xr.Dataset({"x": (DIMS, x, {"support": "integer", "levels": levels}), "label": label})


def unlabeled(**how: Any) -> xr.Dataset:
    return images(**how).drop_vars("label")


def as_reals(data: xr.Dataset) -> xr.Dataset:
    x = data["x"].values + np.random.default_rng(1).random(data["x"].shape)
    return data.assign(x=(DIMS, 3 * x - 40))


def shaken(family: Any, event: Event, **options: Any) -> Any:
    """An unfitted pair in float64 whose parameters are far from their start, so that no term of a Jacobian is 0."""
    with generators_kept():
        seed_torch(0)
        pair = family(checked(family.Options, options, "test"), event).double()
        with torch.no_grad():
            for parameter in pair.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return pair.eval()


# the change of variables

REAL = Event(("feature",), (5,), "real")
LABELED = Event(("feature",), (5,), "real", given={"label": Event((), (), "token", 3)})
PIXELS = Event(("height", "width"), (8, 8), "real")
COLORS = Event(("channel", "height", "width"), (3, 4, 4), "real", given={"label": Event((), (), "token", 3)})
FORMS = [
    pytest.param(Flow, REAL, {"transform": t, "structure": s, "depth": 3, "hidden": [16]}, id=f"{t}-{s}")
    for t in ("affine", "spline")
    for s in ("autoregressive", "coupling")
] + [
    pytest.param(Flow, LABELED, {"given": ["label"], "structure": "coupling"}, id="labeled"),
    pytest.param(Glow, PIXELS, {"levels": 3, "steps_per_level": 2, "hidden": 8}, id="glow"),
    pytest.param(Glow, COLORS, {"given": ["label"], "levels": 2, "steps_per_level": 2, "hidden": 8}, id="glow-colors"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "event", "options"), FORMS)
def test_log_determinants_and_inverses(family: Any, event: Event, options: dict[str, Any]) -> None:
    """log |det dz/dy| against the Jacobian by autograd, and the inverse of the forward direction: to 1e-6 in float64."""
    pair = shaken(family, event, **options)
    y = torch.from_numpy(np.random.default_rng(0).standard_normal((3, *event.fixed_shape)))
    c = pair.context({"label": torch.arange(3)})
    z, log_det = pair.bijection(y, c)
    for i in range(3):
        of_row = None if c is None else c[i : i + 1]

        def f(row: Tensor, of_row: Tensor | None = of_row) -> Tensor:
            return pair.bijection(row[None], of_row)[0][0]

        J = torch.autograd.functional.jacobian(f, y[i]).reshape(event.size, event.size)
        assert torch.linalg.slogdet(J).logabsdet.item() == pytest.approx(log_det[i].item(), abs=1e-6)
        assert abs(J - torch.eye(event.size)).max() > 0.1
    torch.testing.assert_close(pair.bijection.inverse(z, c).reshape(y.shape), y, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", ["flow", "glow"])
def test_the_noise_is_a_density(family: str) -> None:
    """log q(u | x) of the variational noise against the Jacobian of e -> u by autograd, to 1e-6 in float64."""
    event = Event(("height", "width"), (4, 4), "integer", 5)
    of: Any = Flow if family == "flow" else Glow
    pair = shaken(of, event, dequantization="variational", hidden=8)
    y = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 4)))
    with generators_kept():
        seed_torch(1)
        u, log_q = pair.noise(y, None)
        seed_torch(1)
        e = torch.randn_like(y)

    def f(e: Tensor) -> Tensor:
        return pair.noise.bijection(e, pair.noise.conditions(y, None))[0].reshape(y.shape).sigmoid()

    torch.testing.assert_close(f(e), u)
    J = torch.autograd.functional.jacobian(f, e).reshape(16, 16)
    log_e = -0.5 * (e.square().sum() + 16 * np.log(2 * np.pi))
    assert log_q.item() == pytest.approx((log_e - torch.linalg.slogdet(J).logabsdet).item(), abs=1e-6)


def test_an_identity_is_a_normal_distribution() -> None:
    """With all parameters 0 the flow is the identity, and the score that of independent normals, in the units of x."""
    x = np.random.default_rng(0).standard_normal((50, 3)) * [1, 1e-3, 1e5] + [0, 7, 1e7]
    fitted = probgen.fit("flow", vectors(x), dtype="float64", **AFFINE)
    for parameter in fitted.module.parameters():
        parameter.data.zero_()
    found = probgen.score(fitted, vectors(x))["log_prob"]
    expected = stats.norm(x.mean(0), x.std(0)).logpdf(x).sum(1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.attrs["kind"] == "exact"


def test_actnorm_starts_at_the_data() -> None:
    """Of the first values that pass, each actnorm makes mean 0 and standard deviation 1; so is every later layer."""
    data = as_reals(unlabeled(rows=200))
    pair: Any = shaken(Glow, Event(DIMS[1:], (4, 4), "real"), levels=2, steps_per_level=3, hidden=8)
    x = torch.from_numpy(data["x"].values)
    pair._start({"x": x})
    seen = []
    for norm in (module for module in pair.modules() if isinstance(module, ActNorm)):
        norm.register_forward_hook(lambda _, inputs, out: seen.append(out[0]))
    pair.loss(x, n=200)
    assert len(seen) == 6
    for z in seen:
        torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(z.shape[1]).double(), atol=1e-6, rtol=0)
        torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(z.shape[1]).double(), atol=1e-4, rtol=0)  # fmt: skip


def test_actnorm_starts_at_rows_by_their_weights() -> None:
    x = torch.from_numpy(as_reals(unlabeled())["x"].values)
    weight = torch.arange(60) % 3
    repeated, weighted = (
        shaken(Glow, Event(DIMS[1:], (4, 4), "real"), levels=2, steps_per_level=3, hidden=8) for _ in range(2)
    )
    repeated._start({"x": x.repeat_interleave(weight, 0)})
    weighted._start({"x": x, "weight": weight.double()})
    for (name, expected), found in zip(repeated.named_parameters(), weighted.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9, msg=name)


def test_the_convolution_starts_at_a_rotation() -> None:
    with generators_kept():
        seed_torch(0)
        mix = InvertibleConvolution(12)
    L, U = mix.triangles()
    W = mix.P @ L @ U
    torch.testing.assert_close(W @ W.mT, torch.eye(12), atol=1e-5, rtol=0)
    assert mix(torch.randn(2, 12, 3, 4))[1].item() == pytest.approx(0, abs=1e-4)


def test_every_value_is_changed_and_read() -> None:
    """By three couplings, each value of z depends on values of both halves, of odd and even numbers of values."""
    for size in (2, 3, 6, 7):
        pair = shaken(Flow, Event(("feature",), (size,), "real"), structure="coupling", depth=3, hidden=[16])
        y = torch.from_numpy(np.random.default_rng(1).standard_normal(size))
        J = torch.autograd.functional.jacobian(
            lambda row, pair=pair: pair.bijection(row[None], None)[0][0], y
        )
        assert ((J != 0).sum(1) > 1).all()
        assert (J.diagonal() != 1).all()


# known densities


def test_a_known_density_is_found() -> None:
    """Held-out rows along a wave: within 0.03 nats of the truth a row, in a few seconds.

    The truth is x_1 ~ Normal(0, 1), x_2 ~ Normal(sin 2 x_1, 1/4); the standard error of the mean difference is below 0.004.
    """

    def rows(n: int, seed: int) -> np.ndarray:
        e = np.random.default_rng(seed).standard_normal((n, 2))
        return np.stack([e[:, 0], np.sin(2 * e[:, 0]) + 0.5 * e[:, 1]], 1)

    fitted = probgen.fit(
        "flow", vectors(rows(4000, 0)), valid=vectors(rows(1000, 1)), epochs=12, batch_size=100, depth=2,
        learning_rate=5e-3, schedule="cosine", hidden=[32, 32],
    )  # fmt: skip
    test = rows(4000, 2)
    truth = stats.norm.logpdf(test[:, 0]) + stats.norm.logpdf(test[:, 1], np.sin(2 * test[:, 0]), 0.5)
    gap = truth - probgen.score(fitted, vectors(test))["log_prob"].values
    assert gap.std() / np.sqrt(len(gap)) < 0.004
    assert -0.01 < gap.mean() < 0.03


def test_it_is_a_pyro_model() -> None:
    fitted = probgen.fit("flow", spaces.example("real"), **SMALL)
    pair: Any = fitted.module
    x = torch.from_numpy(spaces.example("real")["x"].values)
    with torch.no_grad():
        trace = poutine.trace(pair.model).get_trace(x, n=len(x))
        drawn = pair.model(n=7)
    trace.compute_log_prob()
    expected = probgen.score(fitted, spaces.example("real"))["log_prob"].values
    np.testing.assert_allclose(trace.nodes["x"]["log_prob"].detach(), expected, rtol=1e-5)
    assert drawn.shape == (7, 2)


@pytest.mark.parametrize("noise", ["uniform", "variational"])
def test_the_bound_is_below_the_integral_and_comes_near(noise: str) -> None:
    """P(x) = the integral of p(v) over a unit square, on 100 x 100 midpoints, of each of nine values.

    A bound by 2 samples is below it on average; one by 500 is within 0.02 nats. The allowance is five standard errors.
    """
    data = spaces.example("integer")
    fitted = probgen.fit("flow", data, dtype="float64", dequantization=noise, **SMALL)
    pair: Any = fitted.module
    x = np.stack(np.meshgrid(np.arange(3), np.arange(3), indexing="ij"), -1).reshape(-1, 2)
    u = (np.arange(100) + 0.5) / 100
    inside = np.stack(np.meshgrid(u, u, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        log_p = [torch.logsumexp(pair.log_density(torch.from_numpy(at + inside), None), 0).item() for at in x]
    exact = np.array(log_p) - np.log(len(inside))
    assert np.exp(exact).sum() <= 1 + 1e-6
    again = vectors(np.repeat(x, 200, 0).astype(np.uint8))
    again["x"].attrs = data["x"].attrs
    few = probgen.score(fitted, again, k=2)["log_prob"]
    assert few.attrs["kind"] == "lower_bound"
    assert few.attrs["measure"] == "counting"
    each = few.values.reshape(9, 200)
    assert (each.mean(1) <= exact + 5 * each.std(1) / np.sqrt(200)).all()
    many = probgen.score(fitted, again.isel(row=slice(None, None, 200)), k=500)
    np.testing.assert_array_less(abs(many["log_prob"] - exact), 0.02 + 5 * many["log_prob_se"])


def test_standard_errors_are_those_of_repeated_scores() -> None:
    """The spread of 200 scores of one row against the mean square of the printed errors, to 30 %."""
    fitted = probgen.fit("glow", unlabeled(), dequantization="uniform", **IMAGES)
    row = unlabeled().isel(row=np.zeros(200, dtype=int))
    scores = probgen.score(fitted, row, k=64)
    printed = np.sqrt((scores["log_prob_se"] ** 2).mean())
    assert scores["log_prob"].std().item() == pytest.approx(printed.item(), rel=0.3)


# rows, conditions, codes


def test_a_row_of_weight_w_is_w_rows() -> None:
    """Of the loss to 1e-12, and of the units of a fit."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((40, 2)), rng.integers(0, 4, 40)
    x[w == 0] += 100
    once, weighted = vectors(np.repeat(x, w, 0)), vectors(x, weight=("row", w.astype(float)))
    options = {**SMALL, "learning_rate": 1e-12, "epochs": 1}
    fits = [probgen.fit("flow", data, dtype="float64", **options) for data in (once, weighted)]
    for name in ("standard.loc", "standard.scale"):
        np.testing.assert_allclose(*(fit.state[name] for fit in fits), rtol=1e-12)
    pair: Any = fits[0].module
    with torch.no_grad():
        losses = [
            pair.loss(n=len(d["x"]), **{k: torch.from_numpy(v.values) for k, v in d.items()})["loss"].item()
            for d in (once, weighted)
        ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_patience_ends_a_fit() -> None:
    rows = spaces.example("real")
    fitted = probgen.fit(
        "flow", rows, valid=rows, patience=1, **{**SMALL, "epochs": 200, "learning_rate": 0.3}
    )
    assert fitted.history.sizes["step"] < 200 * 4


@pytest.mark.parametrize("family", ["flow", "glow"])
@pytest.mark.parametrize("noise", [None, "uniform", "variational"])
def test_codes_are_decoded_to_their_rows(family: str, noise: str | None) -> None:
    """Exactly for whole numbers, and to 1e-6 of a deviation for real numbers."""
    data = as_reals(unlabeled()) if noise is None else unlabeled()
    options = {**(IMAGES if family == "glow" else SMALL), "dequantization": noise}
    fitted = probgen.fit(family, data, dtype="float64", **options)
    codes = probgen.encode(fitted, data)
    assert codes["z"].sizes == {"row": 60, "latent": 16}
    x = probgen.decode(fitted, {"z": codes["z"].values})["x"].values
    if noise is None:
        np.testing.assert_allclose(x, data["x"], atol=1e-5)
        return
    np.testing.assert_array_equal(np.rint(x), data["x"])
    drawn = probgen.sample(fitted, given={"x": data["x"].values})
    again = probgen.sample(fitted, given={"z": drawn["z"].values[0]})
    np.testing.assert_array_equal(again["x"].values[0], data["x"])


@pytest.mark.parametrize("family", ["flow", "glow"])
def test_conditions(family: str) -> None:
    """Samples of each label have the brightness of its rows: the label decides the first block."""
    data = as_reals(images(rows=400))
    options = {
        **(IMAGES if family == "glow" else {**AFFINE, "hidden": 32}),
        "epochs": 20,
        "learning_rate": 5e-3,
    }
    fitted = probgen.fit(family, data, given=["label"], **options)
    for label in (0, 1):
        truth = data["x"].values[data["label"].values == label][:, :2, :2].mean()
        draws = probgen.sample(fitted, 400, given={"label": label})["x"].values[:, :2, :2].mean()
        assert abs(draws - truth) < 1.5  # the labels differ by 8


# bad input

CONSTANT = np.stack([np.arange(9.0), np.full(9, 0.3)], 1)
TABLE = xr.Dataset({"x": (("row", "feature"), CONSTANT)}, {"feature": ["a", "b"]})
HOLES = np.where(np.eye(9, 2) == 1, np.nan, np.random.default_rng(0).standard_normal((9, 2)))


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("family", "data", "options", "message"),
    [
        ("flow", spaces.example("integer"), {}, "a density needs real numbers. Set dequantization"),
        ("glow", unlabeled(), {}, "a density needs real numbers. Set dequantization"),
        ("flow", spaces.example("real"), {"dequantization": "uniform"}, "'uniform' has no effect: x is real"),
        ("flow", spaces.example("count"), {}, "does not accept"),
        ("flow", spaces.example("mixed"), {}, "does not accept"),
        ("flow", TABLE, {}, "one value in column 'b': its density has no bound"),
        ("flow", vectors(CONSTANT), {}, "one value in dimension 1"),
        ("glow", as_reals(unlabeled()) * 0, {}, "one value in dimension 0"),
        ("flow", vectors(HOLES), {}, "missing"),
        ("flow", vectors(HOLES[2:3]), {}, "x has one row"),
        ("flow", vectors(HOLES[2:, :1]), {"structure": "coupling"}, "x has one value, and a coupling needs two"),
        ("flow", spaces.example("real"), {"hidden": []}, "at least one hidden layer"),
        ("flow", spaces.example("real"), {"bins": 4, "transform": "affine"}, "bins = 4 has no effect"),
        ("flow", spaces.example("real"), {"noise_depth": 4}, "noise_depth = 4 has no effect"),
        ("flow", spaces.example("real"), {"patience": 3}, "there are no validation rows"),
        ("flow", spaces.example("real"), {"given": ["label"]}, "label"),
        ("glow", as_reals(unlabeled(sides=(6, 4))), {}, "height 6, which cannot be halved 2 times"),
        ("glow", spaces.example("real"), {}, "x must be images of one size"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_line(family: str, data: Any, options: dict[str, Any], message: str) -> None:
    usual = {"epochs": 1, "learning_rate": 1e-3}
    with pytest.raises(InputError, match=message) as told:
        probgen.fit(family, data, **{**usual, **options})
    assert "\n" not in str(told.value)


def test_bad_requests_are_told_in_a_line() -> None:
    data = spaces.example("real")
    fitted = probgen.fit("flow", data, **SMALL)
    x = data["x"].values[:3]
    with pytest.raises(InputError, match="k = 5 has no effect: x is real"):
        probgen.score(fitted, data, k=5)
    with pytest.raises(NotOffered, match="known in part"):
        probgen.sample(fitted, given={"x": x, "observed": np.array([True, False])})
    with pytest.raises(InputError, match="Give x or z, not both"):
        probgen.sample(fitted, given={"x": x, "z": x})
    with pytest.raises(InputError, match="z"):
        probgen.sample(fitted, given={"z": np.zeros((3, 5))})


def test_the_import_of_zuko_changes_no_distribution() -> None:
    """Argument checks of torch stay on; in a new process, because an import runs once."""
    code = (
        "import torch, probgen_flow.vectors\n"
        "from torch.distributions import Distribution, Normal\n"
        "assert Distribution._validate_args\n"
        "try:\n    Normal(0.0, -1.0)\nexcept ValueError:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"


# the laws of every family


class TestFlow(FamilyLaws):
    family = "flow"
    options = SMALL


class TestFlowByCoupling(FamilyLaws):
    family = "flow"
    options = {**AFFINE, "structure": "coupling"}


class TestFlowOfWholeNumbers(FamilyLaws):
    family = "flow"
    support = "integer"
    options = {**SMALL, "dequantization": "variational", "noise_depth": 1}


class TestGlow(FamilyLaws):
    family = "glow"
    options = {**IMAGES, "dequantization": "variational"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return unlabeled()


class TestGlowOfReals(FamilyLaws):
    family = "glow"
    options = IMAGES

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return as_reals(unlabeled())


class TestGlowOfColors(FamilyLaws):
    """Three colors, given a label, with uniform noise."""

    family = "glow"
    options = {**IMAGES, "dequantization": "uniform", "levels": 1, "given": ["label"]}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        gray = images()
        x = np.stack([gray["x"], 4 - gray["x"].values, gray["x"][:, ::-1]], 1)
        return gray.assign(x=(("row", "channel", *DIMS[1:]), x, gray["x"].attrs))
