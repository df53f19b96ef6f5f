"""Normalizing flows for probgen: families `flow` (vectors and tables), `flow-vae` (latents) and `glow` (images)."""
