"""InfoGAN: a GAN whose codes c can be recovered from x (Chen et al., NeurIPS 2016).

    min_{G,Q} max_D V(D, G) - lambda L_I(G, Q)                            (eq. 6)
    L_I = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c))                    (eq. 5)

    z ~ Normal(0, 1),    c = (k, u),    k ~ Categorical(1 / K),    u ~ Uniform(-1, 1)

V is the relativistic game, which covers modes in fewer steps than the game of 2014. D and Q share all layers but the last.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import xarray as xr
from probgen_gan import Player, Turn, play
from probgen_gan.losses import LOSSES
from probgen_gan.penalties import squared_slope
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn.functional import one_hot

from probgen import Event, Fitted, Options, Rows, Run, hookimpl
from probgen.contract.options import Sizes, layer_sizes
from probgen.contract.places import decoded
from probgen.distributions import Standardization
from probgen.errors import InputError, NotOffered
from probgen.nn.networks import MLP

supports, x_dtype = frozenset({"real"}), "float64"
SPREAD = 1.0  # fixed standard deviation of Q(u | x), as in the code of the authors


class InfoGANOptions(Options):
    """The options of the networks and of the game."""

    latent: int = Field(2, ge=1, description="dimensions of the noise z")
    categories: int = Field(8, ge=2, description="classes K of the code k")
    continuous: int = Field(1, ge=1, description="dimensions of the code u")
    information: float = Field(0.3, ge=0, description="weight lambda of the mutual information L_I")
    hidden: Sizes = Field((128, 128), description="units of each hidden layer, for all networks")
    penalty: float = Field(0.3, ge=0, description="weight of the penalty |grad D|^2 / 2 at rows and samples")
    steps: int = Field(3000, ge=1, description="training steps of the generator")
    batch_size: int = Field(128, ge=1, description="rows per training step")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's learning rate, for both players")


Options = InfoGANOptions


class InfoGAN(nn.Module):
    """The networks G, D and Q. D and Q share all layers except the last one (section 6)."""

    latents = {"z": ("latent",), "k": (), "u": ("code",)}

    def __init__(self, options: InfoGANOptions, event: Event):
        super().__init__()
        self.options, self.event, K, C = options, event, options.categories, options.continuous
        self.standard = Standardization(event.fixed_shape, each=False)
        self.G = MLP(options.latent, layer_sizes(options.hidden), event.size, "relu", context=K + C)
        self.DQ = MLP(event.size, layer_sizes(options.hidden), 1 + K + C, "relu")

    def prior(self, n: int, run: Run) -> dict[str, Tensor]:
        """Sample z, k and u, (n, ...)."""
        o, like = self.options, {"device": run.device, "dtype": run.dtype}
        z, u = torch.randn(n, o.latent, **like), 2 * torch.rand(n, o.continuous, **like) - 1
        return {"z": z, "k": torch.randint(o.categories, (n,), device=run.device), "u": u}

    def generate(self, z: Tensor, k: Tensor, u: Tensor) -> Tensor:
        """Return G(z, c) in standardized units, (row, event size)."""
        K, dtype = self.options.categories, self.G.dtype
        if not ((k >= 0) & (k < K) & (k == k.round())).all():
            raise InputError(f"k: whole numbers from 0 to {K - 1} are needed.")
        return self.G(z.to(dtype), torch.cat([one_hot(k.long(), K), u], 1).to(dtype))

    def judge(self, y: Tensor) -> tuple[Tensor, Categorical, Normal]:
        """Return D(x) before the sigmoid, Q(k | x) and Q(u | x), for standardized rows."""
        D, logits, mean = self.DQ(y).tensor_split([1, 1 + self.options.categories], 1)
        return D[:, 0], Categorical(logits=logits), Normal(mean, SPREAD)

    def information(self, c: dict[str, Tensor], Q_k: Categorical, Q_u: Normal) -> dict[str, Tensor]:
        """Return L_I of k and of u: lower bounds on I(k; x) <= log K and on I(u; x), in nats."""
        L_k = Q_k.log_prob(c["k"]).mean() + math.log(self.options.categories)
        return {"information_k": L_k, "information_u": (Q_u.log_prob(c["u"]) + math.log(2)).sum(1).mean()}

    def decode(self, start: dict[str, Tensor], until: str = "x") -> Tensor:
        """Return x = G(z, c) in the units of the data, (row, *event); z and u are 0, their means, if they are not given."""

        def x(at: dict[str, Tensor]) -> Tensor:
            y = self.generate(at["z"], at["k"], at["u"])
            return self.standard.inverse(y.reshape(-1, *self.event.fixed_shape))

        (n, *_), o = next(iter(start.values())).shape, self.options
        means = {"z": torch.zeros(n, o.latent), "u": torch.zeros(n, o.continuous)}
        return decoded(
            {"x": x}, {k: v.to(self.standard.loc) for k, v in means.items()} | start, until, self.latents
        )


def build(options: InfoGANOptions, event: Event) -> InfoGAN:
    """Build the module in its initial state."""
    return InfoGAN(options, event)


@hookimpl
def fit(module: InfoGAN, data: Rows, options: InfoGANOptions, run: Run) -> None:
    """Play the game of D (with Q) and G in place."""
    seen, loss = data.moments(), LOSSES["relativistic"]
    module.standard.learn(seen.mean, seen.shared_scale)

    def both(turn: Turn) -> tuple[Tensor, Tensor, dict[str, Tensor]]:  # rows, samples, and their codes
        x = run.rows(data.batch(turn.number, options.batch_size))["x"]
        c = module.prior(len(x), run)
        return module.standard(x, run.dtype).flatten(1), module.generate(**c), c

    def d_loss(turn: Turn) -> Tensor:
        x, y, c = both(turn)
        x, y = x.requires_grad_(), y.detach().requires_grad_()
        (real, *_), (fake, *Q) = module.judge(x), module.judge(y)
        penalty = 0.5 * options.penalty * (squared_slope(real, x) + squared_slope(fake, y)).mean()
        L_I = sum(module.information(c, *Q).values())
        return loss.discriminator(real, fake).mean() + penalty - options.information * L_I

    def g_loss(turn: Turn) -> dict[str, Tensor]:
        x, y, c = both(turn)
        (real, *_), (fake, *Q) = module.judge(x), module.judge(y)
        L_I = module.information(c, *Q)
        return {"loss": loss.generator(real, fake).mean() - options.information * sum(L_I.values()), **L_I}

    adam = partial(torch.optim.Adam, lr=options.learning_rate, betas=(0.5, 0.99), fused=True)
    nets = {"d": (module.DQ, d_loss), "g": (module.G, g_loss)}
    players = {name: Player(net, adam(net.parameters()), move) for name, (net, move) in nets.items()}
    play(run, players, options.steps)


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
    """Sample z and c from their priors, except for given ones, and x = G(z, c)."""
    if "x" in given:
        raise NotOffered("given 'x': an InfoGAN does not complete x. Give z, k or u.")
    latents = fitted.module.prior(n, run) | given
    return {"x": fitted.module.decode(latents), **latents}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], run: Run) -> xr.Dataset:
    """Return the output of D, and the codes that Q finds in x: the most likely k, and the mean of u."""
    module, o = fitted.module, fitted.options
    D, Q_k, Q_u = module.judge(module.standard(data["x"], run.dtype).flatten(1))
    told = torch.cat([Q_k.probs.argmax(1, keepdim=True), Q_u.mean], 1).cpu().numpy()
    critic = ("row", D.cpu().numpy(), {"kind": "surrogate", "estimator": "relativistic"})
    codes = (("row", "factor"), told, {"levels": [o.categories, *[0] * o.continuous]})
    names = ["k", *(f"u{i}" for i in range(o.continuous))]
    return xr.Dataset({"critic": critic, "attribute": codes}, {"factor": names})
