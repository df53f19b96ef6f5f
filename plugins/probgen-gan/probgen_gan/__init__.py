"""Generative adversarial networks behind probgen's three hooks, and the game that they are played by.

play, Player, Turn, Average, clipping    a game of any number of players
Adversarial, GameOptions                 two networks whose game, draws and scores are those of `gan`
member                                   one of several GANs that were fitted at once
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
    # torch is imported when something is used, not when the package is found
    if name in _HOME:
        return getattr(import_module(f"probgen_gan.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
