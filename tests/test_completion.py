"""Completion of half-known bits against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probgen.contract.seeds import generators_kept, seed_torch
from probgen.distributions import Autoregressive, Bernoulli, Normal
from probgen.errors import InputError
from probgen.inference.particles import complete
from tests.test_autoregressive import FALSE_ALARM, D, conditioner, g_test

DRAWS = 5_000
MASKS = {
    "prefix": [1] * 5 + [0] * 7,
    "suffix": [0] * 7 + [1] * 5,
    "scattered": [0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1],
    "all": [1] * 12,
    "none": [0] * 12,
}


def completed(
    parts: list[Autoregressive], mask: list[int], particles: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of every value among the draws, the exact conditional table, and the effective sample sizes."""
    values = parts[0].enumerate_support()
    known = torch.tensor(mask, dtype=torch.bool)
    x = torch.tensor([1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.float64)
    p = torch.stack([part.log_prob(values) for part in parts]).logsumexp(0).exp().detach()
    p = torch.where((values == x)[:, known].all(1), p, 0).numpy()
    with generators_kept(), torch.no_grad():
        seed_torch(1)
        rows = x.expand(DRAWS, D).where(known, 0)
        drawn, ess = complete(parts, rows, known.expand(DRAWS, D), particles)
    counts = np.bincount(drawn.numpy().astype(int) @ (1 << np.arange(D)[::-1]), minlength=1 << D)
    return counts, p / p.sum(), ess.numpy()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ordered", [False, True])
def test_completions_are_of_the_exact_conditional(mask: str, ordered: bool) -> None:
    """G-test of 5,000 draws, false-alarm rate 1e-6. With 200 particles the bias is far below what the test finds."""
    ordering = torch.from_numpy(np.random.default_rng(1).permutation(D)) if ordered else None
    parts = [Autoregressive(conditioner("nade"), Bernoulli(), (D,), ordering=ordering)]
    counts, p, ess = completed(parts, MASKS[mask], 200)
    assert counts[p == 0].sum() == 0, "a known site was changed"
    assert g_test(counts, p) > FALSE_ALARM
    if not ordered:
        exact = mask in ("prefix", "all", "none")
        assert (ess == 200).all() == exact
        assert ((ess >= 1) & (ess <= 200)).all()


def test_completions_under_several_orderings() -> None:
    """The ordering is chosen by how well it foresaw what is known, also where all of it is a prefix of one."""
    orders = [
        torch.arange(D),
        torch.arange(D - 1, -1, -1),
        torch.randperm(D, generator=torch.Generator().manual_seed(0)),
    ]
    parts = [
        Autoregressive(conditioner(name), Bernoulli(), (D,), ordering=order)
        for name, order in zip(("nade", "made", "fvsbn"), orders, strict=True)
    ]
    for mask in ("prefix", "scattered"):
        counts, p, ess = completed(parts, MASKS[mask], 300)
        assert (ess < 300).any()  # a prefix of one ordering alone
        assert counts[p == 0].sum() == 0
        assert g_test(counts, p) > FALSE_ALARM


def test_the_effective_sample_size_is_that_of_the_first_particles() -> None:
    """Two particles and one unknown site before the known one: 1 / sum w^2 of the two likelihoods, to be seen exactly.

    With many sites that say little each, the particles are resampled, and what is counted is their first ancestors.
    """
    p = Autoregressive(conditioner("fvsbn", sites=2), Bernoulli(), (2,))
    one = p.log_prob(torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64))
    first = p.log_prob(p.enumerate_support()).reshape(2, 2).logsumexp(1)
    w = (one - first).exp()  # p(x_2 = 1 | x_1)
    uneven = ((w / w.sum()).square().sum() ** -1).item()
    x, known = torch.ones(400, 2, dtype=torch.float64), torch.tensor([[False, True]]).expand(400, 2)
    with generators_kept(), torch.no_grad():
        seed_torch(0)
        _, ess = complete([p], x, known, 2)
    found = set(ess.numpy().round(6))
    assert found == {2.0, round(uneven, 6)}  # the same first bit twice, or one of each

    long = Autoregressive(conditioner("fvsbn", sites=60), Bernoulli(), (60,))
    known = (torch.arange(60) % 2 == 1).expand(20, 60)
    with generators_kept(), torch.no_grad():
        seed_torch(0)
        _, ess = complete([long], torch.zeros(20, 60, dtype=torch.float64), known, 50)
    assert (ess < 10).all()


def test_what_cannot_be_is_refused() -> None:
    p = Autoregressive(conditioner("nade", Normal(), 3), Normal(), (3,))
    x = torch.tensor([[0.0, 1e200, 0.0]], dtype=torch.float64)
    with pytest.raises(InputError, match="probability 0"), torch.no_grad():
        complete([p], x, torch.tensor([[False, True, False]]), 10)


def test_one_particle_is_not_enough_and_says_so() -> None:
    """The test above can fail: with a single particle the draws are wrong, and the effective sample size is 1."""
    counts, p, ess = completed([Autoregressive(conditioner("nade"), Bernoulli(), (D,))], MASKS["suffix"], 1)
    assert g_test(counts, p) < FALSE_ALARM
    assert (ess == 1).all()


def test_each_row_is_completed_under_its_own_context() -> None:
    net = conditioner("nade", context=2)
    context = torch.eye(2, dtype=torch.float64).repeat(2000, 1) * 3
    p = Autoregressive(net, Bernoulli(), (D,), context=context)
    known = torch.tensor(MASKS["suffix"], dtype=torch.bool).expand(4000, D)
    x = torch.zeros(4000, D, dtype=torch.float64)
    with generators_kept(), torch.no_grad():
        seed_torch(0)
        drawn, _ = complete([p], x, known, 100)
        for c in (0, 1):
            alone = Autoregressive(net, Bernoulli(), (D,), context=context[c])
            values = alone.enumerate_support()
            table = alone.log_prob(values).exp() * (values == x[0])[:, known[0]].all(1)
            mean = (table[:, None] * values).sum(0) / table.sum()
            found = drawn[c::2].mean(0)
            # 7 means of 2,000 bits: 5.5 standard errors are a false alarm of 3e-7 in all
            assert ((found - mean).abs() <= 5.5 * (mean * (1 - mean) / 2000).sqrt() + 2e-3).all()
