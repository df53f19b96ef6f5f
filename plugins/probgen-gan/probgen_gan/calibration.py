"""Calibration of a discriminator to a density ratio, by logistic regression on rows and samples.

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

ROWS, AT_ONCE = 10_000, 1000  # rows of the calibration, at most, and rows of one batch
NUMBERS = 1 << 23  # approximate limit on the numbers in these rows


@torch.no_grad()
def calibrate(module: Adversarial, data: Rows, members: Members) -> None:
    """Set a and b of each member.

    The regression uses validation rows if there are some, because D is overconfident on the rows of its training.
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
        raise DivergedError(
            "the discriminator D returns values that are not finite at the end of the fit. Try a lower learning_rate."
        )
    found = [_regression(*pair) for pair in zip(np.atleast_2d(real), np.atleast_2d(fake), strict=True)]
    module.calibration.copy_(torch.tensor(found, dtype=torch.float64).view_as(module.calibration))


def _regression(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Return a and b, by a regression on outputs that are standardized first."""
    both = np.concatenate([real, fake])
    loc, scale = both.mean(), both.std() or 1.0
    is_real = np.arange(len(both)) < len(real)
    found = LogisticRegression(C=1e6).fit(((both - loc) / scale)[:, None], is_real)
    a = found.coef_[0, 0] / scale
    return a, found.intercept_[0] - a * loc
