"""VQ-VAE-2: two levels of codes or more, each coarser one drawn first (Razavi, van den Oord & Vinyals, NeurIPS 2019)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field

from probgen_vqvae.model import VQOptions, VQPair


class VQVAE2Options(VQOptions):
    """Options of `vqvae2`."""

    levels: int = Field(2, ge=2, description="maps of codes; each coarser one has half the sides")
    halvings: int = Field(1, ge=1, description="how often the finest codes have halved the image")


class VQVAE2(VQPair):
    """Several levels."""

    Options: ClassVar[type[BaseModel]] = VQVAE2Options
