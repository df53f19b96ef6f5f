"""Autoregressive distributions against enumeration, an independent NumPy version, and their uses in Pyro."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from scipy import stats
from torch import Tensor, nn

from probgen.contract.seeds import generators_kept, seed_torch
from probgen.distributions import Autoregressive, Bernoulli, Categorical, Ensemble, Normal, NormalMixture
from probgen.errors import InputError
from probgen.models.fvsbn import FVSBNConditioner
from probgen.models.made import MADEConditioner
from probgen.models.nade import NADEConditioner

D = 12
FALSE_ALARM = 1e-6
SITES = {
    "bernoulli": Bernoulli(),
    "categorical": Categorical(3),
    "normal": Normal(),
    "mixture": NormalMixture(2),
}


class Uncached(nn.Module):
    """The naive way: a conditioner without its cache."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.inner(x, context)

    def parameters(self, recurse: bool = True) -> Any:  # of a mask, too, which is no module
        return self.inner.parameters()


def conditioner(name: str, site: Any = Bernoulli(), sites: int = D, context: int = 0) -> nn.Module:  # noqa: B008
    """One of each kind, in float64, with weights far from their start."""
    with generators_kept():
        seed_torch(3)
        natural = torch.arange(sites)[None]
        made = {
            "fvsbn": lambda: FVSBNConditioner(site, sites, context),
            "nade": lambda: NADEConditioner(site, sites, 7, context),
            "made": lambda: MADEConditioner(site, (9,), natural, context),
            "made-deep": lambda: MADEConditioner(site, (24, 32, 16), natural, context, direct=False),
        }[name]().double()
        for parameter in made.parameters():
            parameter.data = torch.randn_like(parameter) * (
                1.0 if site.levels else 0.3
            )  # reals must not run away
    return made


KINDS = ["fvsbn", "nade", "made", "made-deep"]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def by_hand(name: str, net: Any, x: np.ndarray) -> float:
    """log p(x) of one row of bits, site by site, from the formulas of the papers alone."""
    w = {key: value.numpy() for key, value in net.state_dict().items()}
    total = 0.0
    for i in range(len(x)):
        if name == "fvsbn":
            logit = w["alpha_0"][i, 0] + sum(w["alpha"][i, 0, j, 0] * x[j] for j in range(i))
        elif name == "nade":
            h = sigmoid(w["c"] + sum((w["W"][j, 0] * x[j] for j in range(i)), np.zeros(7)))
            logit = w["b"][i, 0] + w["V"][i, 0] @ h
        else:
            h, degree = x, np.arange(1, len(x) + 1)
            for layer in range(len(net.W)):
                m = w[f"degrees_{layer}"][0]
                h = np.maximum(w[f"b.{layer}"] + (w[f"W.{layer}"] * (m[:, None] >= degree)) @ h, 0)
                degree = m
            logit = w["c"][i] + sum(w["V"][i, k] * h[k] for k in range(len(h)) if i + 1 > degree[k])
            if "A" in w:
                logit += sum(w["A"][i, j] * x[j] for j in range(i))
        total += math.log(sigmoid(logit if x[i] == 1 else -logit))
    return total


@pytest.mark.parametrize("name", KINDS)
def test_probabilities_sum_to_one(name: str) -> None:
    p = Autoregressive(conditioner(name), Bernoulli(), (D,))
    total = p.log_prob(p.enumerate_support()).logsumexp(0)
    assert abs(total.item()) < 1e-10


@pytest.mark.parametrize("name", KINDS)
def test_log_prob_is_that_of_the_paper(name: str) -> None:
    net = conditioner(name)
    x = np.random.default_rng(0).integers(0, 2, (40, D)).astype(float)
    p = Autoregressive(net, Bernoulli(), (D,)).log_prob(torch.from_numpy(x))
    np.testing.assert_allclose(p.detach().numpy(), [by_hand(name, net, row) for row in x], rtol=0, atol=1e-9)


def test_the_context_of_nade_is_that_of_the_formula() -> None:
    """h_i = sigmoid(c + W_<i x_<i + U context), y_i = b_i + V_i h_i + T_i context, in NumPy."""
    net = conditioner("nade", context=3)
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    rng = np.random.default_rng(0)
    x, context = rng.integers(0, 2, (10, D)).astype(float), rng.standard_normal((10, 3))
    found = net(torch.from_numpy(x), torch.from_numpy(context)).detach().numpy()
    for row in range(10):
        a = w["c"] + context[row] @ w["U"]
        for i in range(D):
            y = w["b"][i] + w["V"][i] @ sigmoid(a) + context[row] @ w["T"][:, i]
            np.testing.assert_allclose(found[row, i], y, atol=1e-9)
            a = a + w["W"][i, 0] * x[row, i]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ordered", [False, True])
def test_draws_agree_with_the_exact_table(name: str, ordered: bool) -> None:
    """G-test of 100,000 draws; false-alarm rate 1e-6; `test_the_g_test_has_power` says what it finds."""
    ordering = torch.from_numpy(np.random.default_rng(1).permutation(D)) if ordered else None
    p = Autoregressive(conditioner(name), Bernoulli(), (D,), ordering=ordering)
    table = p.log_prob(p.enumerate_support()).exp().detach().numpy()
    with generators_kept():
        seed_torch(0)
        draws = p.sample((N,)).numpy().astype(int)
    counts = np.bincount(draws @ (1 << np.arange(D)[::-1]), minlength=1 << D)
    assert g_test(counts, table) > FALSE_ALARM


N = 100_000


def g_test(counts: np.ndarray, p: np.ndarray) -> float:
    """The p-value; cells that expect fewer than 5 are joined."""
    rare = counts.sum() * p < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = counts.sum() * np.append(p[~rare], p[rare].sum())
    kept = expected > 0
    if kept.sum() == 1:
        return float(observed[~kept].sum() == 0)
    g = stats.power_divergence(observed[kept], expected[kept], lambda_="log-likelihood")
    return float(g.pvalue)


def test_the_g_test_has_power() -> None:
    """Draws of which 3 % are as the transposed weights would have them are found out."""
    net = conditioner("fvsbn")
    p = Autoregressive(net, Bernoulli(), (D,))
    table = p.log_prob(p.enumerate_support()).exp().detach().numpy()
    net.alpha.data = net.alpha.data.transpose(0, 2).contiguous().flip(0, 2)
    other = p.log_prob(p.enumerate_support()).exp().detach().numpy()
    found = [
        g_test(
            np.random.default_rng(s).multinomial(N, 0.97 * table / table.sum() + 0.03 * other / other.sum()),
            table,
        )
        for s in range(20)
    ]
    assert max(found) < FALSE_ALARM


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("context", [0, 3])
def test_each_site_depends_on_the_sites_before_it_alone(name: str, site: str, context: int) -> None:
    """Gradients to the present and the future are exactly 0; to the past they are not."""
    sites, rows = 6, 50
    net = conditioner(name, SITES[site], sites, context)
    c = torch.randn(rows, context, dtype=torch.float64) if context else None
    earlier = torch.ones(sites, sites).tril(-1).bool()  # (site, site that it sees)
    if site == "categorical":  # one-hot values have no gradient: change one at a time
        x = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (rows, sites)))
        moved = [(x + torch.eye(sites, dtype=torch.long)[j]) % 3 for j in range(sites)]
        seen = torch.stack([(net(x, c) != net(other, c)).any(2).any(0) for other in moved], 1)
    else:
        x = torch.rand(rows, sites, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(
            lambda x: net(x, c).abs().sum((0, 2)), x
        )  # (site, row, site)
        seen = (jacobian != 0).any(1)
    assert (seen == earlier).all()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("context", [0, 3])
def test_the_cache_draws_what_the_whole_net_draws(name: str, site: str, context: int) -> None:
    net = conditioner(name, SITES[site], 6, context)
    net = net[0] if isinstance(net, MADEConditioner) else net  # a mask of it is what goes site by site
    assert hasattr(net, "step")
    c = (
        torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3))) if context else None
    )  # each its own
    draws = []
    for n in (net, Uncached(net)):
        with generators_kept():
            seed_torch(5)
            p = Autoregressive(n, SITES[site], (2, 3), context=c, ordering=[3, 1, 0, 2, 5, 4])
            draws.append(p.sample(() if context else (50,)))
    torch.testing.assert_close(draws[0], draws[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("site", ["normal", "mixture"])
def test_real_sites_integrate_to_one(site: str) -> None:
    p = Autoregressive(conditioner("nade", SITES[site], 2), SITES[site], (2,))
    with (
        torch.no_grad()
    ):  # x_1 by quadrature in its quantiles would hide errors: a plain fine grid, wide enough
        first = torch.linspace(-200, 200, 40001, dtype=torch.float64)
        x = torch.stack([first, torch.zeros_like(first)], 1)
        numbers = p.conditioner(x)
        marginal = SITES[site].p(numbers[:, 0]).log_prob(first).exp()
        assert marginal.sum() * 0.01 == pytest.approx(1, abs=1e-3)
        for at in (-1.0, 0.5):
            x = torch.stack([torch.full_like(first, at), first], 1)
            second = (p.log_prob(x) - SITES[site].p(p.conditioner(x)[:, 0]).log_prob(x[:, 0])).exp()
            assert second.sum() * 0.01 == pytest.approx(1, abs=1e-3)


def test_ordering_is_a_relabeling() -> None:
    net = conditioner("nade")
    order = torch.from_numpy(np.random.default_rng(2).permutation(D))
    x = torch.randint(0, 2, (20, D)).double()
    plain = Autoregressive(net, Bernoulli(), (D,))
    ordered = Autoregressive(net, Bernoulli(), (D,), ordering=order)
    torch.testing.assert_close(ordered.log_prob(x), plain.log_prob(x[:, order]))
    torch.testing.assert_close(ordered.conditionals(x).log_prob(x).sum(1), ordered.log_prob(x))


def test_an_ensemble_averages_likelihoods() -> None:
    parts = [Autoregressive(conditioner(name), Bernoulli(), (D,)) for name in KINDS]
    p = Ensemble(parts)
    x = p.enumerate_support()
    each = torch.stack([part.log_prob(x).exp() for part in parts])
    torch.testing.assert_close(p.log_prob(x).exp(), each.mean(0))
    with generators_kept():
        seed_torch(0)
        draws = p.sample((N,)).numpy().astype(int)
    counts = np.bincount(draws @ (1 << np.arange(D)[::-1]), minlength=1 << D)
    assert g_test(counts, each.mean(0).detach().numpy()) > FALSE_ALARM


# in Pyro


def test_values_of_any_dtype() -> None:
    """Bits may be whole numbers or booleans; the result has the dtype of the network."""
    p = Autoregressive(conditioner("nade").float(), Bernoulli(), (D,))
    x = torch.randint(0, 2, (5, D))
    for other in (x.float(), x.double(), x.bool(), x.byte()):
        assert p.log_prob(other).dtype == torch.float32
        torch.testing.assert_close(p.log_prob(other), p.log_prob(x))
    word = Autoregressive(conditioner("nade", Categorical(3), 4), Categorical(3), (4,))
    assert word.sample().dtype == word.enumerate_support().dtype == torch.int64
    wide = Autoregressive(
        conditioner("nade", context=3).float(), Bernoulli(), (D,), context=torch.ones(5, 3).double()
    )
    assert wide.log_prob(x).dtype == torch.float32


def test_an_expansion_is_one() -> None:
    p = Autoregressive(conditioner("nade"), Bernoulli(), (3, 4))
    with pytest.raises(RuntimeError):
        p.expand((3,)).expand((4,))
    x = torch.ones(3, 4, dtype=torch.float64)
    assert p.expand((5,)).conditionals(x).batch_shape == (5, 3, 4)
    assert p.expand((5,)).log_prob(x).shape == (5,)


@pytest.mark.parametrize("net", [conditioner("nade", Categorical(3), 4), conditioner("made", sites=5)])
def test_a_conditioner_of_another_kind_is_refused(net: nn.Module) -> None:
    p = Autoregressive(net, Bernoulli(), (4,))
    with pytest.raises(InputError, match="conditioner"):
        p.log_prob(torch.zeros(2, 4, dtype=torch.float64))
    with pytest.raises(InputError, match="conditioner"):
        Autoregressive(Uncached(net), Bernoulli(), (4,)).sample((2,))


def test_shapes_are_as_pyro_expects() -> None:
    net = conditioner("nade", context=3)
    c = torch.randn(4, 1, 3, dtype=torch.float64)
    p = Autoregressive(net, Bernoulli(), (3, 4), context=c)
    assert (p.batch_shape, p.event_shape) == ((4, 1), (3, 4))
    assert p.sample((2,)).shape == (2, 4, 1, 3, 4)
    x = torch.ones(5, 3, 4, dtype=torch.float64)
    assert p.log_prob(x).shape == (4, 5)
    wide = p.expand((2, 4, 5))
    assert wide.batch_shape == (2, 4, 5)
    torch.testing.assert_close(wide.log_prob(x), p.log_prob(x).expand(2, 4, 5))
    assert p.to_event(1).log_prob(x[0].expand(4, 1, 3, 4)).shape == (4,)
    assert (p.mask(False).log_prob(x) == 0).all()
    assert p.support.event_dim == 2
    assert p.enumerate_support().shape == (4096, 4, 1, 3, 4)
    assert p.enumerate_support(expand=False).shape == (4096, 1, 1, 3, 4)
    free = Autoregressive(conditioner("nade"), Bernoulli(), (12,)).expand((3,))
    assert free.log_prob(torch.ones(12)).shape == (3,)


def test_likelihood_under_a_latent() -> None:
    """z ~ Normal, x ~ NADE given net(z): every parameter of net, NADE and guide gets a gradient."""
    net = nn.Linear(2, 3).double()
    nade = conditioner("nade", context=3)
    loc = nn.Parameter(torch.zeros(5, 2, dtype=torch.float64))
    x = torch.randint(0, 2, (5, D)).double()

    def model() -> None:
        with pyro.plate("row", 5):
            z = pyro.sample("z", dist.Normal(torch.zeros(5, 2).double(), 1.0).to_event(1))
            pyro.sample("x", Autoregressive(nade, Bernoulli(), (D,), context=net(z)), obs=x)

    def guide() -> None:
        with pyro.plate("row", 5):
            pyro.sample("z", dist.Normal(loc, 0.1).to_event(1))

    loss = pyro.infer.Trace_ELBO(max_plate_nesting=1).differentiable_loss(model, guide)
    loss.backward()
    for parameter in [loc, *net.parameters(), *nade.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_component_of_a_mixture_under_enumeration() -> None:
    """k ~ Categorical, x ~ NADE given k, k summed out in parallel: the loss is the exact log-likelihood."""
    nade = conditioner("nade", context=3)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    x = torch.randint(0, 2, (6, D)).double()

    @config_enumerate
    def model() -> None:
        with pyro.plate("row", 6):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample("x", Autoregressive(nade, Bernoulli(), (D,), context=torch.eye(3).double()[k]), obs=x)

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)
    each = torch.stack(
        [
            Autoregressive(nade, Bernoulli(), (D,), context=torch.eye(3).double()[k]).log_prob(x)
            for k in range(3)
        ]
    )
    assert -loss == pytest.approx((each + weights.log()[:, None]).logsumexp(0).sum().item(), rel=1e-12)


def test_the_site_itself_is_enumerated() -> None:
    """y ~ NADE on 4 bits, latent; t ~ Normal(sum y): y is summed out through `enumerate_support`."""
    nade = conditioner("nade", sites=4)
    t = torch.tensor([0.3, 2.0, 1.1], dtype=torch.float64)

    @config_enumerate
    def model() -> None:
        with pyro.plate("row", 3):
            y = pyro.sample("y", Autoregressive(nade, Bernoulli(), (4,)))
            pyro.sample("t", dist.Normal(y.sum(-1), 0.5), obs=t)

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)
    p = Autoregressive(nade, Bernoulli(), (4,))
    y = p.enumerate_support()
    joint = p.log_prob(y)[:, None] + dist.Normal(y.sum(-1)[:, None], 0.5).log_prob(t)
    assert -loss == pytest.approx(joint.logsumexp(0).sum().item(), rel=1e-12)


def test_masked_rows_and_plates_scale() -> None:
    nade = conditioner("nade")
    x = torch.randint(0, 2, (4, D)).double()
    kept = torch.tensor([True, False, True, True])

    def model() -> None:
        with pyro.plate("row", 8, subsample=torch.arange(4)):
            pyro.sample("x", Autoregressive(nade, Bernoulli(), (D,)).mask(kept), obs=x)

    trace = poutine.trace(model).get_trace()
    each = Autoregressive(nade, Bernoulli(), (D,)).log_prob(x)
    assert trace.log_prob_sum().item() == pytest.approx(2 * each[kept].sum().item(), rel=1e-12)


def test_a_fit_in_plain_pyro_reaches_the_entropy() -> None:
    """SVI on rows of a known FVSBN of 4 bits ends within 0.01 nats of what these rows can give."""
    pyro.clear_param_store()
    with generators_kept():
        seed_torch(0)
        truth = Autoregressive(conditioner("fvsbn", sites=4), Bernoulli(), (4,))
        x = truth.sample((2000,))
        net = NADEConditioner(Bernoulli(), 4, 8).double()

        def model() -> None:
            with pyro.plate("row", len(x)):
                pyro.sample("x", Autoregressive(net, Bernoulli(), (4,)), obs=x)

        optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
        elbo = pyro.infer.Trace_ELBO(max_plate_nesting=1)
        for _ in range(300):
            optimizer.zero_grad()
            loss = elbo.differentiable_loss(model, lambda: None) / len(x)
            loss.backward()
            optimizer.step()
    _, counts = x.unique(dim=0, return_counts=True)
    empirical = -(counts / len(x) * (counts / len(x)).log()).sum()
    assert abs(loss.item() - empirical.item()) < 0.01


# bad input


@pytest.mark.parametrize(
    ("value", "site", "word"),
    [
        (torch.full((D,), 0.5), Bernoulli(), "0.5"),
        (torch.full((D,), 2.0), Bernoulli(), "2.0"),
        (torch.full((D,), 3), Categorical(3), "3"),
        (torch.full((D,), math.nan), Normal(), "nan"),
        (torch.zeros(D + 1), Bernoulli(), "shape"),
    ],
)
def test_a_value_that_cannot_be_is_named(value: Tensor, site: Any, word: str) -> None:
    p = Autoregressive(conditioner("nade", site), site, (D,), validate_args=True)
    with pytest.raises(InputError, match=word) as caught:
        p.log_prob(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ordering", [[0, 1], [0, 0, 2], [1, 2, 3], [0.0, 1.0, 2.0], [[0], [1, 2]], "abc", [True, False, True]]
)
def test_an_ordering_that_is_no_permutation_is_refused(ordering: Any) -> None:
    with pytest.raises(InputError, match=r"permutation of 0 \.\. 2"):
        Autoregressive(conditioner("nade", sites=3), Bernoulli(), (3,), ordering=ordering)


def test_a_context_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError, match="context"):
        Autoregressive(conditioner("nade", context=3), Bernoulli(), (D,), context=torch.tensor(1.0))
    p = Autoregressive(conditioner("nade", context=3), Bernoulli(), (D,), context=torch.randn(2, 4).double())
    with pytest.raises(InputError, match="context"):
        p.log_prob(torch.zeros(2, D).double())
    with pytest.raises(InputError, match="context"):
        Autoregressive(conditioner("nade", context=3), Bernoulli(), (D,)).log_prob(torch.zeros(2, D).double())
    labels = Autoregressive(
        conditioner("nade", context=3), Bernoulli(), (D,), context=torch.zeros(2, 3).long()
    )
    with pytest.raises(InputError, match="floats"):
        labels.log_prob(torch.zeros(2, D).double())
