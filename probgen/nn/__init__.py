"""Deterministic blocks of networks: tensors in, tensors out, no Pyro."""
