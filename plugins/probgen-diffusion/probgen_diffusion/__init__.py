"""Variational diffusion models for probgen: the family `diffusion`."""
