"""Algorithm 1 of Goodfellow et al. (2014) with later losses and penalties, for any two networks.

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

The game has two players, `d` and `g`, and one or more stages. `fit` is the hook of every family based on `Adversarial`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import xarray as xr
from torch import Tensor, nn

from probgen import Rows, Run, hookimpl
from probgen.errors import InputError
from probgen.inference.training import rate
from probgen_gan.adversarial import Adversarial, Game, Stage
from probgen_gan.best import Best
from probgen_gan.calibration import calibrate
from probgen_gan.game import Average, Player, Turn, clipping, play
from probgen_gan.losses import LOSSES, cross_entropy
from probgen_gan.members import Members, begin_members
from probgen_gan.penalties import between, from_one, squared_slope
from probgen_gan.snapshots import Snapshots
from probgen_gan.unrolled import ahead

QUIET = 0.4  # share of the steps over which the noise decreases to 0
ANNEALED = 0.8  # share of the steps over which r1 and r2 decrease
FLOOR = 0.01  # final learning rate, as a share of the initial one


@hookimpl
def fit(module: Adversarial, data: Rows, run: Run) -> dict[str, xr.Dataset]:
    """Fit a GAN by algorithm 1: each step has `d_steps` turns of the discriminator, then one turn of the generator.

    With the losses minimax and nonsaturating, D is a probability. The history then contains V(G, D) of each batch as
    `value`.

    Args:
        module: The GAN to fit, in place.
        data: The rows, with validation rows or without.
        run: The run of the fit.

    Returns:
        The group `draws`: samples of the average at several moments of the fit, x (moment, sample, *event).

    Raises:
        InputError: When there are too few rows, or when options do not suit the data or the run.
        DivergedError: When a loss or the final discriminator is not finite.
    """
    game = module.game
    size = _batch_size(module, data, run)
    if game.unrolled and run.parts > 1:
        raise InputError(
            f"unrolled = {game.unrolled}: the look-ahead of D needs whole batches, not parts = {run.parts}. "
            "Omit one of the two."
        )
    if game.autocast and run.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        run.notes.append(
            "autocast = true: this processor has no instructions for bfloat16, and float32 is faster on it"
        )
    parts = list(parts_of(module.stages, game.steps))
    module.check_stages({part.stage.name: part.steps for part in parts})
    members = Members(module, data, run)
    begin_members(module, members.seeds)
    learn_scale(module, data)
    members.begin("snapshots", 0)
    z, c = members.conditions(size)
    duel = Duel(module, members, size, Snapshots(module, game.steps, z, c))
    best = Best(module, data, members, run) if module.judged and data.valid is not None else None
    for part in parts:
        duel.begin(part, best)
        play(run, duel.players(), part.steps, stage=part.stage.name, keep=duel.kept(), after=duel.after)
    if best is not None:
        best.take_back()
    members.stand()
    members.begin("settle", 0)
    module.settle(members.conditions, run)
    calibrate(module, data, members)
    return {"draws": duel.taken.dataset()}


class Part(NamedTuple):
    """A stage with its number of steps, after the first `start` steps of the game."""

    stage: Stage
    start: int
    steps: int


def parts_of(stages: tuple[Stage, ...], steps: int) -> Iterator[Part]:
    """Divide the steps of a game among its stages, and leave out stages without steps."""
    start, share = 0, 0.0
    for stage in stages:
        share += stage.share
        end = round(steps * share)
        if end > start:
            yield Part(stage, start, end - start)
        start = end


class Seen(NamedTuple):
    """The rows that D has seen in a part of a batch, with their conditions and the outputs of D."""

    x: Tensor
    c: Tensor | None
    real: Tensor


class Duel:
    """D and G as players. The turn of G uses the rows of D's last turn in the same step."""

    part: Part
    best: Best | None

    def __init__(self, module: Adversarial, members: Members, size: int, taken: Snapshots):
        self.module, self.game = module, module.game
        self.members, self.size, self.taken = members, size, taken
        self.loss, self.seen = LOSSES[self.game.loss], dict[int, Seen]()
        self.d_optimizer, self.g_optimizer = (
            _adam(net, self.game, factor) for net, factor in ((module.D, self.game.d_rate), (module.G, 1.0))
        )

    def begin(self, part: Part, best: Best | None) -> None:
        """Start the next stage. Samples are compared with validation rows in the last stage only."""
        self.part = part
        self.best = best if part.start + part.steps == self.game.steps else None

    def kept(self) -> dict[str, Any]:
        """Return the state that steps depend on in addition to the players."""
        return {"draws": self.taken} | ({} if self.best is None else {"best": self.best})

    def gone(self, share: float) -> float:
        """Return the completed share of the game for a completed share of the stage."""
        return (self.part.start + share * self.part.steps) / self.game.steps

    def players(self) -> dict[str, Player]:
        """Return the players: D with its constraint, then G with its average."""
        module, game = self.module, self.game

        def factor(share: float) -> float:
            return rate(game.schedule, self.gone(share), game.hold, FLOOR)

        d = Player(module.D, self.d_optimizer, self.d_loss, game.d_steps, factor, role="the discriminator D")
        if game.clip is not None:
            d.constrain = clipping(module.D, game.clip)
        average = Average(module.G, module.average, game.average)
        g = Player(module.G, self.g_optimizer, self.g_loss, 1, factor, average, role="the generator G")
        return {"d": d, "g": g}

    def begin_turn(self, turn: Turn, name: str) -> None:
        """Seed the random generators of the members, once per step; if batches have parts, once per turn and part."""
        run, stage = self.members.run, self.part.stage.name
        if run.parts > 1:
            self.members.begin(stage, (turn.step, name, turn.i, run.part))
        elif name == "d" and turn.i == 0:
            self.members.begin(stage, turn.step)

    def d_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Compute D's loss and penalties for a new batch and the same number of samples; metrics are means over members."""
        members, stage, gone = self.members, self.part.stage, self.gone(turn.gone)
        self.begin_turn(turn, "d")
        if turn.i == 0:
            self.module.at(stage, turn.gone)
        self.sigma = self.game.noise * max(0.0, 1 - gone / QUIET)
        x, c = members.batch(turn.number, self.size, self.sigma, stage.name)
        with self.autocast():
            y = members.draws(x.shape[self.module.row_dim], c, self.sigma)
        due = turn.number % self.game.r1_every == 0
        real, fake, penalty = seen(self.module, x, y, c, gone, members.uniform, due=due)
        self.seen[members.run.part] = Seen(x, c, real.detach())
        value = self.loss.discriminator(real, fake).mean(-1).sum()
        found = {"loss": value if penalty is None else value + penalty, "d_loss": self._of_member(value)}
        if self.loss.discriminator is cross_entropy:
            found["value"] = -found["d_loss"]
        return found if penalty is None else {**found, "penalty": self._of_member(penalty)}

    def g_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Compute G's loss for new samples and the last batch of D, by the current D or by D some steps ahead."""
        self.begin_turn(turn, "g")
        module, loss, (x, c, said) = self.module, self.loss, self.seen.pop(self.members.run.part)
        with self.autocast():
            y = self.members.draws(x.shape[module.row_dim], c, self.sigma)
            theta = None
            if self.game.unrolled:
                theta = ahead(
                    module.D,
                    self.d_optimizer,
                    lambda theta: self._d_loss(x, c, y, theta),
                    self.game.unrolled,
                )
            fake = module.discriminate(y, c, theta)
            real = module.discriminate(x, c, theta) if loss.paired else said
        value = loss.generator(real.to(x), fake.to(x)).mean(-1).sum()
        extra = module.extra()
        return {"loss": value if extra is None else value + extra, "g_loss": self._of_member(value)}

    def _of_member(self, value: Tensor) -> Tensor:
        return value.detach().double() / self.module.members

    def autocast(self) -> torch.autocast:
        """Return a context with products in bfloat16, if the option `autocast` is set."""
        return torch.autocast(self.members.device.type, torch.bfloat16, enabled=self.game.autocast)

    def _d_loss(self, x: Tensor, c: Tensor | None, y: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        real, fake = (self.module.discriminate(rows, c, theta) for rows in (x, y))
        return self.loss.discriminator(real, fake).mean(-1).sum()

    def after(self, t: int) -> dict[str, float]:
        """Store samples if a snapshot is due, and compare samples with validation rows if there are some."""
        done = self.part.start + t + 1
        if self.taken.due(done):
            self.members.stand()
            self.taken.take()
        if self.best is not None and self.module.grown:
            return self.best.look(t, done, self.part.steps)
        return {}


def seen(
    module: Adversarial,
    x: Tensor,
    y: Tensor,
    c: Tensor | None,
    gone: float,
    uniform: Callable[..., Tensor],
    *,
    due: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute the outputs of D for real rows and for samples, and the penalties on its gradients.

    Args:
        module: The GAN.
        x: Standardized real rows, (*member, row, *form).
        y: Standardized samples, (*member, row, *form).
        c: Conditions of x and of y, (*member, row, context), or None.
        gone: Share of the game that is complete, from 0 to 1.
        uniform: Function of a shape that returns uniform random numbers, (*member, *shape).
        due: Whether this turn has the penalties r1 and r2.

    Returns:
        Outputs for x and for y, (*member, pack) each, and the sum of the members' penalties, or None without penalties.
    """
    game, dim = module.game, module.row_dim
    r1, r2 = (game.r1, game.r2) if due else (0.0, 0.0)
    penalty = None
    slopes: tuple[Tensor, ...] = ()
    if (
        game.autocast
    ):  # squared gradients in bfloat16 are too coarse to minimize: they are computed separately
        with torch.autocast(x.device.type, torch.bfloat16):
            real, fake = (module.discriminate(rows, c) for rows in (x, y.detach()))
        real, fake = real.to(x), fake.to(x)
        if r1 > 0:
            rows = x.detach().requires_grad_()
            slopes = (squared_slope(module.discriminate(rows, c), rows), torch.zeros_like(fake))
    elif module.alone and (r1 > 0) == (r2 > 0):  # x and y together: half as many calls
        rows = torch.cat([x, y], dim).detach().requires_grad_(r1 > 0)
        both = module.discriminate(rows, None if c is None else torch.cat([c, c], dim))
        slopes = squared_slope(both, rows).chunk(2, -1) if r1 > 0 else ()
        real, fake = both.chunk(2, -1)
    else:
        x, y = x.detach().requires_grad_(r1 > 0), y.detach().requires_grad_(r2 > 0)
        real, fake = module.discriminate(x, c), module.discriminate(y, c)
        slopes = tuple(
            squared_slope(out, rows) if r > 0 else torch.zeros_like(out)
            for out, rows, r in ((real, x, r1), (fake, y, r2))
        )
    if r1 > 0 or r2 > 0:
        left = 0.5 * game.r1_every * game.anneal ** min(1.0, gone / ANNEALED)
        penalty = left * (r1 * slopes[0].mean(-1) + r2 * slopes[1].mean(-1)).sum()
    if game.gradient_penalty > 0:
        rows = between(x, y, uniform(real.shape[-1])).detach().requires_grad_()
        slope = game.gradient_penalty * from_one(module.discriminate(rows, c), rows).mean(-1).sum()
        penalty = slope if penalty is None else penalty + slope
    return real, fake, penalty


def learn_scale(module: Adversarial, data: Rows) -> None:
    """Set `loc` and `scale` to the moments of real data, in float64."""
    if module.event.discrete:
        return
    moments = data.moments()
    module.standard.learn(moments.mean, moments.shared_scale)


def _batch_size(module: Adversarial, data: Rows, run: Run) -> int:
    """Return the number of rows per step, in whole packs. Too few rows and an unsuitable `autocast` raise `InputError`."""
    game = module.game
    if game.autocast and run.dtype != torch.float32:
        raise InputError(
            f"autocast = true: the fit is in {run.dtype}, not in float32. Omit autocast or dtype."
        )
    size = min(game.batch_size, data.n) // game.packing * game.packing
    if size == 0 or data.n < 2:
        raise InputError(
            f"{data.n} rows: a GAN needs at least 2 rows, and at least packing = {game.packing} rows. Give more rows."
        )
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()) and size // game.packing < 2:
        raise InputError(
            f"batch_size = {size}: batch normalization needs at least 2 packs of {game.packing} rows. "
            "Use a larger batch_size, or more data."
        )
    return size


def _adam(net: nn.Module, game: Game, factor: float) -> torch.optim.Adam:
    betas = (game.beta1, game.beta2)
    return torch.optim.Adam(net.parameters(), lr=factor * game.learning_rate, betas=betas, fused=True)
