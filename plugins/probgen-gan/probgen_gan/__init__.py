"""Generative adversarial networks for probgen, and the parts of their game for GANs of your own.

play, Player, Turn, Average, clipping    a game with any number of players
Adversarial, GameOptions                 the base of GANs with two networks, with the game, samples and scores of `gan`
member                                   select one of several GANs that were fitted together
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probgen_gan.adversarial import Adversarial as Adversarial
    from probgen_gan.adversarial import GameOptions as GameOptions
    from probgen_gan.game import Average as Average
    from probgen_gan.game import Player as Player
    from probgen_gan.game import Turn as Turn
    from probgen_gan.game import clipping as clipping
    from probgen_gan.game import play as play
    from probgen_gan.implicit import member as member

_HOME = {
    "Adversarial": "adversarial",
    "Average": "game",
    "GameOptions": "adversarial",
    "Player": "game",
    "Turn": "game",
    "clipping": "game",
    "member": "implicit",
    "play": "game",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    # the package imports fast: torch is imported at the first use of a name
    if name in _HOME:
        return getattr(import_module(f"probgen_gan.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
