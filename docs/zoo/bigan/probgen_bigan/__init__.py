"""BiGAN, also called ALI: a GAN that learns the inverse of its generator (Donahue et al., Dumoulin et al., ICLR 2017).

    min_{G,E} max_D V(D, E, G) = E log D(x, E(x)) + E log(1 - D(G(z), z)),    z ~ Normal(0, 1)

D receives pairs. At the optimum, (x, E(x)) and (G(z), z) have the same distribution, and E is the inverse of G
(Donahue et al. 2017, theorem 2).
"""

from __future__ import annotations

from functools import partial

import torch
import xarray as xr
from probgen_gan import Player, Turn, play
from probgen_gan.losses import LOSSES
from probgen_gan.penalties import squared_slope
from pydantic import Field
from torch import Tensor, nn

from probgen import Event, Fitted, Options, Rows, Run, hookimpl
from probgen.contract.options import Sizes, layer_sizes
from probgen.contract.places import decoded
from probgen.distributions import Standardization
from probgen.errors import NotOffered
from probgen.nn.networks import MLP

supports, x_dtype = frozenset({"real"}), "float64"


class BiGANOptions(Options):
    """The options of the networks and of the game."""

    latent: int = Field(2, ge=1, description="dimensions of z")
    hidden: Sizes = Field((128, 128), description="units of each hidden layer, for all networks")
    penalty: float = Field(0.3, ge=0, description="weight of the penalty |grad D|^2 / 2 at all pairs")
    steps: int = Field(3000, ge=1, description="training steps of the generator and the encoder")
    batch_size: int = Field(128, ge=1, description="rows per training step")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's learning rate, for both players")


Options = BiGANOptions


class BiGAN(nn.Module):
    """The generator G, the encoder E and the joint discriminator D(x, z)."""

    latents = {"z": ("latent",)}

    def __init__(self, options: BiGANOptions, event: Event):
        super().__init__()
        self.event, n, latent, hidden = event, event.size, options.latent, layer_sizes(options.hidden)
        self.standard = Standardization(event.fixed_shape, each=False)
        self.coder = nn.ModuleDict({"G": MLP(latent, hidden, n, "relu"), "E": MLP(n, hidden, latent, "relu")})
        self.D = MLP(n + latent, hidden, 1, "relu")
        self.D.layers[-1].register_parameter("bias", None)  # the relativistic loss does not depend on it

    def decode(self, start: dict[str, Tensor], until: str = "x") -> Tensor:
        """Return x = G(z) in the units of the data, (row, *event)."""

        def x(at: dict[str, Tensor]) -> Tensor:
            return self.standard.inverse(
                self.coder["G"](at["z"].to(self.D.dtype)).reshape(-1, *self.event.fixed_shape)
            )

        return decoded({"x": x}, start, until, roots=["z"])

    def pairs(self, x: Tensor) -> Tensor:
        """Return (x, E(x)) for rows in the units of the data, (row, event size + latent)."""
        y = self.standard(x, self.D.dtype).flatten(1)
        return torch.cat([y, self.coder["E"](y)], 1)

    def encoded(self, x: Tensor) -> dict[str, Tensor]:
        """Return z = E(x), (row, latent)."""
        return {"z": self.pairs(x)[:, self.event.size :]}


def build(options: BiGANOptions, event: Event) -> BiGAN:
    """Build the module in its initial state."""
    return BiGAN(options, event)


@hookimpl
def fit(module: BiGAN, data: Rows, options: BiGANOptions, run: Run) -> None:
    """Play the game of D against G and E in place."""
    seen, loss = data.moments(), LOSSES["relativistic"]
    module.standard.learn(seen.mean, seen.shared_scale)

    def pairs(turn: Turn) -> tuple[Tensor, Tensor]:  # (x, E(x)) and (G(z), z)
        x = run.rows(data.batch(turn.number, options.batch_size))["x"]
        z = torch.randn(len(x), options.latent, device=run.device, dtype=run.dtype)
        return module.pairs(x), torch.cat([module.coder["G"](z), z], 1)

    def d_loss(turn: Turn) -> Tensor:
        x, y = (pair.detach().requires_grad_() for pair in pairs(turn))
        real, fake = module.D(x)[:, 0], module.D(y)[:, 0]
        slopes = squared_slope(real, x) + squared_slope(fake, y)
        return (loss.discriminator(real, fake) + 0.5 * options.penalty * slopes).mean()

    def coder_loss(turn: Turn) -> Tensor:  # the inverse objective: the labels are exchanged (section 3.4)
        x, y = pairs(turn)
        return loss.discriminator(module.D(y), module.D(x)).mean()

    adam = partial(torch.optim.Adam, lr=options.learning_rate, betas=(0.5, 0.99), fused=True)
    nets = {"d": (module.D, d_loss), "coder": (module.coder, coder_loss)}
    players = {name: Player(net, adam(net.parameters()), move) for name, (net, move) in nets.items()}
    play(run, players, options.steps)


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
    """Sample z from its prior, unless it is given, and x = G(z)."""
    if "x" in given:
        raise NotOffered("given 'x': a BiGAN does not complete x. Give z, for example E(x).")
    z = given.get("z", torch.randn(n, fitted.options.latent, device=run.device, dtype=run.dtype))
    return {"x": fitted.module.decode({"z": z}), "z": z}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor]) -> xr.Dataset:
    """Return D(x, E(x)), a surrogate that is no likelihood."""
    critic = fitted.module.D(fitted.module.pairs(data["x"]))[:, 0]
    return xr.Dataset(
        {"critic": ("row", critic.cpu().numpy(), {"kind": "surrogate", "estimator": "relativistic"})}
    )
