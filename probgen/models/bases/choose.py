"""Which site an event has: one table for all families that model x site by site."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from probgen.contract.event import Event
from probgen.distributions.sites import Site
from probgen.errors import InputError

MOST_LEVELS = 1 << 12  # of a softmax
AUTO = {"real": "normal", "binary": "bernoulli", "integer": "categorical", "token": "categorical"}
SUITS = {
    "bernoulli": ("binary",),
    "categorical": ("binary", "integer", "token"),
    "logistic": ("binary", "integer"),
    "normal": ("real", "integer"),
}


def site_for(
    event: Event,
    made: Mapping[str, Callable[[int], Site]],
    likelihood: str = "auto",
    *,
    auto: Mapping[str, str] = AUTO,
    most: int = MOST_LEVELS,
) -> Site:
    """The site of one dimension of x.

    made        what the family has: for bernoulli, categorical, logistic, normal a function from the number of levels to a site
    likelihood  one of these, or auto: by the support of the event
    auto        which one is that of a support
    most        levels of a categorical site

    Errors: `InputError` for a likelihood that does not suit the event, which names those that do, and for too many levels.
    """
    chosen = auto[event.support] if likelihood == "auto" else likelihood
    levels = event.levels or 2
    if chosen not in made or event.support not in SUITS[chosen] or (chosen == "logistic" and levels < 2):
        suited = [name for name in made if event.support in SUITS[name]]
        use = (
            f"use likelihood = {' or '.join(map(repr, suited))}"
            if suited
            else f"{' or '.join(made)} is needed"
        )
        also = ", or binarize x" if chosen == "bernoulli" else ""
        raise InputError(f"likelihood = {chosen!r} does not suit x of {event}: {use}{also}")
    if chosen == "categorical" and levels > most:
        use = (
            "use likelihood = 'logistic', or fewer levels"
            if "logistic" in made
            else "use fewer levels, or floats"
        )
        raise InputError(f"x has {levels} levels, more than {most}: {use}")
    return made[chosen](levels)
