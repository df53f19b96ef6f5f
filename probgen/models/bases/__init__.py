"""Shared parts of the families: dense, pixel and sequence conditioners, latent codes and their priors."""
