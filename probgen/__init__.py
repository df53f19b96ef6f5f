"""probgen: a plugin-based probabilistic modeling framework on Pyro.

    fitted = probgen.fit("mixture", x, components=3)
    samples = probgen.sample(fitted, 100)
    scores = probgen.score(fitted, x)

Names are imported at their first use: `import probgen` imports neither torch nor Pyro.
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
    from probgen.api.analyzing import analyze as analyze
    from probgen.api.analyzing import figures_of as figures_of
    from probgen.api.attributing import attributes as attributes
    from probgen.api.decoding import decode as decode
    from probgen.api.diagnosing import diagnose as diagnose
    from probgen.api.encoding import encode as encode
    from probgen.api.estimating import estimator as estimator
    from probgen.api.exporting import to_arviz as to_arviz
    from probgen.api.fitting import fit as fit
    from probgen.api.framing import frame as frame
    from probgen.api.loading import load as load
    from probgen.api.picturing import sample_images as sample_images
    from probgen.api.sampling import sample as sample
    from probgen.api.sampling import sample_to as sample_to
    from probgen.api.scoring import score as score
    from probgen.api.scoring import score_to as score_to
    from probgen.api.searching import search as search
    from probgen.contract.event import Event as Event
    from probgen.contract.fitted import Fitted as Fitted
    from probgen.contract.hookspecs import hookimpl as hookimpl
    from probgen.contract.options import Options as Options
    from probgen.contract.rows import Rows as Rows
    from probgen.contract.run import Run as Run
    from probgen.contract.scores import bits_per_dim as bits_per_dim
    from probgen.contract.scores import log_prob as log_prob
    from probgen.evaluation import compare as compare
    from probgen.pair import Pair as Pair
    from probgen.plugins.observers import observing as observing
    from probgen.store.opened import open_parts as open_parts

_HOME = {
    "Event": "probgen.contract.event",
    "Fitted": "probgen.contract.fitted",
    "Options": "probgen.contract.options",
    "Pair": "probgen.pair",
    "Rows": "probgen.contract.rows",
    "Run": "probgen.contract.run",
    "bits_per_dim": "probgen.contract.scores",
    "analyze": "probgen.api.analyzing",
    "attributes": "probgen.api.attributing",
    "compare": "probgen.evaluation",
    "decode": "probgen.api.decoding",
    "diagnose": "probgen.api.diagnosing",
    "encode": "probgen.api.encoding",
    "estimator": "probgen.api.estimating",
    "figures_of": "probgen.api.analyzing",
    "fit": "probgen.api.fitting",
    "frame": "probgen.api.framing",
    "hookimpl": "probgen.contract.hookspecs",
    "load": "probgen.api.loading",
    "log_prob": "probgen.contract.scores",
    "observing": "probgen.plugins.observers",
    "open_parts": "probgen.store.opened",
    "sample": "probgen.api.sampling",
    "sample_images": "probgen.api.picturing",
    "sample_to": "probgen.api.sampling",
    "score": "probgen.api.scoring",
    "score_to": "probgen.api.scoring",
    "search": "probgen.api.searching",
    "to_arviz": "probgen.api.exporting",
}
_PACKAGES = (
    "datasets",
    "distributions",
    "errors",
    "evaluation",
    "figures",
    "inference",
    "latents",
    "models",
    "nn",
    "testing",
)

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
