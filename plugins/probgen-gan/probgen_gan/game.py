"""A game with any number of players. One player after the other moves its own weights down its own loss.

    theta_p <- theta_p - rate d loss_p(theta_1, ..., theta_n) / d theta_p,    p = 1, ..., n

A game with two players is algorithm 1 of Goodfellow et al. (2014). CycleGAN can have more players. A progressive GAN has
several stages, and each stage is one call of `play`:

    play(run, {"d": Player(D, d_optimizer, d_loss, turns=5), "g": Player(G, g_optimizer, g_loss)}, steps=1000)

This module does not depend on the data, the networks or the losses.
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
    """The progress of a game at the moment when a player moves.

    Attributes:
        step: Number of the step within the stage, from 0. In each step, every player has all its turns.
        i: Number of the player's turn within this step, from 0.
        number: Number of the player's turn within this stage, from 0. `data.batch(turn.number, size)` returns
            another batch for each turn.
        gone: Share of the stage's steps that are complete, from 0 to 1.
    """

    step: int
    i: int
    number: int
    gone: float


Loss = Callable[[Turn], Tensor | Mapping[str, Tensor]]


class Average:
    """The exponential moving average of a network's weights and floating-point buffers.

    The buffers include the running statistics of normalization layers.

    Args:
        net: The network to average.
        held: A copy of `net` that stores the average. It is in evaluation mode and requires no gradients.
        decay: The largest decay of the average, from 0 to 1.
    """

    def __init__(self, net: nn.Module, held: nn.Module, decay: float):
        self.held, self.decay = held.requires_grad_(False).eval(), decay
        self._pairs = _floats(held), _floats(net)

    @torch.no_grad()
    def follow(self, number: int) -> None:
        """Update the average after a turn, with the decay min(decay, (1 + number) / (10 + number)).

        Early averages thus cover a short past, and later averages a longer one.

        Args:
            number: Number of the player's turn within the stage, from 0.
        """
        decay = min(self.decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(*self._pairs, 1 - decay)


@dataclass(eq=False)
class Player:
    """One player of a game.

    Attributes:
        net: The network of the player, or one module that contains several networks.
        optimizer: The optimizer of the weights that the player moves.
        loss: Function of a `Turn` that returns the scalar to minimize. To add scalars to the history, it returns
            a mapping of scalars by name that contains `loss`.
        turns: Number of turns in each step.
        rate: Function of the completed share of the stage (0 to 1) that returns a factor of the initial learning
            rates. None keeps the learning rates constant.
        average: The average of the player's weights. It is updated after each turn.
        constrain: Function without arguments that moves the weights back into their allowed range after each turn.
        role: Name of the player in error messages, such as "the discriminator D".
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
    """Play one stage of a game. In each step, the players move in the order of `players`.

    During a turn, only the weights of the moving player require gradients. Losses may store values for later turns
    of the same step; `play` does not handle these values.

    If batches are split into parts (`Run.descend`), each turn is played once for each part, `run.part`. A loss then
    selects its rows with `run.rows(batch)`, and keeps the values for later turns separately for each part.

    A checkpoint contains the network, the optimizer and the average of each player. Any other state that lives longer
    than one step belongs in `keep`. An interrupted game can then be resumed with bit-identical results.

    For each player, the history contains `NAME_loss` and all further scalars that its loss returns. They are from the
    last turn of the player in each step.

    Args:
        run: The run of the fit.
        players: The players by name, in the order of their moves.
        steps: Number of steps of the stage.
        stage: Name of the stage. Each stage of a fit needs a different name.
        keep: Further state that the steps depend on, by name.
        after: Function that receives the number of each completed step. It returns further metrics for the history;
            a true `done` ends the stage.

    Raises:
        DivergedError: When a loss is not finite. The player's weights then stay unchanged.
        PluginError: When a name in `keep` is already used for a player, or when `stage` is not a valid new name.
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
    """Return a constraint that clips the weights of a network (Arjovsky et al. 2017, algorithm 1).

    Args:
        net: The network to constrain.
        limit: Largest absolute value of a weight.

    Returns:
        Function without arguments that clips all parameters of `net` in place, for `Player.constrain`.
    """
    weights: list[Tensor] = list(net.parameters())

    @torch.no_grad()
    def clip() -> None:
        torch._foreach_clamp_min_(weights, -limit)
        torch._foreach_clamp_max_(weights, limit)

    return clip


def _weights(player: Player) -> list[Tensor]:
    """Return the weights that the player's optimizer moves, without frozen weights."""
    groups = player.optimizer.param_groups
    return [weight for group in groups for weight in group["params"] if weight.requires_grad]


def _set_rates(player: Player, gone: float) -> None:
    if player.rate is not None:
        for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
            group["lr"] = rate * player.rate(gone)


def _move(
    run: Run, player: Player, nets: list[nn.Module], weights: list[Tensor], turn: Turn, who: str
) -> dict[str, float]:
    """Take one step down the player's loss, and return its scalars. A loss that is not finite raises `DivergedError` before the step."""
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
            f"{who} is {value}, and the player's weights stay unchanged. Try a lower learning_rate, "
            "the penalties r1 and r2, or spectral normalization."
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
    """Return all state that a step depends on, by name."""
    kept: dict[str, Stateful] = {}
    for name, player in players.items():
        kept |= {name: player.net, f"{name}_optimizer": player.optimizer}
        if player.average is not None:
            kept[f"{name}_average"] = player.average.held
    if twice := kept.keys() & keep.keys():
        raise PluginError(
            f"keep = {sorted(twice)}: the game uses these names for its players. Use other names."
        )
    return kept | dict(keep)


@contextmanager
def _standing_still(weights: list[Tensor]) -> Iterator[None]:
    """Disable the gradients of weights inside the context, and enable them at its end."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _floats(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *(buffer for buffer in net.buffers() if buffer.is_floating_point())]
