"""NADE's pass over all sites against the loop over sites under autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from probgen.nn import running_sigmoid as module
from probgen.nn.running_sigmoid import running_sigmoid


def loop(e: Tensor, a: Tensor, W: Tensor, V: Tensor) -> Tensor:
    """The formula, one site after the other."""
    ys = []
    for i in range(e.shape[1]):
        ys.append(a.sigmoid() @ V[i].mT)
        a = a + e[:, i] @ W[i]
    return torch.stack(ys, 1)


def problem(
    rows: int, sites: int, features: int, out: int, hidden: int, density: float, dtype: torch.dtype
) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    e = torch.randn(rows, sites, features, generator=g, dtype=torch.float64)
    e = e * (torch.rand(rows, sites, 1, generator=g, dtype=torch.float64) < density)
    shapes = [(rows, hidden), (sites, features, hidden), (sites, out, hidden)]
    rest = [torch.randn(shape, generator=g, dtype=torch.float64) / hidden**0.5 for shape in shapes]
    return [tensor.to(dtype).requires_grad_() for tensor in (e, *rest)]


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("rows", "sites", "features", "out"),
    [(5, 1, 1, 1), (7, 24, 1, 1), (9, 53, 1, 1), (6, 50, 3, 2), (300, 30, 1, 1), (1, 49, 2, 3)],
)
@pytest.mark.parametrize("wants_e", [False, True])
def test_values_and_gradients_are_those_of_the_loop(
    rows: int, sites: int, features: int, out: int, density: float, wants_e: bool
) -> None:
    tensors = problem(rows, sites, features, out, 11, density, torch.float64)
    tensors[0].requires_grad_(wants_e)
    weight = torch.randn(rows, sites, out, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = tensors if wants_e else tensors[1:]
    results = []
    for f in (running_sigmoid, loop):
        y = f(*tensors)
        results.append((y, torch.autograd.grad((y * weight).sum(), wanted, allow_unused=True)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        theirs = torch.zeros_like(ours) if theirs is None else theirs  # the last site tells nobody anything
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_the_layout_of_the_arguments_does_not_matter() -> None:
    plain = problem(7, 30, 2, 3, 11, 0.3, torch.float64)
    strided = [t.detach().mT.contiguous().mT.requires_grad_() for t in plain]
    assert not strided[3].is_contiguous()
    grads = [
        torch.autograd.grad(running_sigmoid(*tensors).square().sum(), tensors) for tensors in (plain, strided)
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_single_precision_is_as_good_as_the_loop_s() -> None:
    """Of bits, as in training: gradients within 2e-6 of the largest entry of the exact ones, as the loop's are."""
    e, a, W, V = problem(100, 300, 1, 1, 60, 0.15, torch.float64)
    e = (e != 0).double()
    weight = torch.randn(100, 300, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = torch.autograd.grad((loop(e, a, W, V) * weight).sum(), (a, W, V))
    single = [t.detach().float().requires_grad_() for t in (a, W, V)]
    ours = torch.autograd.grad((running_sigmoid(e.float(), *single) * weight.float()).sum(), single)
    for found, wanted in zip(ours, exact, strict=True):
        assert (found - wanted).abs().max() < 2e-6 * wanted.abs().max()


def test_nothing_but_the_inputs_is_kept() -> None:
    """What waits for the way back does not grow with rows x sites x hidden."""
    tensors = problem(64, 96, 1, 1, 128, 0.5, torch.float32)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = running_sigmoid(*tensors)
    assert y.requires_grad
    assert sum(kept.values()) == sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert sum(kept.values()) < 64 * 96 * 128 * 4


def test_the_size_of_a_block_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = problem(10, 40, 1, 1, 6, 0.3, torch.float64)
    ys = []
    for block in (1, 2, 7, 40, 64):
        monkeypatch.setattr(module, "BLOCK", block)
        ys.append(running_sigmoid(*tensors))
    for y in ys[1:]:
        torch.testing.assert_close(y, ys[0], rtol=1e-12, atol=1e-12)
