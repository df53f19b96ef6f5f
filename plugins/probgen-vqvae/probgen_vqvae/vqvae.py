"""The VQ-VAE: one map of codes for each image, and a PixelCNN over the codes (van den Oord, Vinyals & Kavukcuoglu, NIPS 2017)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from probgen_vqvae.model import VQOptions, VQPair


class VQVAEOptions(VQOptions):
    """The options of `vqvae`."""

    levels: ClassVar[int] = 1


class VQVAE(VQPair):
    """A VQ-VAE: one map of codes for each image, and a PixelCNN over the codes (van den Oord et al. 2017)."""

    Options: ClassVar[type[BaseModel]] = VQVAEOptions
