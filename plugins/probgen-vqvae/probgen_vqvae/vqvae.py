"""The VQ-VAE: one map of codes an image, and a PixelCNN over them (van den Oord, Vinyals & Kavukcuoglu, NIPS 2017)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from probgen_vqvae.model import VQOptions, VQPair


class VQVAEOptions(VQOptions):
    """Options of `vqvae`."""

    levels: ClassVar[int] = 1


class VQVAE(VQPair):
    """One level."""

    Options: ClassVar[type[BaseModel]] = VQVAEOptions
