"""Translate texts or images, and compare the translations with references.

Texts are compared by BLEU (`text_translations`); images in decibels and by a classifier of samples and real
images (`image_translations`).
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

needs = "texts conditional on a text, or images conditional on an image"
OF_TEXTS, OF_IMAGES = ("beams", "bleu"), ("draws", "judge")


class Options(BaseOptions):
    """Options of the translation and its measures."""

    rows: int | None = Field(
        default=None, ge=1, description="greatest number of rows, evenly spaced; default: all rows"
    )
    beams: int = Field(default=5, ge=1, description="texts: number of beams in the beam search")
    bleu: bool = Field(True, description="texts: compute BLEU (needs sacrebleu: probgen[text])")
    draws: int = Field(
        4,
        ge=1,
        description="images: samples per image; with 10 or more also the coverage of an interval",
    )
    judge: bool = Field(True, description="images: train a classifier of samples and real images")


def applies(fitted: Fitted) -> bool:
    """Return whether the model makes texts from texts, or images from images."""
    event = fitted.event
    return (
        bool(event.symbols) and text_translations.source_of(event) is not None
    ) or image_translations.applies(fitted)


def check(event: Event, options: Options) -> None:
    """Check that the options apply to the kind of the event, texts or images.

    Args:
        event: The event of the data.
        options: Options of the translation.

    Raises:
        InputError: When an option has no effect, or sacrebleu is missing.
    """
    if event.is_image:
        refuse_unused(options, "it applies to texts only", *OF_TEXTS)
    else:
        refuse_unused(options, "it applies to images only", *OF_IMAGES)
        text_translations.check(options)


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Translate rows; the result is described in `text_translations` and `image_translations`."""
    check(fitted.event, options)
    of = image_translations if fitted.event.is_image else text_translations
    return of.run(fitted, data, options, call)


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figures of images; translations of texts have no figure."""
    return image_translations.figures(found) if "shown" in found else {}
