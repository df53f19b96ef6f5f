"""Translations: rows beside what the model makes of what they are conditioned on: of texts and of images.

Of texts with BLEU (`text_translations`), of images in decibels and by what tells draws from photographs (`image_translations`).
"""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen.analyses import image_translations, text_translations
from probgen.contract.analysis import Call
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.options import refuse_unused

needs = "texts that are conditioned on a text, or images on an image"
OF_TEXTS, OF_IMAGES = ("beams", "bleu"), ("draws", "judge")


class Options(BaseOptions):
    """What to translate, and how it is judged."""

    rows: int | None = Field(default=None, ge=1, description="rows, evenly spaced; by default all")
    beams: int = Field(default=5, ge=1, description="of texts: of the beam")
    bleu: bool = Field(
        True, description="of texts: BLEU of the translations, which needs sacrebleu: probgen[text]"
    )
    draws: int = Field(
        4,
        ge=1,
        description="of images: draws of each; from 10 on also how often an interval of them covers x",
    )
    judge: bool = Field(True, description="of images: train a classifier to tell draws from real images")


def applies(fitted: Fitted) -> bool:
    """Of texts given texts, and of images given images."""
    event = fitted.event
    return (
        bool(event.symbols) and text_translations.source_of(event) is not None
    ) or image_translations.applies(fitted)


def check(event: Event, options: Options) -> None:
    """Errors: `InputError` where sacrebleu is missing, and for options of the other kind."""
    if event.is_image:
        refuse_unused(options, "it is of texts", *OF_TEXTS)
    else:
        refuse_unused(options, "it is of images", *OF_IMAGES)
        text_translations.check(options)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """See the two modules."""
    check(fitted.event, options)
    of = image_translations if fitted.event.is_image else text_translations
    return of.run(fitted, data, options, call)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Of images; of texts none: they are the result."""
    return image_translations.figures(found) if "shown" in found else {}
