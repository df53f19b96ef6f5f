"""Draws of the latents given what is known of x: importance resampling (Rubin 1987) of the guide's draws or of chains."""

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
    """A draw of every latent for each row of x given what is observed of it, and its effective sample size: (row, ...), (row,).

    One of `particles` is chosen by its weight. Where all of x is known they come from the guide; elsewhere, since the guide
    was made for whole rows, by annealing from the prior in so many `steps`, which needs a pair that accepts `observed`.
    Near 1 the effective sample size says that the choice was forced: use more particles.
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
