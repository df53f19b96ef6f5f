"""The site of an event: one table for all families that model x site by site."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from probgen.contract.event import Event
from probgen.distributions.sites import Site
from probgen.errors import InputError

MOST_LEVELS = 1 << 12  # largest softmax
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
    """Return the site of one dimension of x.

    Args:
        event: The event that x is.
        made: The sites that the family offers: for each likelihood ("bernoulli", "categorical", "logistic",
            "normal") a function from the number of levels to a site.
        likelihood: A key of `made`, or "auto", which chooses by the support of the event.
        auto: The likelihood that "auto" chooses for each support.
        most: The largest number of levels of a categorical site.

    Returns:
        The site.

    Raises:
        InputError: When the likelihood does not suit the event, or the event has more than `most` levels.
    """
    chosen = auto[event.support] if likelihood == "auto" else likelihood
    levels = event.levels or 2
    if chosen not in made or event.support not in SUITS[chosen] or (chosen == "logistic" and levels < 2):
        suited = [name for name in made if event.support in SUITS[name]]
        use = (
            f"Use likelihood = {' or '.join(map(repr, suited))}"
            if suited
            else f"This family offers {' and '.join(made)} only"
        )
        also = ", or binarize x" if chosen == "bernoulli" else ""
        raise InputError(f"likelihood = {chosen!r} does not suit x of {event}. {use}{also}.")
    if chosen == "categorical" and levels > most:
        use = (
            "Use likelihood = 'logistic', or fewer levels."
            if "logistic" in made
            else "Use fewer levels, or give x as floats."
        )
        raise InputError(f"x has {levels} levels, but a softmax allows at most {most}. {use}")
    return made[chosen](levels)
