"""Algorithm 1 of Goodfellow et al. (2014) with the losses and penalties of those who came after, for any two networks.

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

In the game rows are (member, row, feature), standardised. The members are GANs that are trained at once and
know nothing of each other: each draws from generators of its own, and its weights are those of a fit by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from probgen import Rows, Run, hookimpl
from probgen.contract.seeds import key, seed_torch
from probgen.errors import DivergedError, InputError
from probgen_gan.adversarial import Adversarial, GameOptions
from probgen_gan.losses import LOSSES, cross_entropy
from probgen_gan.penalties import between, from_one, squared_slope
from probgen_gan.snapshots import Snapshots
from probgen_gan.unrolled import ahead

QUIET = 0.4  # share of the steps in which the noise goes down to 0
ANNEALED = 0.8  # share of the steps in which r1 and r2 do
CALIBRATION, AT_ONCE = 10_000, 1000  # rows that the discriminator is calibrated on, at most, and at a time


@hookimpl
def fit(module: Adversarial, data: Rows, options: GameOptions, run: Run) -> dict[str, xr.Dataset]:
    """Algorithm 1: `d_steps` of the discriminator, then one of the generator. Draws at some moments are kept.

    The history has V(G, D) of the batch as `value` where D is a probability: with the losses minimax and nonsaturating.
    """
    size = min(options.batch_size, data.n) // options.packing * options.packing
    if size == 0 or data.n < 2:
        raise InputError(
            f"{data.n} rows: a GAN needs at least 2, and as many as are packed ({options.packing})"
        )
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()) and size // options.packing < 2:
        raise InputError(
            f"batch_size = {size}: batch normalisation needs at least 2 packs of {options.packing}"
        )
    seeds = [run.seed + i for i in range(module.members)]
    _begin(module, data, seeds)
    members = _Members(module, data, seeds, run)
    loss, D, G = LOSSES[options.loss], module.D, module.G
    d_optimizer, g_optimizer = _adam(D, options), _adam(G, options)
    weights: list[Tensor] = list(D.parameters())
    averaged = _floats(module.average), _floats(G)
    module.average.eval()  # it draws and is never trained
    members.begin("snapshots", 0)
    taken = Snapshots(module, options.steps, *members.conditions(size))

    def step(t: int) -> dict[str, float]:
        gone = t / options.steps
        _set_rate(options, gone, d_optimizer, g_optimizer)
        sigma = options.noise * max(0.0, 1 - gone / QUIET)
        members.begin(run.stage, t)
        for i in range(options.d_steps):
            x, c = members.batch(t * options.d_steps + i, size, sigma)
            with torch.no_grad():
                y = members.draws(size, c, sigma)
            real, fake, penalty = _seen(module, x, y, c, gone, members.uniform)
            d_loss = loss.discriminator(real, fake).mean(1).sum()
            _descend(d_optimizer, d_loss if penalty is None else d_loss + penalty, "discriminator D", t)
            if options.clip is not None:
                with torch.no_grad():
                    torch._foreach_clamp_min_(weights, -options.clip)
                    torch._foreach_clamp_max_(weights, options.clip)
        y = members.draws(size, c, sigma)
        theta = None
        if options.unrolled:
            theta = ahead(D, d_optimizer, lambda theta: _d_loss(module, x, y, c, theta), options.unrolled)
        for weight in weights:  # D stands still; ten times as quick as D.requires_grad_
            weight.requires_grad_(False)
        fake_now = module.discriminate(y, c, theta)
        real_now = module.discriminate(x, c, theta) if loss.paired else real.detach()
        g_loss = loss.generator(real_now, fake_now).mean(1).sum()
        _descend(g_optimizer, g_loss, "generator G", t)
        for weight in weights:
            weight.requires_grad_(True)
        # of a short past in the beginning, of a longer one later
        decay = min(options.average, (1 + t) / (10 + t))
        torch._foreach_lerp_(*averaged, 1 - decay)
        taken.take(t + 1)
        metrics = {"d_loss": d_loss.item() / module.members, "g_loss": g_loss.item() / module.members}
        if loss.discriminator is cross_entropy:
            metrics["value"] = -metrics["d_loss"]
        if penalty is not None:
            metrics["penalty"] = penalty.item() / module.members
        return metrics

    keep: dict[str, Any] = {
        "module": module,
        "d_optimizer": d_optimizer,
        "g_optimizer": g_optimizer,
        "draws": taken,
    }
    run.train(step, options.steps, keep=keep)
    _calibrate(module, data, members)
    return {"draws": taken.dataset()}


class _Members:
    """What each member sees and draws: of generators of its own."""

    def __init__(self, module: Adversarial, data: Rows, seeds: list[int], run: Run):
        self.module, self.seeds = module, seeds
        self.data = [data.reseeded(seed) for seed in seeds]
        self.generators = [torch.Generator(run.device) for _ in seeds]
        self.like: dict[str, Any] = {"device": run.device, "dtype": run.dtype}

    def begin(self, stage: str, t: object) -> None:
        for seed, generator in zip(self.seeds, self.generators, strict=True):
            generator.manual_seed(key(seed, stage, t))

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=g, **self.like) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g, **self.like) for g in self.generators])

    def batch(self, t: int, size: int, sigma: float) -> tuple[Tensor, Tensor | None]:
        batches = [rows.batch(t, size) for rows in self.data]
        x = self.module.standardised(torch.stack([batch["x"] for batch in batches]).flatten(2))
        if sigma:
            x += sigma * self.normal(*x.shape[1:])
        parts = [self.module.condition(batch) for batch in batches]
        return x, None if parts[0] is None else torch.stack([part for part in parts if part is not None])

    def conditions(self, size: int) -> tuple[Tensor, Tensor | None]:
        """z, and the conditions of the first batch."""
        return self.normal(size, self.module.options.latent), self.batch(0, size, 0.0)[1]

    def draws(self, n: int, c: Tensor | None, sigma: float) -> Tensor:
        y = self.module.generate(self.module.G, self.normal(n, self.module.options.latent), c)
        return y + sigma * self.normal(*y.shape[1:]) if sigma else y


def _seen(
    module: Adversarial,
    x: Tensor,
    y: Tensor,
    c: Tensor | None,
    gone: float,
    uniform: Callable[..., Tensor],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """D of real rows and of draws, (member, pack), and the sum of the members' penalties on its gradients, if there is one."""
    options = module.options
    r1, r2 = options.r1, options.r2
    penalty = None
    if module.alone and (r1 > 0) == (r2 > 0):  # both at once: half as many calls
        rows = torch.cat([x, y], 1).detach().requires_grad_(r1 > 0)
        both = module.discriminate(rows, None if c is None else torch.cat([c, c], 1))
        slopes = squared_slope(both, rows).chunk(2, 1) if r1 > 0 else ()
        real, fake = both.chunk(2, 1)
    else:
        x, y = x.detach().requires_grad_(r1 > 0), y.detach().requires_grad_(r2 > 0)
        real, fake = module.discriminate(x, c), module.discriminate(y, c)
        slopes = tuple(
            squared_slope(out, rows) if r > 0 else torch.zeros_like(out)
            for out, rows, r in ((real, x, r1), (fake, y, r2))
        )
    if r1 > 0 or r2 > 0:
        left = options.anneal ** min(1.0, gone / ANNEALED)
        penalty = 0.5 * left * (r1 * slopes[0].mean(1) + r2 * slopes[1].mean(1)).sum()
    if options.gradient_penalty > 0:
        rows = between(x, y, uniform(x.shape[1] // options.packing, 1)).detach().requires_grad_()
        slope = options.gradient_penalty * from_one(module.discriminate(rows, c), rows).mean(1).sum()
        penalty = slope if penalty is None else penalty + slope
    return real, fake, penalty


def _d_loss(
    module: Adversarial, x: Tensor, y: Tensor, c: Tensor | None, theta: Mapping[str, Tensor]
) -> Tensor:
    real, fake = module.discriminate(x, c, theta), module.discriminate(y, c, theta)
    return LOSSES[module.options.loss].discriminator(real, fake).mean(1).sum()


def _descend(optimizer: torch.optim.Adam, loss: Tensor, who: str, t: int) -> None:
    """A step down the sum of the members' losses. Errors: `DivergedError` before it, where one is not finite."""
    if not math.isfinite(loss.item()):
        raise DivergedError(
            f"fit step {t}: the loss of the {who} is {loss.item()}, and its weights are as they were before the step. A "
            "lower learning_rate, r1 and r2, or spectral normalisation may help"
        )
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    loss.backward()
    optimizer.step()


def _adam(net: nn.Module, options: GameOptions) -> torch.optim.Adam:
    betas = (options.beta1, options.beta2)
    return torch.optim.Adam(net.parameters(), lr=options.learning_rate, betas=betas, fused=True)


def _set_rate(options: GameOptions, gone: float, *optimizers: torch.optim.Adam) -> None:
    if options.schedule == "cosine":
        falling = max(0.0, gone - options.hold) / (1 - options.hold)
        factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = options.learning_rate * factor


def _floats(net: nn.Module) -> list[Tensor]:
    """Parameters, and what a normalisation has learnt of its inputs."""
    return [*net.parameters(), *(buffer for buffer in net.buffers() if buffer.is_floating_point())]


def _begin(module: Adversarial, data: Rows, seeds: list[int]) -> None:
    """Each member's weights as a fit by its own seed begins, and the scale of the data."""
    for i, seed in enumerate(seeds if module.members > 1 else ()):
        seed_torch(key(seed, "build"))
        alone = type(module)(module.options.model_copy(update={"members": 1}), module.event).state_dict()
        for name, state in module.state_dict().items():
            if name in module.dims:
                state[i] = alone[name]
    if module.event.discrete:
        return
    n, total, square = 0, torch.zeros_like(module.loc, dtype=torch.float64), 0.0
    for chunk in data.chunks():
        x = chunk["x"].flatten(1).double()
        n, total = n + len(x), total + x.sum(0)
    mean = total / n
    for chunk in data.chunks():
        square += float((chunk["x"].flatten(1).double() - mean).square().sum())
    module.loc.copy_(mean)
    module.scale.fill_((square / (n * module.loc.numel())) ** 0.5 or 1.0)


@torch.no_grad()
def _calibrate(module: Adversarial, data: Rows, members: _Members) -> None:
    """Logistic regression on what D says of rows and of draws: log p_data(x) / p_G(x) = a D(x) + b.

    Rows to choose by are taken where there are some: on those that it was trained on, D is too sure.
    """
    module.eval()
    members.begin("calibration", 0)
    rows = (data.valid if data.valid is not None else data).reseeded(0)  # the same for every member
    said: tuple[list[Tensor], list[Tensor]] = ([], [])
    for t in range(min(rows.n, CALIBRATION) // min(rows.n, AT_ONCE)):
        batch = rows.batch(t, AT_ONCE, "calibration")
        x, c = module.standardised(batch["x"].flatten(1)), module.condition(batch)
        wide = (module.members, -1, -1)
        c = None if c is None else c.expand(wide)
        z = members.normal(len(x), module.options.latent)
        said[0].append(module.critic(x.expand(wide), c))
        said[1].append(module.critic(module.generate(module.average, z, c), c))
    real, fake = (torch.cat(parts, 1).double().cpu().numpy() for parts in said)
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise DivergedError("the discriminator D gives what is not finite at the end of the fit")
    for i in range(module.members):
        both = np.concatenate([real[i], fake[i]])
        loc, scale = both.mean(), both.std() or 1.0
        is_real = np.arange(len(both)) < len(real[i])
        found = LogisticRegression(C=1e6).fit(((both - loc) / scale)[:, None], is_real)
        a = found.coef_[0, 0] / scale
        module.calibration.view(-1, 2)[i] = torch.tensor([a, found.intercept_[0] - a * loc])
