"""fit, sample, score: check the input once, shard it, call the hook, stamp what comes out."""

from probgen.api.fitting import fit
from probgen.api.sampling import sample, sample_to
from probgen.api.scoring import score

__all__ = ["fit", "sample", "sample_to", "score"]
