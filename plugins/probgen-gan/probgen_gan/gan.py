"""Generative adversarial networks (Goodfellow et al., NeurIPS 2014).

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

Algorithm 1: k steps of the discriminator D, one of the generator G. At the best D the cost of G is -log 4 + 2 JSD(p_data || p_G).
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from probgen import Event, Fitted, Options, Rows, Run, hookimpl
from probgen.errors import DivergedError, InputError
from probgen_gan.losses import LOSSES, value

QUIET = 0.4  # share of the steps in which the noise goes down to 0


class GANOptions(Options):
    """What can be chosen of networks, game and penalties."""

    loss: Literal["minimax", "nonsaturating", "least_squares", "wasserstein", "hinge", "relativistic"] = (
        Field("nonsaturating", description="what generator and discriminator minimise")
    )
    latent: int = Field(2, ge=1, description="dimensions of z")
    hidden: tuple[int, ...] = Field((128, 128, 128), description="units of each layer of both networks")
    steps: int = Field(5000, ge=1, description="steps of the generator")
    d_steps: int = Field(1, ge=1, description="steps of the discriminator for each of them")
    batch_size: int = Field(128, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, both networks")
    beta1: float = Field(0.0, ge=0, lt=1, description="of Adam, both networks")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="of the learning rate; cosine goes down to 1 %"
    )
    r1: float = Field(0.0, ge=0, description="weight of |grad D|^2 / 2 at real rows")
    r2: float = Field(0.0, ge=0, description="weight of |grad D|^2 / 2 at draws")
    anneal: float = Field(
        1.0,
        gt=0,
        le=1,
        description="what is left of r1 and r2 after 80 % of the steps; they fall geometrically",
    )
    gradient_penalty: float = Field(
        0.0, ge=0, description="weight of (|grad D| - 1)^2 between real rows and draws"
    )
    clip: float | None = Field(None, gt=0, description="largest absolute weight of the discriminator")
    packing: int = Field(1, ge=1, description="rows that the discriminator sees together")
    spectral: bool = Field(False, description="spectral normalisation of the discriminator")
    noise: float = Field(
        0.0, ge=0, description="deviation of noise on what D sees, 0 after 40 % of the steps"
    )
    average: float = Field(0.999, ge=0, lt=1, description="decay of the exponential average of G")
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")

    @model_validator(mode="after")
    def _sizes(self) -> GANOptions:
        if any(units < 1 for units in self.hidden):
            raise ValueError(f"hidden = {self.hidden}: each layer needs at least 1 unit")
        if self.batch_size % self.packing:
            raise ValueError(f"packing = {self.packing} does not divide batch_size = {self.batch_size}")
        return self


Options = GANOptions


def _net(inputs: int, hidden: tuple[int, ...], outputs: int, spectral: bool = False) -> nn.Sequential:
    widths = (inputs, *hidden)
    layers: list[nn.Module] = []
    for n, units in zip(widths, hidden, strict=False):
        layers += [nn.Linear(n, units), nn.LeakyReLU(0.2)]
    layers.append(nn.Linear(widths[-1], outputs))
    if spectral:
        layers = [spectral_norm(layer) if isinstance(layer, nn.Linear) else layer for layer in layers]
    return nn.Sequential(*layers)


class GAN(nn.Module):
    """Generator G, its average, and discriminator D, all of data of mean 0 and deviation 1: x = loc + scale G(z)."""

    loc: Tensor
    scale: Tensor

    def __init__(self, options: GANOptions, event: Event):
        super().__init__()
        if None in event.shape:
            raise InputError("rows of one length are needed")
        self.event, self.packing = event, options.packing
        self.latents = {"z": ("latent",)}
        self.classes = [part.levels or 1 for part in event.given.values()]
        context = sum(self.classes)
        self.G = _net(options.latent + context, options.hidden, event.size)
        self.D = _net(options.packing * (event.size + context), options.hidden, 1, options.spectral)
        self.average = copy.deepcopy(self.G).requires_grad_(False)
        middle = ((event.levels or 2) - 1) / 2 if event.discrete else 0.0
        self.register_buffer("loc", torch.full((event.size,), middle))
        self.register_buffer("scale", torch.tensor(middle or 1.0))

    def generate(self, net: nn.Module, z: Tensor, c: Tensor | None) -> Tensor:
        """G(z), standardised: (row, latent) -> (row, feature); between -1 and 1 where x is discrete."""
        y = net(z if c is None else torch.cat([z, c], 1))
        return y.tanh() if self.event.discrete else y

    def discriminate(self, x: Tensor, c: Tensor | None) -> Tensor:
        """D of packs of standardised rows: (row, feature) -> (pack,)."""
        x = x if c is None else torch.cat([x, c], 1)
        return self.D(x.reshape(len(x) // self.packing, -1)).squeeze(1)

    def standardised(self, x: Tensor) -> Tensor:
        """(row, *event) -> (row, feature)."""
        return (x.flatten(1).to(self.loc.dtype) - self.loc) / self.scale

    def condition(self, given: dict[str, Tensor]) -> Tensor | None:
        """One-hot, side by side: (row, context)."""
        if not self.classes:
            return None
        parts = [
            nn.functional.one_hot(given[name].long(), k)
            for name, k in zip(self.event.given, self.classes, strict=True)
        ]
        return torch.cat(parts, 1).to(self.loc.dtype)


def build(options: GANOptions, event: Event) -> GAN:
    """The module in its initial state."""
    return GAN(options, event)


@hookimpl
def fit(module: GAN, data: Rows, options: GANOptions, run: Run) -> None:
    """Algorithm 1 of the paper, with two optimizers."""
    _standardise(module, data)
    size = min(options.batch_size, data.n) // options.packing * options.packing
    if size == 0 or data.n < 2:
        raise InputError(
            f"{data.n} rows: a GAN needs at least 2, and as many as are packed ({options.packing})"
        )
    loss = LOSSES[options.loss]
    rates = {"lr": options.learning_rate, "betas": (options.beta1, 0.99), "fused": True}
    optimizers = [torch.optim.Adam(net.parameters(), **rates) for net in (module.D, module.G)]

    def drawn(n: int, c: Tensor | None) -> Tensor:
        return module.generate(
            module.G, torch.randn(n, options.latent, device=run.device, dtype=run.dtype), c
        )

    def step(t: int) -> dict[str, Tensor]:
        gone = t / options.steps
        _set_rates(optimizers, options, gone)
        sigma = options.noise * max(0.0, 1 - gone / QUIET)
        module.D.requires_grad_(True)
        for i in range(options.d_steps):
            x, c = _batch(module, data, t * options.d_steps + i, size)
            x = x + sigma * torch.randn_like(x) if sigma else x
            with torch.no_grad():
                y = drawn(size, c)
                y = y + sigma * torch.randn_like(y) if sigma else y
            real, fake, penalty = _seen(module, x, y, c, options, gone)
            _check(t, real, fake)
            optimizers[0].zero_grad()
            d_loss = loss.discriminator(real, fake).mean()
            (d_loss + penalty).backward()
            optimizers[0].step()
            if options.clip is not None:
                with torch.no_grad():
                    for parameter in module.D.parameters():
                        parameter.clamp_(-options.clip, options.clip)
        module.D.requires_grad_(False)
        y = drawn(size, c)
        y = y + sigma * torch.randn_like(y) if sigma else y
        with torch.no_grad():
            real = module.discriminate(x, c)
        fake = module.discriminate(y, c)
        _check(t, real, fake)
        optimizers[1].zero_grad()
        g_loss = loss.generator(real, fake).mean()
        g_loss.backward()
        optimizers[1].step()
        # the average of a short past in the beginning, of a longer one later (Karras et al. 2018, in practice)
        decay = min(options.average, (1 + t) / (10 + t))
        torch._foreach_lerp_(list(module.average.parameters()), list(module.G.parameters()), 1 - decay)
        return {
            "d_loss": d_loss.detach(),
            "g_loss": g_loss.detach(),
            "value": value(real, fake.detach()).mean(),
            "penalty": torch.as_tensor(penalty).detach(),
        }

    keep = {"module": module, "d_optimizer": optimizers[0], "g_optimizer": optimizers[1]}
    run.train(step, options.steps, keep=keep)
    module.D.requires_grad_(True)


def _batch(module: GAN, data: Rows, t: int, size: int) -> tuple[Tensor, Tensor | None]:
    batch = data.batch(t, size)
    return module.standardised(batch["x"]), module.condition(batch)


def _seen(
    module: GAN, x: Tensor, y: Tensor, c: Tensor | None, options: GANOptions, gone: float
) -> tuple[Tensor, Tensor, Tensor | float]:
    """D of real rows and of draws, and the penalties on its gradients."""
    left = options.anneal ** min(1.0, gone / 0.8)
    total: Tensor | float = 0.0
    outputs = []
    for rows, weight in ((x, options.r1), (y, options.r2)):
        rows = rows.detach().requires_grad_(weight > 0)
        out = module.discriminate(rows, c)
        if weight > 0:
            total = total + 0.5 * left * weight * _slope(out, rows, module.packing).square().mean()
        outputs.append(out)
    if options.gradient_penalty > 0:  # Gulrajani et al. 2017, eq. 3
        e = torch.rand(len(x) // module.packing, 1, device=x.device, dtype=x.dtype)
        e = e.repeat_interleave(module.packing, 0)
        between = (e * x + (1 - e) * y).detach().requires_grad_()
        out = module.discriminate(between, c)
        total = total + options.gradient_penalty * (_slope(out, between, module.packing) - 1).square().mean()
    return outputs[0], outputs[1], total


def _check(t: int, *outputs: Tensor) -> None:
    if not all(torch.isfinite(out).all() for out in outputs):
        raise DivergedError(
            f"fit step {t}: the discriminator D gives what is not finite. A lower learning_rate, r1 and r2, or "
            "spectral normalisation may help"
        )


def _slope(out: Tensor, rows: Tensor, packing: int) -> Tensor:
    """|grad D| of each pack: (pack,)."""
    (gradient,) = torch.autograd.grad(out.sum(), rows, create_graph=True)
    # the root of 0 has no gradient
    return (gradient.reshape(len(rows) // packing, -1).square().sum(1) + 1e-16).sqrt()


def _set_rates(optimizers: list[torch.optim.Adam], options: GANOptions, gone: float) -> None:
    if options.schedule == "cosine":
        factor = 0.01 + 0.99 * 0.5 * (1 + torch.tensor(gone * torch.pi).cos().item())
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = options.learning_rate * factor


def _standardise(module: GAN, data: Rows) -> None:
    """Mean of each feature, one deviation for all: what is round stays round."""
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


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
    """x = G(z) by the average of the generator, and z."""
    module: Any = fitted.module
    latent = fitted.options.latent
    z = given.get("z")
    if z is None:
        z = torch.randn(n, latent, device=run.device, dtype=run.dtype)
    x = module.loc + module.scale * module.generate(module.average, z, module.condition(given))
    if not torch.isfinite(x).all():
        raise DivergedError("the generator gives what is not finite")
    if module.event.discrete:
        x = x.round()
    return {"x": x.reshape(n, *fitted.event.shape), "z": z}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor]) -> xr.Dataset:
    """`critic`: D before its sigmoid, each row in a pack of its own copies. No likelihood."""
    module: Any = fitted.module
    x, c = module.standardised(data["x"]), module.condition(data)
    x = x.repeat_interleave(module.packing, 0)
    c = None if c is None else c.repeat_interleave(module.packing, 0)
    critic = module.discriminate(x, c)
    attrs = {
        "kind": "surrogate",
        "estimator": fitted.options.loss,
        "long_name": "output of the discriminator",
    }
    return xr.Dataset({"critic": ("row", critic.cpu().numpy(), attrs)})
