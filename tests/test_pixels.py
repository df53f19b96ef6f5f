"""PixelCNN and PixelRNN: what sees what, against enumeration, NumPy by loops, and the naive way of drawing."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probgen.contract.seeds import generators_kept, seed_torch
from probgen.distributions import (
    Autoregressive,
    Bernoulli,
    Categorical,
    LogisticMixture,
    NormalMixture,
    Ordinal,
)
from probgen.errors import InputError
from probgen.models.pixelcnn import GatedLayer, PixelCNNConditioner
from probgen.models.pixelrnn import PixelRNNConditioner
from probgen.nn.masked import Horizontal, Vertical, check_dilation, colors_of
from tests.test_autoregressive import FALSE_ALARM, Uncached, g_test

NETS = ["cnn", "cnn-wide", "cnn-far", "row", "diagonal"]


def net(name: str, site: Any, image: tuple[int, int, int], context: Any = 0, scale: float = 0.5) -> Any:
    """One of each kind in float64, with weights far from their start."""
    with generators_kept():
        seed_torch(3)
        made = {
            "cnn": lambda: PixelCNNConditioner(site, image, 24, 4, 24, (5, 3), context),
            "cnn-wide": lambda: PixelCNNConditioner(site, image, 23, 3, 25, (3, 7), context),
            "cnn-far": lambda: PixelCNNConditioner(
                site, image, 23, 4, 23, (3, 3), context, dilation=(1, 2), dropout=0.5
            ).eval(),
            "row": lambda: PixelRNNConditioner(site, image, 6, 2, 24, "row", 7, context),
            "diagonal": lambda: PixelRNNConditioner(site, image, 6, 2, 24, "diagonal", 3, context),
        }[name]().double()
        for parameter in made.parameters():
            parameter.data = scale * torch.randn_like(parameter)
    return made


# what sees what


def sight(f: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """Which inputs have a gradient at which outputs, over ten random images: (channel, i, j, channel, i, j)."""
    with generators_kept():
        seed_torch(0)
        x = torch.randn(10, *shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: f(x).sum(0), x)
    return (jacobian != 0).any(3).numpy()


MASKS = [("A", 1), ("B", 1), ("B", 2)]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("mask", "dilation"), MASKS)
def test_the_vertical_stack_sees_the_rows_above(mask: Any, dilation: int, kernel: int) -> None:
    layer = Vertical(2, 3, kernel, mask, dilation).double()
    seen = sight(layer, (2, 6, 5))
    i, j, a, b = np.ogrid[:6, :5, :6, :5]
    p = kernel // 2 * dilation
    expected = (i - p <= a) & (a <= i - (mask == "A")) & (abs(b - j) <= p)
    expected = expected & ((a - i) % dilation == 0) & ((b - j) % dilation == 0)
    assert (seen == expected[None, :, :, None]).all()
    rows = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    window = torch.nn.functional.pad(rows, (0, 0, p, 0))[:, :, 4 : 4 + p + (mask == "B")]
    torch.testing.assert_close(layer.last(window)[:, :, 0], layer(rows)[:, :, 4])


@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("mask", "dilation"), MASKS)
def test_the_horizontal_stack_sees_the_left_and_the_colors_before(
    mask: Any, dilation: int, kernel: int, colors: int
) -> None:
    of = colors_of(6, colors)
    seen = sight(Horizontal(of, of, kernel, mask, dilation).double(), (6, 3, 5))
    i, j, a, b = np.ogrid[:3, :5, :3, :5]
    left = (a == i) & (j - kernel // 2 * dilation <= b) & (b < j) & ((b - j) % dilation == 0)
    here = (a == i) & (b == j)
    before = (of[:, None] > of if mask == "A" else of[:, None] >= of).numpy()
    expected = left[None, :, :, None] | (here[None, :, :, None] & before[:, None, None, :, None, None])
    assert (seen == expected).all()


@pytest.mark.parametrize("stack", ["vertical", "horizontal"])
def test_both_stacks_of_a_net(stack: str) -> None:
    """The vertical one knows the rows above and no pixel of its own row; the horizontal one all that is before."""
    colors = 2
    image = (colors, 4, 4)
    made = net("cnn", Ordinal(4), image)

    def features(e: Tensor) -> Tensor:
        v = h = torch.cat([e, torch.ones_like(e[:, :1])], 1)
        for layer in made.layers:
            v, h = layer(v, h, None)
        return v if stack == "vertical" else h

    seen = sight(features, image)
    of = colors_of(24, colors).numpy()
    i, j, a, b = np.ogrid[:4, :4, :4, :4]
    above, left, here = a < i, (a == i) & (b < j), (a == i) & (b == j)
    before = of[:, None] > np.arange(colors)
    expected = np.broadcast_to(above[None, :, :, None], seen.shape)
    if stack == "horizontal":
        expected = (
            expected
            | left[None, :, :, None]
            | (here[None, :, :, None] & before[:, None, None, :, None, None])
        )
    assert (seen == expected).all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("image", [(1, 3, 4), (2, 3, 2), (3, 2, 3)])
@pytest.mark.parametrize("context", [0, 2, "map"])
def test_each_color_sees_all_before_it_and_nothing_else(name: str, image: Any, context: Any) -> None:
    """Gradients to the present and the future are exactly 0; to everything before they are not: no blind spot."""
    sites = image[0] * image[1] * image[2]
    given: Any = (2, *image[1:]) if context == "map" else context
    made = net(name, Ordinal(5), image, given)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 4, (40, sites)))
    shape = () if not given else given if context == "map" else (given,)
    s = torch.from_numpy(np.random.default_rng(1).standard_normal((40, *shape))) if given else None
    made.site = Told(made.site)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x, s).abs().sum((0, 2)), x)
    seen = (jacobian != 0).any(1)
    assert (seen == torch.ones(sites, sites).tril(-1).bool()).all()


class Told:
    """A site whose value may lie between the levels, so that there is a gradient."""

    def __init__(self, site: Any):
        self.site, self.size, self.features = site, site.size, site.features

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return self.site.encode(x, dtype)


@pytest.mark.parametrize("name", NETS)
def test_the_order_of_the_colors_is_the_chain(name: str) -> None:
    """With chain 2, 0, 1 the second color sees the third and the first of its own pixel, in the data as they lie."""
    image = (3, 2, 2)
    places = torch.arange(12).reshape(image).permute(1, 2, 0)[:, :, [2, 0, 1]].flatten()
    made = net(name, Ordinal(5), image)
    rank = places.argsort().reshape(image)
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (60, *image)))
    p = Autoregressive(made, Ordinal(5), image, ordering=places)
    base = p.conditionals(x).logits
    for at in np.ndindex(image):
        moved = x.clone()
        moved[(slice(None), *at)] = (moved[(slice(None), *at)] + 1) % 5
        changed = (p.conditionals(moved).logits != base).any(-1).any(0)
        assert (changed == (rank > rank[at])).all()


# enumeration

SPACES = {
    "binary 2 x 3": (Bernoulli(), (1, 2, 3)),
    "levels 2 x 2": (Ordinal(3), (1, 2, 2)),
    "tokens 2 x 2": (Categorical(3), (1, 2, 2)),
    "logistics 2 x 2": (LogisticMixture(3, 2), (1, 2, 2)),
    "colors 1 x 2": (Ordinal(2), (3, 1, 2)),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("space", SPACES)
def test_probabilities_sum_to_one_and_draws_have_them(name: str, space: str) -> None:
    """A G-test with a false-alarm rate of 1e-6, which finds out draws whose sites are in another order."""
    site, image = SPACES[space]
    sites = image[0] * image[1] * image[2]
    p = Autoregressive(net(name, site, image), site, (sites,))
    values = torch.cartesian_prod(*[torch.arange(site.levels)] * sites)
    table = p.log_prob(values.double() if site.dtype is None else values)
    assert abs(table.logsumexp(0).item()) < 1e-10
    with generators_kept():
        seed_torch(0)
        draws = p.sample((6000,)).numpy().astype(int)

    def p_value(draws: np.ndarray) -> float:
        counts = np.bincount(draws @ (site.levels ** np.arange(sites)[::-1]), minlength=len(values))
        return g_test(counts, table.exp().detach().numpy())

    assert p_value(draws) > FALSE_ALARM
    assert p_value(draws[:, ::-1]) < FALSE_ALARM


# NumPy, from the formulas alone


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def weights(made: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in made.state_dict().items()}


def at(x: np.ndarray, i: int, j: int) -> np.ndarray:
    """A pixel, 0 outside the image: (channel, i, j) -> (channel,)."""
    inside = 0 <= i < x.shape[1] and 0 <= j < x.shape[2]
    return x[:, i, j] if inside else np.zeros(len(x))


def head(w: dict[str, np.ndarray], h: np.ndarray) -> np.ndarray:
    """(width, i, j) -> (number, i, j)."""
    y = (
        np.einsum("oc,cij->oij", w["hidden.weight"][:, :, 0, 0], np.maximum(h, 0))
        + w["hidden.bias"][:, None, None]
    )
    y = np.einsum("oc,cij->oij", w["numbers.weight"][:, :, 0, 0], np.maximum(y, 0))
    return y + w["numbers.bias"][:, None, None]


def cnn_by_hand(made: Any, e: np.ndarray) -> np.ndarray:
    """Figure 2 of van den Oord et al. 2016b, for images of one color: (channel, i, j) -> (number, i, j)."""
    w, v, h = weights(made), e, e
    height, width = e.shape[1:]
    for n in range(len(made.layers)):
        V, A = w[f"layers.{n}.vertical.weight"], w[f"layers.{n}.across.weight"][:, :, 0, 0]
        H, O = w[f"layers.{n}.horizontal.weight"], w[f"layers.{n}.out.weight"][:, :, 0, 0]
        p, q, d = V.shape[3] // 2, H.shape[3] - 1, made.layers[n].vertical.dilation[0]
        a, b = np.zeros((2, len(V), height, width))
        for i, j in np.ndindex(height, width):
            a[:, i, j] = w[f"layers.{n}.vertical.bias"]
            for k in range(V.shape[2]):  # rows i - p d, i - (p - 1) d, ...
                for m in range(V.shape[3]):
                    a[:, i, j] += V[:, :, k, m] @ at(v, i + (k - p) * d, j + (m - p) * d)
            b[:, i, j] = A @ a[:, i, j] + w[f"layers.{n}.across.bias"]
            for m in range(q + 1):
                here = m == q and n == 0  # mask A: of the pixel itself the ones alone
                seen = at(h, i, j + (m - q) * d) * (np.arange(len(h)) == len(h) - 1 if here else 1)
                b[:, i, j] += H[:, :, 0, m] @ seen
        half = len(a) // 2
        g = np.tanh(b[:half]) * sigmoid(b[half:])
        g = np.einsum("oc,cij->oij", O, g) + w[f"layers.{n}.out.bias"][:, None, None]
        v, h = np.tanh(a[:half]) * sigmoid(a[half:]), g + h if n else g
    return head(w, h)


def first_by_hand(w: dict[str, np.ndarray], e: np.ndarray) -> np.ndarray:
    """A square kernel of which the pixel itself and all after it are masked; of itself the ones are seen."""
    V, H = w["vertical.weight"], w["horizontal.weight"]
    p = V.shape[3] // 2
    x = np.zeros((len(V), *e.shape[1:])) + w["vertical.bias"][:, None, None]
    for i, j in np.ndindex(*e.shape[1:]):
        for m in range(2 * p + 1):
            for k in range(p):
                x[:, i, j] += V[:, :, k, m] @ at(e, i - p + k, j - p + m)
            if m < p:
                x[:, i, j] += H[:, :, 0, m] @ at(e, i, j - p + m)
        x[:, i, j] += H[:, -1, 0, p] * e[-1, i, j]
    return x


def lstm(gates: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o, f, i, g = gates.reshape(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def row_by_hand(made: Any, e: np.ndarray) -> np.ndarray:
    """Section 3.1 of van den Oord et al. 2016a."""
    w = weights(made)
    x = first_by_hand(w, e)
    for n in range(len(made.layers)):
        K, S = w[f"layers.{n}.K_is.weight"], w[f"layers.{n}.K_ss.weight"]
        h, c = np.zeros((2, S.shape[1], *e.shape[1:]))
        for i, j in np.ndindex(*e.shape[1:]):
            gates = w[f"layers.{n}.K_is.bias"] + K[:, :, 0, 0] @ at(x, i, j - 1) + K[:, :, 0, 1] @ x[:, i, j]
            for m in range(3):
                gates = gates + S[:, :, m] @ at(h, i - 1, j - 1 + m)
            h[:, i, j], c[:, i, j] = lstm(gates, at(c, i - 1, j))
        up = np.einsum("oc,cij->oij", w[f"layers.{n}.up.weight"][:, :, 0, 0], h)
        x = x + up + w[f"layers.{n}.up.bias"][:, None, None]
    return head(w, x)


def diagonal_by_hand(made: Any, e: np.ndarray) -> np.ndarray:
    """Section 3.2: a cell knows the one above and the one beside it, from the left, and mirrored from the right, with a column
    of nothing there.
    """
    w = weights(made)
    width = e.shape[2]
    x = first_by_hand(w, np.pad(e, ((0, 0), (0, 0), (0, 1))))
    for n in range(len(made.layers)):
        found = {}
        for way, y in (("left", x), ("right", x[:, :, ::-1])):
            K, S = w[f"layers.{n}.{way}.K_is.weight"][:, :, 0, 0], w[f"layers.{n}.{way}.K_ss.weight"]
            h, c = np.zeros((2, S.shape[1] // 2, *y.shape[1:]))
            for i, j in np.ndindex(*y.shape[1:]):
                before = np.concatenate([at(h, i - 1, j), at(h, i, j - 1)])
                gates = w[f"layers.{n}.{way}.K_is.bias"] + K @ y[:, i, j] + S @ before
                h[:, i, j], c[:, i, j] = lstm(gates, at(c, i, j - 1))
            found[way] = h
        right = np.zeros_like(found["right"])
        right[:, 1:] = found["right"][:, :-1, ::-1]
        x = x + np.einsum("oc,cij->oij", w[f"layers.{n}.up.weight"][:, :, 0, 0], found["left"])
        x = x + np.einsum("oc,cij->oij", w[f"layers.{n}.up_right.weight"][:, :, 0, 0], right)
        x = x + w[f"layers.{n}.up.bias"][:, None, None]
    return head(w, x)[:, :, :width]


@pytest.mark.parametrize("name", NETS)
def test_numbers_are_those_of_the_papers(name: str) -> None:
    made = net(name, Bernoulli(), (1, 4, 5))
    x = np.random.default_rng(0).integers(0, 2, (6, 20)).astype(float)
    found = made(torch.from_numpy(x)).detach().numpy()
    by_hand = cnn_by_hand if "cnn" in name else row_by_hand if name == "row" else diagonal_by_hand
    for row, numbers in zip(x, found, strict=True):
        e = np.stack([row.reshape(4, 5), np.ones((4, 5))])
        np.testing.assert_allclose(numbers[:, 0], by_hand(made, e).flatten(), atol=1e-9)


# drawing

CASES = {
    "binary": (Bernoulli(), (1, 4, 5), 0),
    "levels, vector": (Ordinal(4), (1, 3, 4), 2),
    "levels, map": (Ordinal(4), (2, 3, 4), (2, 3, 4)),
    "logistics": (LogisticMixture(16, 2), (3, 2, 3), 0),
    "codes": (Categorical(30), (1, 3, 3), 3),
    "real": (NormalMixture(2), (1, 3, 3), 0),
}


def given(context: Any, rows: int = 20) -> Tensor | None:
    shape = context if isinstance(context, tuple) else (context,)
    return torch.from_numpy(np.random.default_rng(0).standard_normal((rows, *shape))) if context else None


def distribution(conditioner: Any, site: Any, image: Any, s: Tensor | None) -> Autoregressive:
    sites = image[0] * image[1] * image[2]
    return Autoregressive(
        conditioner, site, (sites,), context=s, context_dim=3 if s is not None and s.ndim == 4 else 1
    )


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("case", CASES)
def test_the_cache_draws_what_the_whole_net_draws(name: str, case: str) -> None:
    site, image, context = CASES[case]
    made = net(name, site, image, context, 0.3 if site.levels is None else 0.5)
    draws = []
    for conditioner in (made, Uncached(made)):
        with generators_kept():
            seed_torch(5)
            p = distribution(conditioner, site, image, given(context))
            draws.append(p.sample(() if context else (20,)))
    torch.testing.assert_close(draws[0], draws[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("case", CASES)
def test_a_walk_goes_on_with_other_rows(name: str, case: str) -> None:
    """As particles that are resampled: after every site rows are shuffled, doubled and dropped."""
    site, image, context = CASES[case]
    made = net(name, site, image, context, 0.3 if site.levels is None else 0.5)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        walks = [
            distribution(conditioner, site, image, given(context)).walk(torch.Size((20,)))
            for conditioner in (made, Uncached(made))
        ]
        for i in range(walks[0].sites):
            numbers = [walk.numbers(i) for walk in walks]
            torch.testing.assert_close(numbers[0], numbers[1], rtol=1e-9, atol=1e-9)
            drawn = site.p(numbers[0]).sample()
            index = torch.from_numpy(rng.integers(0, 20, 20))
            for walk in walks:
                walk.put(i, drawn)
                walk.take(index)


def test_a_map_is_seen_where_it_lies() -> None:
    """A context that is a map reaches the features of its own pixel, in both stacks."""
    layer = GatedLayer(torch.tensor([0, -1]), 4, 1, 3, "A", 2).double()
    e = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    for stack in (0, 1):
        seen = sight(lambda s: layer(e.expand(10, -1, -1, -1), e.expand(10, -1, -1, -1), s)[stack], (2, 3, 3))  # noqa: B023
        i, j, a, b = np.ogrid[:3, :3, :3, :3]
        assert (seen == ((i == a) & (j == b))[None, :, :, None]).all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("context", "wrong"), [(0, (2,)), (2, None), (2, (3,)), ((2, 3, 4), (2,)), ((2, 3, 4), (2, 4, 3))]
)
def test_contexts_of_another_shape_are_refused(name: str, context: Any, wrong: Any) -> None:
    made = net(name, Bernoulli(), (1, 3, 4), context)
    s = None if wrong is None else torch.zeros(5, *wrong, dtype=torch.float64)
    for call in (lambda: made(torch.zeros(5, 12, dtype=torch.float64), s), lambda: made.start(5, s)):
        with pytest.raises(InputError, match="context"):
            call()


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_dilation_is_refused_exactly_where_it_leaves_pixels_out(reach: int, kernel: int) -> None:
    for dilation in product(range(1, 8), repeat=2):
        seen = set(range(1, reach + 1))  # mask A
        for d in dilation:
            seen = {a + d * tap for a in seen for tap in range(kernel // 2 + 1)}
        if seen == set(range(1, max(seen) + 1)):
            check_dilation(reach, dilation, kernel)
            continue
        with pytest.raises(ValueError, match="blind spot"):
            check_dilation(reach, dilation, kernel)


@pytest.mark.parametrize(("kernel", "dilation"), [((7, 3), (3,)), ((3, 3), (1, 2)), ((5, 5), (1, 4))])
def test_a_dilated_net_sees_all_that_it_reaches(kernel: Any, dilation: Any) -> None:
    """Gradients at the last of 9 x 9 pixels, to all before it as far as the layers reach up and to the left."""
    with generators_kept():
        seed_torch(0)
        made = PixelCNNConditioner(Bernoulli(), (1, 9, 9), 6, 3, 6, kernel, dilation=dilation).double()
        x = torch.rand(20, 81, dtype=torch.float64)
    made.site = Told(made.site)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x)[:, -1].abs().sum(), x)
    seen = (jacobian != 0).any(0).reshape(9, 9)
    reach = sum(layer.vertical.reach for layer in made.layers)
    assert seen[max(0, 8 - reach) :, max(0, 8 - reach) :].flatten()[:-1].all()


def test_a_conditioner_that_would_not_be_one_is_refused() -> None:
    for kernel in ((3, 1), (4, 3), (7, 2)):
        with pytest.raises(ValueError, match="blind spot"):
            PixelCNNConditioner(Bernoulli(), (1, 4, 4), kernel=kernel)
    with pytest.raises(ValueError, match="blind spot"):
        PixelRNNConditioner(Bernoulli(), (1, 4, 4), kernel=4)
    with pytest.raises(ValueError, match="dilation = 5: the other layers reach only 3 pixels"):
        PixelCNNConditioner(Bernoulli(), (1, 4, 4), dilation=(5,))
    with pytest.raises(InputError, match="layers = 0"):
        PixelCNNConditioner(Bernoulli(), (1, 4, 4), layers=0)
    with pytest.raises(InputError, match="a context map needs"):
        PixelCNNConditioner(Bernoulli(), (1, 4, 4), context=(2, 2, 2))
    made = net("cnn", Bernoulli(), (1, 3, 4), (2, 3, 4))
    with pytest.raises(InputError, match=r"context = torch\.int64 .*: give floats"):
        made(torch.zeros(5, 12, dtype=torch.float64), torch.zeros(5, 2, 3, 4, dtype=torch.int64))


def test_dropout_is_of_the_fit_alone() -> None:
    """What a layer adds is dropped in a fit and scaled so that its mean stays (3,000 features, 6 standard errors); then nothing."""
    plain = GatedLayer(colors_of(4, 1), 4, 1, 3, "B", 0).double()
    layer = GatedLayer(colors_of(4, 1), 4, 1, 3, "B", 0, dropout=0.3).double()
    layer.load_state_dict(plain.state_dict())
    layer.out.weight.data = torch.eye(4, dtype=torch.float64)[:, :, None, None]
    plain.out.weight.data = layer.out.weight.data
    with generators_kept():
        seed_torch(0)
        x = torch.randn(30, 4, 5, 5, dtype=torch.float64)
        told = layer.eval()(x, x, None), layer.train()(x, x, None)
    v, h = plain(x, x, None)
    for way in told:
        torch.testing.assert_close(way[0], v)
    torch.testing.assert_close(told[0][1], h)
    added, whole = (after - x - layer.out.bias[:, None, None] for after in (told[1][1], h))
    dropped = added.abs() < 1e-12
    assert abs(dropped.double().mean() - 0.3) < 6 * (0.21 / 3000) ** 0.5
    torch.testing.assert_close(added[~dropped], whole[~dropped] / 0.7)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="x has 10 sites, but the conditioner is for images of 1 x 3 x 4"):
        net("cnn", Bernoulli(), (1, 3, 4))(torch.zeros(5, 10, dtype=torch.float64))
    with pytest.raises(InputError, match="each of the 3 colors needs at least one feature"):
        PixelCNNConditioner(Ordinal(4), (3, 2, 2), 2)
