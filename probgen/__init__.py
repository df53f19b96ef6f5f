"""probgen: one grammar for generative models.

    fitted = probgen.fit("mixture", x, components=3)
    draws = probgen.sample(fitted, 100)
    scores = probgen.score(fitted, x)

Names are loaded when first used: `import probgen` imports neither torch nor Pyro.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from probgen import datasets as datasets
    from probgen import distributions as distributions
    from probgen import evaluation as evaluation
    from probgen import inference as inference
    from probgen import testing as testing
    from probgen.api import diagnose as diagnose
    from probgen.api import fit as fit
    from probgen.api import sample as sample
    from probgen.api import sample_to as sample_to
    from probgen.api import score as score
    from probgen.evaluation import compare as compare
    from probgen.event import Event as Event
    from probgen.fitted import Fitted as Fitted
    from probgen.fitted import load as load
    from probgen.hookspecs import hookimpl as hookimpl
    from probgen.observers import observing as observing
    from probgen.options import Options as Options
    from probgen.pair import Pair as Pair
    from probgen.rows import Rows as Rows
    from probgen.run import Run as Run
    from probgen.scores import bits_per_dim as bits_per_dim
    from probgen.scores import log_prob as log_prob

_HOME = {
    "Event": "probgen.event",
    "Fitted": "probgen.fitted",
    "Options": "probgen.options",
    "Pair": "probgen.pair",
    "Rows": "probgen.rows",
    "Run": "probgen.run",
    "bits_per_dim": "probgen.scores",
    "compare": "probgen.evaluation",
    "diagnose": "probgen.api",
    "fit": "probgen.api",
    "hookimpl": "probgen.hookspecs",
    "load": "probgen.fitted",
    "log_prob": "probgen.scores",
    "observing": "probgen.observers",
    "sample": "probgen.api",
    "sample_to": "probgen.api",
    "score": "probgen.api",
}
_PACKAGES = ("datasets", "distributions", "errors", "evaluation", "inference", "models", "testing")

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("probgen")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return import_module(f"probgen.{name}")
    raise AttributeError(f"module 'probgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_PACKAGES])
