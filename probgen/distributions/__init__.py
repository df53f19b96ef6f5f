"""Distributions that torch and Pyro lack: legal at any `pyro.sample` site."""

from probgen.distributions.observed_normal import ObservedNormal

__all__ = ["ObservedNormal"]
