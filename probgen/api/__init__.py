"""fit, sample, score, diagnose: check the input once, shard it, call the hook, stamp what comes out."""

from probgen.api.diagnosing import diagnose
from probgen.api.fitting import fit
from probgen.api.sampling import sample, sample_to
from probgen.api.scoring import score

__all__ = ["diagnose", "fit", "sample", "sample_to", "score"]
