"""estimator: a family as an estimator of scikit-learn, for its pipelines, searches and cross-validation.

    probgen.estimator("mixture", components=3).fit(X).score_samples(X)

Each family is a class of its own, whose parameters are its options; what was fitted is the attribute `fitted_`, a `Fitted` as of `probgen.fit`.
"""

from __future__ import annotations

import inspect
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, DensityMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from probgen.api.encoding import encode
from probgen.api.fitting import fit
from probgen.api.framing import frame
from probgen.api.loading import of_bytes
from probgen.api.sampling import sample
from probgen.api.scoring import score
from probgen.contract.definition import Encoder, latents_of
from probgen.contract.options import PosteriorOptions
from probgen.errors import InputError, NotOffered, PluginError, did_you_mean
from probgen.plugins.family import Family
from probgen.plugins.family import family as find_family


def estimator(family: str, *, seed: int = 0, **options: Any) -> Estimator:
    """An estimator of scikit-learn for a family, not yet fitted.

    family   a registered name
    seed     of the fit; draws take their own
    options  of the family, which are the parameters of the estimator

    Errors: `InputError` for an option that the family has not; values are checked by `fit`.
    """
    kind = _class_of(family)
    known = list(inspect.signature(kind).parameters)
    for name in options:
        if name not in known:
            raise InputError(f"family {family!r} has no option {name!r}; {did_you_mean(name, known)}")
    made: Estimator = kind(seed=seed, **options)
    return made


def _has_posterior(self: Estimator) -> bool:
    return issubclass(self.definition.options("score"), PosteriorOptions)


def _has_encoder(self: Estimator) -> bool:
    return isinstance(self.definition.source, Encoder)


class Estimator(DensityMixin, BaseEstimator):
    """What estimators of all families share. Make one by `probgen.estimator`.

    X is an array (row, feature), or a DataFrame, whose columns have their names and kinds. Whole numbers from 0 are counts, and such of 0 and 1 are
    bits, as in any table; floats are real. Models are fitted in float64. Scores are in nats.
    """

    family: str

    @property
    def definition(self) -> Family:
        """The family."""
        return find_family(self.family)

    def fit(self, X: Any, y: Any = None) -> Estimator:
        """Learn p(x). y is not used. Errors: `ValueError` for what is no table of two rows or more."""
        X = self._checked(X, first=True)
        if len(X) < 2:
            raise InputError(f"n_samples = {len(X)}: at least two rows are needed to fit a model")
        options = {name: value for name, value in self.get_params().items() if name != "seed"}
        self.fitted_ = fit(self.family, X, seed=self.seed, dtype="float64", **options)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each row, or a bound on it: (row,)."""
        found = score(self._fitted, self._checked(X))
        if "log_prob" not in found:
            raise NotOffered(f"{self.family} has no likelihood")
        return np.asarray(found["log_prob"].values, dtype=np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, seed: int = 0) -> Any:
        """Draws: (n_samples, feature), or a DataFrame where the model was fitted to one."""
        drawn = sample(self._fitted, n_samples, seed=seed)
        return frame(drawn) if hasattr(self, "feature_names_in_") else drawn["x"].values

    @available_if(_has_posterior)
    def predict_proba(self, X: Any) -> np.ndarray:
        """p(class | x): (row, component)."""
        return np.asarray(score(self._fitted, self._checked(X), posterior=True)["posterior"].values)

    @available_if(_has_posterior)
    def predict(self, X: Any) -> np.ndarray:
        """The most likely class: (row,)."""
        return self.predict_proba(X).argmax(1)

    @available_if(_has_encoder)
    def transform(self, X: Any) -> np.ndarray:
        """Codes by the encoder: (row, latent)."""
        found = encode(self._fitted, self._checked(X))
        names = list(latents_of(self._fitted.module))
        return np.concatenate([found[name].values.reshape(len(found[name]), -1) for name in names], 1)

    @property
    def _fitted(self) -> Any:
        check_is_fitted(self, "fitted_")
        return self.fitted_

    def _checked(self, X: Any, first: bool = False) -> Any:
        """An array, or a DataFrame as it is. Errors: `ValueError`, in scikit-learn's words; `NotFittedError`."""
        if not first:
            check_is_fitted(self, "fitted_")
        gaps = "observed" in self.definition.accepts
        if isinstance(X, pd.DataFrame):
            _check_names(X)
        if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
            _check_feature_names(self, X, reset=first)
            if first:
                self.n_features_in_ = X.shape[1]
            elif X.shape[1] != self.n_features_in_:
                raise InputError(
                    f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
                )
            return X
        x = validate_data(
            self, X, reset=first, dtype="numeric", ensure_all_finite="allow-nan" if gaps else True
        )
        return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = "observed" in self.definition.accepts
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """What was fitted as the bytes of its file."""
        state = dict(super().__getstate__())
        if "fitted_" in state:
            with tempfile.TemporaryDirectory() as folder:
                state["fitted_"].save(Path(folder) / "model.h5")
                state["fitted_"] = (Path(folder) / "model.h5").read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("fitted_"), bytes):
            state = {**state, "fitted_": of_bytes(state["fitted_"])}
        super().__setstate__(state)


def _check_names(X: pd.DataFrame) -> None:
    """Errors: `InputError` for columns whose names would not be used."""
    names: Any = X.columns
    if not all(isinstance(name, str) for name in names) and not names.equals(pd.RangeIndex(len(names))):
        raise InputError(
            "the names of columns are no texts, and would not be used: give X.rename(columns=str)"
        )
    if used := {"label", "weight"} & set(names):
        raise InputError(
            f"X has a column {used.pop()!r}, which is none of x in a table: give it another name, or leave it out"
        )


@cache
def _class_of(family: str) -> type[Estimator]:
    """The class of a family, whose `__init__` has its options by name. Errors: `PluginError`."""
    definition = find_family(family)
    definition.require("fit")
    fields = definition.options("fit").model_fields
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        inspect.Parameter(name, keyword, default=field.get_default(call_default_factory=True))
        for name, field in fields.items()
    ]
    signature = inspect.Signature([own, *parameters, inspect.Parameter("seed", keyword, default=0)])

    def __init__(self: Estimator, **given: Any) -> None:
        bound = signature.bind(self, **given)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name != "self":
                setattr(self, name, value)

    __init__.__signature__ = signature  # type: ignore[attr-defined]  # inspect and scikit-learn read it
    members = {
        "__init__": __init__,
        "family": family,
        "__module__": __name__,
        "__doc__": f"`{family}` as an estimator of scikit-learn.",
    }
    bases = (TransformerMixin, Estimator) if isinstance(definition.source, Encoder) else (Estimator,)
    return type(_name_of(family), bases, members)


def _name_of(family: str) -> str:
    return f"Estimator_{family.replace('-', '__')}"


def __getattr__(name: str) -> Any:
    """Classes by their names, as pickles of other libraries look them up."""
    before, found, family = name.partition("Estimator_")
    if found and not before:
        with suppress(PluginError, InputError):  # no family, as an attribute that is not there
            return _class_of(family.replace("__", "-"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
