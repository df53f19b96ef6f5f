"""Functions on results: comparison of scores. They know arrays and their attributes, no model."""

from probgen.evaluation.comparison import compare

__all__ = ["compare"]
