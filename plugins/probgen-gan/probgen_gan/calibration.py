"""From what a discriminator says to a ratio of densities: logistic regression on rows and on draws.

log p_data(x) / p_G(x) = a D(x) + b
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from probgen import Rows
from probgen.errors import DivergedError
from probgen_gan.adversarial import Adversarial
from probgen_gan.members import Members

ROWS, AT_ONCE = 10_000, 1000  # that the discriminator is calibrated on, at most, and at a time
NUMBERS = 1 << 23  # of these rows, about


@torch.no_grad()
def calibrate(module: Adversarial, data: Rows, members: Members) -> None:
    """Set a and b of each member.

    Rows to choose by are taken where there are some: on those that it was trained on, D is too sure.
    """
    module.eval()
    members.begin("calibration", 0)
    rows = (data.valid if data.valid is not None else data).reseeded(0)  # the same for every member
    said: tuple[list[Tensor], list[Tensor]] = ([], [])
    most = min(ROWS, max(AT_ONCE, NUMBERS // module.event.size))
    for t in range(min(rows.n, most) // min(rows.n, AT_ONCE)):
        batch = rows.batch(t, AT_ONCE, "calibration")
        x, c = module.of_each(module.standardized(batch["x"])), module.of_each(module.condition(batch))
        z = members.normal(len(batch["x"]), module.options.latent)
        said[0].append(module.critic(x, c))
        said[1].append(module.critic(module.generate(module.average, z, c), c))
    real, fake = (torch.cat(parts, -1).double().cpu().numpy() for parts in said)
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise DivergedError("the discriminator D gives what is not finite at the end of the fit")
    found = [_regression(*pair) for pair in zip(np.atleast_2d(real), np.atleast_2d(fake), strict=True)]
    module.calibration.copy_(torch.tensor(found, dtype=torch.float64).view_as(module.calibration))


def _regression(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """a and b, of outputs that are brought to one scale first."""
    both = np.concatenate([real, fake])
    loc, scale = both.mean(), both.std() or 1.0
    is_real = np.arange(len(both)) < len(real)
    found = LogisticRegression(C=1e6).fit(((both - loc) / scale)[:, None], is_real)
    a = found.coef_[0, 0] / scale
    return a, found.intercept_[0] - a * loc
