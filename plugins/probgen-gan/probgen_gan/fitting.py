"""Algorithm 1 of Goodfellow et al. (2014) with the losses and penalties of those who came after, for any two networks.

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

It is a game of two players, `d` and `g`. `fit` is the hook of every family whose module is `Adversarial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import xarray as xr
from torch import Tensor, nn

from probgen import Rows, Run, hookimpl
from probgen.errors import InputError
from probgen.inference.training import rate
from probgen_gan.adversarial import Adversarial, GameOptions
from probgen_gan.calibration import calibrate
from probgen_gan.game import Average, Player, Turn, clipping, play
from probgen_gan.losses import LOSSES, cross_entropy
from probgen_gan.members import Members, begin_members
from probgen_gan.penalties import between, from_one, squared_slope
from probgen_gan.snapshots import Snapshots
from probgen_gan.unrolled import ahead

QUIET = 0.4  # share of the steps in which the noise goes down to 0
ANNEALED = 0.8  # share of the steps in which r1 and r2 do
FLOOR = 0.01  # of the learning rate, as a share


@hookimpl
def fit(module: Adversarial, data: Rows, options: GameOptions, run: Run) -> dict[str, xr.Dataset]:
    """Algorithm 1: `d_steps` of the discriminator, then one of the generator. Draws at some moments are kept.

    The history has V(G, D) of the batch as `value` where D is a probability: with the losses minimax and nonsaturating.
    """
    size = _batch_size(module, data)
    members = Members(module, data, run)
    begin_members(module, members.seeds)
    learn_scale(module, data)
    members.begin("snapshots", 0)
    taken = Snapshots(module, options.steps, *members.conditions(size))
    duel = Duel(module, members, size, taken)
    play(run, duel.players(), options.steps, keep={"draws": taken}, after=duel.after)
    calibrate(module, data, members)
    return {"draws": taken.dataset()}


class Duel:
    """D and G as players. The turn of G goes on from what D has seen in its last turn of the same step."""

    x: Tensor
    c: Tensor | None
    real: Tensor
    d_value: Tensor
    g_value: Tensor
    penalty: Tensor | None

    def __init__(self, module: Adversarial, members: Members, size: int, taken: Snapshots):
        self.module, self.options = module, module.options
        self.members, self.size, self.taken = members, size, taken
        self.loss = LOSSES[module.options.loss]
        self.d_optimizer, self.g_optimizer = (_adam(net, module.options) for net in (module.D, module.G))

    def players(self) -> dict[str, Player]:
        """D with its constraint, then G with its average."""
        module, options = self.module, self.options

        def factor(gone: float) -> float:
            return rate(options.schedule, gone, options.hold, FLOOR)

        d = Player(
            module.D, self.d_optimizer, self.d_loss, options.d_steps, factor, role="the discriminator D"
        )
        if options.clip is not None:
            d.constrain = clipping(module.D, options.clip)
        average = Average(module.G, module.average, options.average)
        g = Player(module.G, self.g_optimizer, self.g_loss, 1, factor, average, role="the generator G")
        return {"d": d, "g": g}

    def d_loss(self, turn: Turn) -> Tensor:
        """Of a new batch and as many draws, with the penalties on the gradient of D."""
        members = self.members
        if turn.i == 0:
            members.begin("fit", turn.step)
        self.sigma = self.options.noise * max(0.0, 1 - turn.gone / QUIET)
        self.x, self.c = members.batch(turn.number, self.size, self.sigma)
        y = members.draws(self.size, self.c, self.sigma)
        real, fake, self.penalty = seen(self.module, self.x, y, self.c, turn.gone, members.uniform)
        self.real = real.detach()
        self.d_value = self.loss.discriminator(real, fake).mean(-1).sum()
        return self.d_value if self.penalty is None else self.d_value + self.penalty

    def g_loss(self, turn: Turn) -> Tensor:
        """Of new draws beside the last batch of D, by D as it is or some steps ahead."""
        module, loss, x, c = self.module, self.loss, self.x, self.c
        y = self.members.draws(self.size, c, self.sigma)
        theta = None
        if self.options.unrolled:
            theta = ahead(
                module.D, self.d_optimizer, lambda theta: self._d_loss(y, theta), self.options.unrolled
            )
        fake = module.discriminate(y, c, theta)
        real = module.discriminate(x, c, theta) if loss.paired else self.real
        self.g_value = loss.generator(real, fake).mean(-1).sum()
        return self.g_value

    def _d_loss(self, y: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        real, fake = (self.module.discriminate(rows, self.c, theta) for rows in (self.x, y))
        return self.loss.discriminator(real, fake).mean(-1).sum()

    def after(self, t: int) -> dict[str, float]:
        """What the history says of a step: values of a member, on average."""
        self.taken.take(t + 1)
        members = self.module.members
        metrics = {"d_loss": self.d_value.item() / members, "g_loss": self.g_value.item() / members}
        if self.loss.discriminator is cross_entropy:
            metrics["value"] = -metrics["d_loss"]
        if self.penalty is not None:
            metrics["penalty"] = self.penalty.item() / members
        return metrics


def seen(
    module: Adversarial,
    x: Tensor,
    y: Tensor,
    c: Tensor | None,
    gone: float,
    uniform: Callable[..., Tensor],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """D of real rows and of draws, (*member, pack), and the sum of the members' penalties on its gradients, if there is one."""
    options, dim = module.options, module.row_dim
    r1, r2 = options.r1, options.r2
    penalty = None
    if module.alone and (r1 > 0) == (r2 > 0):  # both at once: half as many calls
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
        left = options.anneal ** min(1.0, gone / ANNEALED)
        penalty = 0.5 * left * (r1 * slopes[0].mean(-1) + r2 * slopes[1].mean(-1)).sum()
    if options.gradient_penalty > 0:
        rows = between(x, y, uniform(real.shape[-1])).detach().requires_grad_()
        slope = options.gradient_penalty * from_one(module.discriminate(rows, c), rows).mean(-1).sum()
        penalty = slope if penalty is None else penalty + slope
    return real, fake, penalty


def learn_scale(module: Adversarial, data: Rows) -> None:
    """`loc` and `scale` of real data, in float64."""
    if module.event.discrete:
        return
    moments = data.moments()
    module.standard.learn(moments.mean, moments.shared_scale)


def _batch_size(module: Adversarial, data: Rows) -> int:
    """Rows a step, whole packs. Errors: `InputError` where there are too few."""
    options = module.options
    size = min(options.batch_size, data.n) // options.packing * options.packing
    if size == 0 or data.n < 2:
        raise InputError(
            f"{data.n} rows: a GAN needs at least 2, and as many as are packed ({options.packing})"
        )
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()) and size // options.packing < 2:
        raise InputError(
            f"batch_size = {size}: batch normalisation needs at least 2 packs of {options.packing}"
        )
    return size


def _adam(net: nn.Module, options: GameOptions) -> torch.optim.Adam:
    betas = (options.beta1, options.beta2)
    return torch.optim.Adam(net.parameters(), lr=options.learning_rate, betas=betas, fused=True)
