"""Posterior samples of the latents given observed values of x.

The samples are importance-resampled (Rubin 1987), from samples of the guide or from annealed chains.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probgen.inference.annealed import ais
from probgen.inference.importance import log_weights, propose
from probgen.inference.programs import Program


def posterior_draws(
    pair: Program, x: Tensor, observed: Tensor, particles: int, steps: int, **given: Any
) -> tuple[dict[str, Tensor], Tensor]:
    """Sample all latents for each row of x, given its observed values.

    One of `particles` candidates is chosen by its weight. The candidates of complete rows come from the guide. The
    candidates of other rows come from annealing that starts at the prior, because the guide needs complete rows. If the
    effective sample size is near 1, more particles are needed.

    Args:
        pair: The program. For rows with missing values, it needs one latent (a vector of real numbers) and a model that
            accepts `observed`.
        x: Rows, (row, *event).
        observed: Mask of the observed values, (row, *event), bool.
        particles: Number of candidates per row.
        steps: Number of annealing steps, for rows with missing values.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        Samples by name of the latent, (row, ...), and effective sample sizes, (row,), from 1 to `particles`.

    Raises:
        NotOffered: When a row has missing values, and the latents of the program do not permit annealing.
    """
    whole = observed.flatten(1).all(1)
    parts: list[tuple[Tensor, dict[str, Tensor], Tensor]] = []
    for rows in (whole.nonzero()[:, 0], (~whole).nonzero()[:, 0]):
        if not len(rows):
            continue
        some = {"x": x[rows], **{name: value[rows] for name, value in given.items()}}
        if whole[rows[0]]:
            proposal = propose(pair, k=particles, **some)
            log_w, z = log_weights(pair, proposal=proposal, **some), proposal.z
        else:
            chains = ais(pair, steps=steps, chains=particles, start="prior", observed=observed[rows], **some)
            log_w, z = chains.log_w, dict.fromkeys(pair.latents, chains.z)
        w = log_w.T.softmax(1)
        chosen = torch.multinomial(w, 1)[:, 0]
        picked = {name: value[chosen, torch.arange(len(rows), device=x.device)] for name, value in z.items()}
        parts.append((rows, picked, 1 / w.square().sum(1)))
    order = torch.cat([rows for rows, _, _ in parts]).argsort()
    z = {name: torch.cat([picked[name] for _, picked, _ in parts])[order] for name in parts[0][1]}
    return z, torch.cat([ess for _, _, ess in parts])[order]
