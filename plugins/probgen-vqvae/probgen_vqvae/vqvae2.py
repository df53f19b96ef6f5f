"""VQ-VAE-2: two or more levels of codes, sampled from coarse to fine (Razavi, van den Oord & Vinyals, NeurIPS 2019)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field

from probgen_vqvae.model import VQOptions, VQPair


class VQVAE2Options(VQOptions):
    """The options of `vqvae2`."""

    levels: int = Field(2, ge=2, description="number of maps of codes; each coarser map has half the sides")
    halvings: int = Field(
        1, ge=1, description="number of times that the encoder of the finest codes halves x"
    )


class VQVAE2(VQPair):
    """A VQ-VAE-2: two or more levels of codes, sampled from coarse to fine (Razavi et al. 2019)."""

    Options: ClassVar[type[BaseModel]] = VQVAE2Options
