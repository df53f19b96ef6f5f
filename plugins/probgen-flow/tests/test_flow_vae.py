"""`flow-vae` against quadrature over z, and the laws of every family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_flow.flow_vae import FlowVAE
from probgen_flow.pushed import Pushed
from torch import Tensor

import probgen
from probgen import Event
from probgen.contract.options import checked
from probgen.contract.seeds import generators_kept
from probgen.distributions import NormalVector
from probgen.errors import InputError
from probgen.inference.elbo import elbo
from probgen.testing import FamilyLaws

SMALL: dict[str, Any] = {
    "latent": 2, "hidden": [8], "flow_hidden": 8, "flow_context": 4, "epochs": 3, "batch_size": 20,
}  # fmt: skip
BITS = Event(("feature",), (6,), "binary")
SHAPES = [(t, s) for t in ("affine", "spline") for s in ("autoregressive", "coupling")]
AXIS = torch.linspace(-16, 16, 193, dtype=torch.float64)
GRID = torch.cartesian_prod(AXIS, AXIS)
CELL = float(AXIS[1] - AXIS[0]) ** 2


def shaken(**options: Any) -> Any:
    """An unfitted model in float64 whose parameters are far from their start."""
    with generators_kept(0):
        wanted = {name: value for name, value in {**SMALL, **options}.items() if value is not None}
        pair = FlowVAE(checked(FlowVAE.Options, wanted, "test"), BITS).double()
        with torch.no_grad():
            for parameter in pair.parameters():
                parameter.add_(0.12 * torch.randn_like(parameter))
    return pair.eval()


def rows(n: int) -> Tensor:
    return torch.from_numpy((np.random.default_rng(0).random((n, 6)) < 0.4).astype(np.float64))


@pytest.mark.parametrize(("transform", "structure"), SHAPES)
@pytest.mark.parametrize("prior", ["normal", "mixture"])
@torch.no_grad()
def test_prior_and_posterior_are_densities(transform: str, structure: str, prior: str) -> None:
    pair = shaken(transform=transform, structure=structure, prior=prior)
    for p in (pair.prior(1), pair.posterior(rows(1))):
        assert p.log_prob(GRID[:, None]).exp().sum().item() * CELL == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(("transform", "structure"), [("affine", "autoregressive"), ("spline", "coupling")])
@torch.no_grad()
def test_samples_have_the_density(transform: str, structure: str) -> None:
    """The density of a sample, and of the same numbers; samples of the prior and of q against moments on the grid."""
    pair = shaken(transform=transform, structure=structure)
    with generators_kept(1):
        for p in (pair.prior(3), pair.posterior(rows(3))):
            z = p.sample((4_000,))
            assert z.shape == (4_000, 3, 2)
            log_p = p.log_prob(z)
            torch.testing.assert_close(p.log_prob(z.clone()), log_p, atol=1e-6, rtol=0)
            weight = p.log_prob(GRID[:, None].expand(-1, 3, -1)).exp() * CELL
            for power in (1, 2):
                expected = (weight[..., None] * GRID[:, None] ** power).sum(0)
                error = (z**power).std(0) / 4_000**0.5
                assert (abs((z**power).mean(0) - expected) < 5 * error + 5e-3 * expected.abs()).all()


def test_gradients_reach_the_encoder_and_both_flows() -> None:
    pair = shaken()
    pair.loss(rows(4), n=4)["loss"].backward()
    for name, parameter in pair.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("depths", [(2, 2), (2, 0), (0, 2)])
@torch.no_grad()
def test_bounds_against_quadrature(depths: tuple[int, int]) -> None:
    """E[ELBO] = log p(x) - KL(q(z | x) || p(z | x)), both integrals by quadrature over z."""
    unused = {} if depths[1] else {"flow_context": None}
    pair = shaken(prior_depth=depths[0], posterior_depth=depths[1], **unused)
    x = rows(3)
    log_q = pair.posterior(x).log_prob(GRID[:, None].expand(-1, 3, -1))
    log_prior = pair.prior(1).log_prob(GRID[:, None])
    log_x = torch.stack([pair.likelihood(GRID).log_prob(row.expand(len(GRID), -1)) for row in x], 1)
    log_joint = log_prior + log_x
    exact = (log_joint.logsumexp(0) + np.log(CELL)).numpy()
    expected = ((log_q.exp() * (log_joint - log_q)).nan_to_num().sum(0) * CELL).numpy()
    with generators_kept(2):
        n = 4000
        found = elbo(pair, x.repeat_interleave(n, 0)).bound.reshape(3, n)
    assert (abs(found.mean(1).numpy() - expected) < 5 * found.std(1).numpy() / n**0.5 + 5e-3).all()
    assert (expected < exact).all()


def test_codes_are_at_the_center_of_the_noise() -> None:
    data = xr.Dataset({"x": (("row", "feature"), rows(40).numpy().astype(np.uint8))})
    fitted = probgen.fit("flow-vae", data, **SMALL)
    pair: Any = fitted.module
    with torch.no_grad():
        q = pair.posterior(torch.from_numpy(data["x"].values))
        assert isinstance(q, Pushed)
        sharp = Pushed(NormalVector(q.base.loc, 1e-6 * q.base.scale), pair.g, q.c)
        np.testing.assert_allclose(probgen.encode(fitted, data)["z"], sharp.sample(), atol=1e-4)
    assert int(fitted.groups["latent"]["active_units"]) <= 2


def test_a_flow_of_the_prior_fits_codes_in_clusters() -> None:
    """Two far clusters of rows and one code: the bound with a flow as prior is above that with the normal prior."""
    rng = np.random.default_rng(0)
    x = np.repeat([-1.0, 1.0], 200)[:, None] + 0.05 * rng.standard_normal((400, 4))
    data = xr.Dataset({"x": (("row", "feature"), x)})
    options = {"latent": 1, "hidden": [16], "epochs": 40, "batch_size": 50, "learning_rate": 5e-3}
    flow = {"transform": "spline", "prior_depth": 2, "posterior_depth": 0, "flow_hidden": 16}
    normal, own = (
        probgen.score(probgen.fit(name, data, **options, **more), data, k=200)["log_prob"].mean().item()
        for name, more in (("vae", {}), ("flow-vae", flow))
    )
    assert own > normal + 0.2


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior_depth": 0, "posterior_depth": 0}, "there is no flow. Use the family vae"),
        ({"prior": "vamp"}, "an average of posteriors without a flow"),
        ({"structure": "coupling", "latent": 1}, "a coupling needs two dimensions of z"),
        ({"bins": 4}, "bins"),
        ({"posterior_depth": 0, "flow_context": 7}, "flow_context = 7: without a flow"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    data = xr.Dataset({"x": (("row", "feature"), rows(20).numpy())})
    with pytest.raises(InputError, match=message) as caught:
        probgen.fit("flow-vae", data, **{**SMALL, **options})
    assert "\n" not in str(caught.value)


class TestFlowVAE(FamilyLaws):
    family = "flow-vae"
    support = "binary"
    options = SMALL
