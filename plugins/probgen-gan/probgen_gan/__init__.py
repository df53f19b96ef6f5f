"""Generative adversarial networks behind probgen's three hooks."""
