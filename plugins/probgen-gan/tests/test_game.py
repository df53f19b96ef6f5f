"""The game against steps by hand and a known equilibrium; games of others: CycleGAN, and one that grows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from probgen_gan import Average, Player, Turn, clipping, play
from probgen_gan.losses import LOSSES
from probgen_gan.penalties import squared_slope
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from probgen import Run
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.contract.state import digest_of
from probgen.errors import DivergedError, PluginError
from probgen.store.folder import RunFolder


@pytest.fixture(autouse=True)
def _generators() -> Iterator[None]:
    with generators_kept():
        seed_torch(0)
        yield


class Number(nn.Module):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros((), dtype=torch.float64))


# the gradient of player p's loss is (A theta + B)_p
A = np.array([[2.0, 0.7, -0.4], [-0.9, 1.5, 0.3], [0.5, -0.6, 1.0]])
B = np.array([1.0, -2.0, 0.5])


def game_of_numbers(turns: tuple[int, int, int] = (1, 1, 1)) -> tuple[list[Number], dict[str, Player]]:
    """Three players with a weight each, whose equilibrium solves A theta = -B."""
    numbers = [Number(), Number(), Number()]

    def loss(p: int, turn: Turn) -> Tensor:
        theta = [number.value for number in numbers]
        others = sum(A[p, q] * theta[q] for q in range(3) if q != p)
        return 0.5 * A[p, p] * theta[p].square() + theta[p] * (others + B[p])

    players = {
        name: Player(numbers[p], torch.optim.SGD(numbers[p].parameters(), lr=0.2), partial(loss, p), turns[p])
        for p, name in enumerate("abc")
    }
    return numbers, players


def values(numbers: list[Number]) -> list[float]:
    return [number.value.item() for number in numbers]


def test_each_player_moves_its_own_weights_in_turn() -> None:
    """Steps of three players with one, two and three turns, against NumPy."""
    by_hand, theta = [], np.zeros(3)
    for _ in range(4):
        for p in (0, 1, 1, 2, 2, 2):
            theta[p] -= 0.2 * (A @ theta + B)[p]
        by_hand.append(theta.copy())
    numbers, players = game_of_numbers((1, 2, 3))
    found: list[list[float]] = []
    play(Run(), players, 4, after=lambda t: found.append(values(numbers)) or {})
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)


def test_three_players_come_to_the_equilibrium() -> None:
    numbers, players = game_of_numbers()
    play(Run(), players, 300)
    np.testing.assert_allclose(values(numbers), np.linalg.solve(A, -B), atol=1e-9)


def test_the_others_stand_still() -> None:
    """In a turn the weights of its player alone require gradients, afterwards those that did before."""
    numbers, players = game_of_numbers((2, 1, 1))
    players["c"].net = nn.ModuleList([numbers[2], frozen := Number().requires_grad_(False)])
    turns: list[Turn] = []
    loss = players["a"].loss

    def watched(turn: Turn) -> Tensor:
        turns.append(turn)
        assert [number.value.requires_grad for number in (*numbers, frozen)] == [True, False, False, False]
        return loss(turn)

    players["a"].loss = watched
    run = Run()
    play(run, players, 2, after=lambda t: {"twice": 2.0 * t})
    assert turns == [Turn(0, 0, 0, 0.0), Turn(0, 1, 1, 0.0), Turn(1, 0, 2, 0.5), Turn(1, 1, 3, 0.5)]
    assert [number.value.requires_grad for number in (*numbers, frozen)] == [True, True, True, False]
    assert set(run.history().data_vars) == {"a_loss", "b_loss", "c_loss", "twice"}


def test_rates_averages_and_constraints() -> None:
    """Of a weight that goes down by its learning rate."""
    number, held = Number(), Number()
    optimizer = torch.optim.SGD(number.parameters(), lr=1.0)
    player = Player(
        number, optimizer, lambda turn: number.value, 2, lambda gone: 1 - gone, Average(number, held, 0.5)
    )
    found: list[list[float]] = []
    play(Run(), {"it": player}, 4, after=lambda t: found.append(values([number, held])) or {})
    value = average = 0.0
    by_hand = []
    for t in range(4):
        for number_of_turn in (2 * t, 2 * t + 1):
            value -= 1 - t / 4
            decay = min(0.5, (1 + number_of_turn) / (10 + number_of_turn))
            average = decay * average + (1 - decay) * value
        by_hand.append([value, average])
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)
    player.constrain = clipping(number, 0.3)
    play(Run(), {"it": player}, 1)
    assert number.value.item() == -0.3


def test_a_loss_that_is_not_finite_names_its_player() -> None:
    numbers, players = game_of_numbers()
    players["b"].loss = lambda turn: numbers[1].value + (float("inf") if turn.step == 2 else 0.0)
    with pytest.raises(DivergedError, match="coarse step 2: the loss of player 'b' is inf"):
        play(Run(), players, 5, stage="coarse")
    assert numbers[1].value.item() == pytest.approx(-0.4)
    assert all(number.value.requires_grad for number in numbers)


def test_names_of_what_is_kept_are_not_those_of_players() -> None:
    numbers, players = game_of_numbers()
    with pytest.raises(PluginError, match=r"\['b_optimizer'\]"):
        play(Run(), players, 1, keep={"b_optimizer": numbers[0]})


# CycleGAN (Zhu et al. 2017): two generators that are one player, and a discriminator for each domain

MAP, SHIFT = torch.tensor([[1.2, -0.6], [0.5, 0.9]]), torch.tensor([1.0, -0.5])


def rows_of(domain: str, n: int) -> Tensor:
    """Three Gaussians of different weights in the plane; those of domain b lie where the planted map takes them."""
    means = torch.tensor([[0.0, 0.0], [2.0, 0.5], [0.5, 1.5]])
    a = means[torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, True)] + 0.2 * torch.randn(n, 2)
    return a @ MAP.T + SHIFT if domain == "b" else a


class CycleGAN(nn.Module):
    """G of both ways, affine and at first the identity, and D of both domains."""

    def __init__(self) -> None:
        super().__init__()
        self.G = nn.ModuleDict({"ab": nn.Linear(2, 2), "ba": nn.Linear(2, 2)})
        for net in self.G.values():
            nn.init.eye_(net.weight)
            nn.init.zeros_(net.bias)
        self.D = nn.ModuleDict({domain: self.discriminator() for domain in "ab"})

    def discriminator(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)
        )

    def g_loss(self, turn: Turn) -> Tensor:
        """Both discriminators are to believe it, and there and back is where it was (eq. 3)."""
        a, b = rows_of("a", 64), rows_of("b", 64)
        y, x = self.G["ab"](a), self.G["ba"](b)
        cycle = (self.G["ba"](y) - a).abs().mean() + (self.G["ab"](x) - b).abs().mean()
        fooled = [
            LOSSES["least_squares"].generator(fake, fake).mean() for fake in (self.D["b"](y), self.D["a"](x))
        ]
        return sum(fooled) + cycle

    def d_loss(self, domain: str, turn: Turn) -> Tensor:
        other, way = ("b", "ba") if domain == "a" else ("a", "ab")
        real, fake = self.D[domain](rows_of(domain, 64)), self.D[domain](self.G[way](rows_of(other, 64)))
        return LOSSES["least_squares"].discriminator(real, fake).mean()


def test_a_cyclegan_learns_the_planted_map() -> None:
    """From unpaired rows, within 0.15 of each number of the map; 0.6 away at the start, within 0.04 of five seeds."""
    gan = CycleGAN()

    def player(net: nn.Module, loss: object) -> Player:
        return Player(net, torch.optim.Adam(net.parameters(), lr=0.02, betas=(0.5, 0.99)), loss)

    players = {"g": player(gan.G, gan.g_loss)}
    players |= {f"d_{domain}": player(gan.D[domain], partial(gan.d_loss, domain)) for domain in "ab"}
    play(Run(), players, 300)
    torch.testing.assert_close(gan.G["ab"].weight, MAP, atol=0.15, rtol=0)
    torch.testing.assert_close(gan.G["ab"].bias, SHIFT, atol=0.15, rtol=0)
    torch.testing.assert_close(gan.G["ba"].weight @ MAP, torch.eye(2), atol=0.15, rtol=0)


# a GAN that grows (Karras et al. 2018): 4 x 4, then 8 x 8


def bars(n: int) -> Tensor:
    """Images of a bar, 0.2 or so brighter or darker: (row, 1, 8, 8)."""
    mean = torch.zeros(8, 8)
    mean[:, 2:5] = 1.0
    mean[5] = -1.0
    return mean * (1 + 0.2 * torch.randn(n, 1, 1, 1))


class Growing(nn.Module):
    """G and D of 4 x 4 images, what is beside them at 8 x 8, and averages of both G."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.detail = nn.Linear(1, 16), nn.Linear(1, 64)
        self.G = nn.ModuleDict(
            {"4": nn.ModuleList([self.small]), "8": nn.ModuleList([self.small, self.detail])}
        )
        self.average = copy.deepcopy(self.G)
        self.D = nn.ModuleDict({str(side): self.discriminator(side) for side in (4, 8)})

    def discriminator(self, side: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, side), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(8, 1))

    def generate(self, side: int, n: int) -> Tensor:
        """(row, 1, side, side)."""
        z = torch.randn(n, 1)
        y = self.small(z).view(n, 1, 4, 4)
        return y if side == 4 else interpolate(y, scale_factor=2) + self.detail(z).view(n, 1, 8, 8)

    def d_loss(self, side: int, turn: Turn) -> Tensor:
        x = avg_pool2d(bars(32), 8 // side).requires_grad_()
        real, fake = self.D[str(side)](x), self.D[str(side)](self.generate(side, 32))
        loss = LOSSES["relativistic"].discriminator(real, fake).mean()
        return loss + 0.05 * squared_slope(real.squeeze(1), x).mean()

    def g_loss(self, side: int, turn: Turn) -> Tensor:
        fake = self.D[str(side)](self.generate(side, 32))
        real = self.D[str(side)](avg_pool2d(bars(32), 8 // side))
        return LOSSES["relativistic"].generator(real, fake).mean()


class Failure(Exception):
    """The process ended here."""


def grow(
    steps: int, path: Path | None = None, end: tuple[str, int] | None = None
) -> tuple[Growing, Run, list[Tensor]]:
    """Two stages, the second with more to move and other networks; `end` is a stage and a step to fail at."""
    seed_torch(1)
    gan, means = Growing(), []
    with RunFolder(path) if path else generators_kept() as folder:
        run = Run(folder=folder)
        run._pause = 0.0  # a checkpoint a step
        adam = partial(torch.optim.Adam, lr=0.02, betas=(0.0, 0.99))
        for side in (4, 8):
            D, G, stage = gan.D[str(side)], gan.G[str(side)], f"side-{side}"
            d = Player(D, adam(D.parameters()), partial(gan.d_loss, side))
            g = Player(G, adam(G.parameters()), partial(gan.g_loss, side))
            g.average = Average(G, gan.average[str(side)], 0.9)

            def after(t: int, stage: str = stage) -> dict[str, float]:
                if (stage, t) == end:
                    raise Failure
                return {}

            play(run, {"d": d, "g": g}, steps, stage=stage, after=after)
            means.append(gan.generate(side, 500).detach().mean(0))
        run.close()
    return gan, run, means


def test_a_game_of_two_resolutions() -> None:
    """Draws of each stage have the mean of the images of its size within 0.25; of four seeds, within 0.14."""
    _, run, means = grow(250)
    assert run.history()["stage"].values.tolist() == ["side-4"] * 250 + ["side-8"] * 250
    truth = bars(1000).mean(0, keepdim=True)
    for mean in means:
        expected = avg_pool2d(truth, 8 // mean.shape[-1])[0]
        torch.testing.assert_close(mean, expected, atol=0.25, rtol=0)


@pytest.mark.parametrize("end", [("side-4", 0), ("side-4", 3), ("side-8", 0), ("side-8", 2)])
def test_a_game_of_stages_goes_on_to_the_same_bits(end: tuple[str, int], tmp_path: Path) -> None:
    whole, run, _ = grow(5)
    with pytest.raises(Failure):
        grow(5, tmp_path, end)
    again, resumed, _ = grow(5, tmp_path)
    assert digest_of(again.state_dict()) == digest_of(whole.state_dict())
    assert digest_of(resumed.history()) == digest_of(run.history())
