"""What several families share: dense, pixel and sequence conditioners, codes and their priors."""
