"""Normalizing flows for probgen: families `flow` (vectors and tables) and `glow` (images)."""
