"""Measures of translations against human references."""

from __future__ import annotations

from collections.abc import Sequence

from probgen.errors import InputError


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """Return the corpus BLEU (Papineni et al. 2002) with one reference each, from 0 to 100.

    It is sacrebleu's default: cased, tokenizer "13a", smoothing of zero counts only.

    Args:
        texts: Translations.
        references: One reference per translation.

    Returns:
        The score.

    Raises:
        InputError: When sacrebleu is missing, there are no texts, or the numbers of texts differ.
    """
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        raise InputError(
            "BLEU needs sacrebleu, which is not installed. Run: pip install 'probgen[text]'"
        ) from None
    if len(texts) != len(references) or not texts:
        raise InputError(
            f"{len(texts)} translations and {len(references)} references: the numbers must be equal. Give one reference per translation."
        )
    return float(corpus_bleu(list(texts), [list(references)]).score)
