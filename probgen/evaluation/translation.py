"""Translations against what people wrote."""

from __future__ import annotations

from collections.abc import Sequence

from probgen.errors import InputError


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """BLEU (Papineni et al. 2002) of a corpus, 0 to 100, one reference each; cased, tokens "13a", no smoothing but of zeros: sacrebleu's own.

    Errors: `InputError` where sacrebleu is not installed, and for different counts.
    """
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        raise InputError("BLEU needs sacrebleu: pip install 'probgen[text]'") from None
    if len(texts) != len(references) or not texts:
        raise InputError(
            f"{len(texts)} translations and {len(references)} references: one for each is needed"
        )
    return float(corpus_bleu(list(texts), [list(references)]).score)
