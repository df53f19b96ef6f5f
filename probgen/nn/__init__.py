"""Deterministic building blocks of networks, without Pyro: functions of tensors that return tensors."""
