"""A game of any number of players. Each moves its own weights down a loss of its own, one player after the other.

    theta_p <- theta_p - rate d loss_p(theta_1, ..., theta_n) / d theta_p,    p = 1, ..., n

Two players are algorithm 1 of Goodfellow et al. (2014). CycleGAN has more, a progressive GAN has several stages, each a call
of `play`:

    play(run, {"d": Player(D, d_optimizer, d_loss, turns=5), "g": Player(G, g_optimizer, g_loss)}, steps=1000)

Nothing here knows data, networks or what a loss compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from probgen import Run
from probgen.contract.run import Stateful
from probgen.errors import DivergedError, PluginError


class Turn(NamedTuple):
    """Where a game stands when a player moves.

    step    of the stage; in a step every player has its turns
    i       which of the player's turns in this step
    number  which of the player's turns in this stage: `data.batch(turn.number, size)` is a new batch each time
    gone    share of the steps that are over
    """

    step: int
    i: int
    number: int
    gone: float


Loss = Callable[[Turn], Tensor | Mapping[str, Tensor]]


class Average:
    """The exponential average of a network's weights, and of what its normalizations have learned of their inputs.

    net   the network that is followed
    held  a copy of it, which holds the average and is never trained
    """

    def __init__(self, net: nn.Module, held: nn.Module, decay: float):
        self.held, self.decay = held.requires_grad_(False).eval(), decay
        self._pairs = _floats(held), _floats(net)

    @torch.no_grad()
    def follow(self, number: int) -> None:
        """Go on after turn `number`: of a short past in the beginning, of a longer one later."""
        decay = min(self.decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(*self._pairs, 1 - decay)


@dataclass(eq=False)
class Player:
    """One side of a game.

    net        its network, or several in one module
    optimizer  of the weights that it moves
    loss       what it minimizes, at a turn: a number; or numbers by name for the history, `loss` among them
    turns      how many it has in each step
    rate       the factor of its learning rates after a share of the steps
    average    the average of its weights
    constrain  what brings its weights back to where they may be, after each turn
    role       what messages call it: "the discriminator D"
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    turns: int = 1
    rate: Callable[[float], float] | None = None
    average: Average | None = None
    constrain: Callable[[], None] | None = None
    role: str = ""

    def __post_init__(self) -> None:
        self.rates = [group["lr"] for group in self.optimizer.param_groups]


def play(
    run: Run,
    players: Mapping[str, Player],
    steps: int,
    *,
    stage: str = "fit",
    keep: Mapping[str, Stateful] | None = None,
    after: Callable[[int], Mapping[str, Tensor | float]] | None = None,
) -> None:
    """One stage of a game. In each step the players move in the order that they are named in.

    During a turn only the weights of the player require gradients; all others stand still. What a turn leaves for the
    next ones of the same step is the losses' own affair. Where batches are done in parts (`Run.descend`), a turn is played for each part, `run.part`:
    a loss takes `run.rows(batch)`, and what it leaves to other turns is that part's. A checkpoint has each player's network, optimizer and average;
    whatever else lives longer than a step goes into `keep`, so that an interrupted game goes on to the same bits.

    stage  its name; each stage of a fit needs another
    keep   what else the steps depend on, by name
    after  called after each step with its number. What it returns is added to the history, which has `NAME_loss` of each
           player, of its last turn in the step, or what its loss gives by name; a true `done` ends the stage

    Errors: `DivergedError` where a loss is not finite, before the step that it would lead to.
    """
    weights = {name: _weights(player) for name, player in players.items()}
    nets = [player.net for player in players.values()]

    def step(t: int) -> dict[str, Tensor | float]:
        gone = t / steps
        for player in players.values():
            _set_rates(player, gone)
        metrics: dict[str, Tensor | float] = {}
        for name, player in players.items():
            who = f"{stage} step {t}: the loss of {player.role or f'player {name!r}'}"
            for i in range(player.turns):
                turn = Turn(t, i, t * player.turns + i, gone)
                found = _move(run, player, nets, weights[name], turn, who)
                metrics |= {f"{name}_loss": found.pop("loss"), **found}
        if after is not None:
            metrics |= after(t)
        return metrics

    with _standing_still([weight for some in weights.values() for weight in some]):
        run.train(step, steps, keep=_kept(players, keep or {}), stage=stage)


def clipping(net: nn.Module, limit: float) -> Callable[[], None]:
    """A constraint: no weight beyond `limit` in absolute value (Arjovsky et al. 2017, algorithm 1)."""
    weights: list[Tensor] = list(net.parameters())

    @torch.no_grad()
    def clip() -> None:
        torch._foreach_clamp_min_(weights, -limit)
        torch._foreach_clamp_max_(weights, limit)

    return clip


def _weights(player: Player) -> list[Tensor]:
    """What its optimizer moves, less what is frozen."""
    groups = player.optimizer.param_groups
    return [weight for group in groups for weight in group["params"] if weight.requires_grad]


def _set_rates(player: Player, gone: float) -> None:
    if player.rate is not None:
        for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
            group["lr"] = rate * player.rate(gone)


def _move(
    run: Run, player: Player, nets: list[nn.Module], weights: list[Tensor], turn: Turn, who: str
) -> dict[str, float]:
    """One step down the player's loss, which is returned, with what is beside it. Errors: `DivergedError` before it, where that is not finite."""
    for weight in weights:
        weight.requires_grad_(True)
        weight.grad = None

    def work() -> dict[str, Tensor]:
        found = player.loss(turn)
        numbers = dict(found) if isinstance(found, Mapping) else {"loss": found}
        numbers["loss"].backward()
        return {name: number.detach() for name, number in numbers.items()}

    found = {name: number.item() for name, number in run.descend(nets, weights, work).items()}
    value = found["loss"]
    if not math.isfinite(value):
        raise DivergedError(
            f"{who} is {value}, and its weights are as they were before the step. A lower learning_rate, "
            "penalties r1 and r2, or spectral normalization may help"
        )
    player.optimizer.step()
    for weight in weights:
        weight.requires_grad_(False)
    if player.constrain is not None:
        player.constrain()
    if player.average is not None:
        player.average.follow(turn.number)
    return found


def _kept(players: Mapping[str, Player], keep: Mapping[str, Stateful]) -> dict[str, Stateful]:
    """Everything that a step depends on."""
    kept: dict[str, Stateful] = {}
    for name, player in players.items():
        kept |= {name: player.net, f"{name}_optimizer": player.optimizer}
        if player.average is not None:
            kept[f"{name}_average"] = player.average.held
    if twice := kept.keys() & keep.keys():
        raise PluginError(f"keep: {sorted(twice)} are names that the game keeps its players by; take others")
    return kept | dict(keep)


@contextmanager
def _standing_still(weights: list[Tensor]) -> Iterator[None]:
    """Weights require no gradient, until the end."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _floats(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *(buffer for buffer in net.buffers() if buffer.is_floating_point())]
