"""The call `estimator`: a family as a scikit-learn estimator, for pipelines, searches and cross-validation.

    probgen.estimator("mixture", components=3).fit(X).score_samples(X)

Each family has its own estimator class; the parameters of the class are the options of the family. After a fit, the
attribute `fitted_` is the `Fitted` model, as `probgen.fit` returns it.
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
    """Return a scikit-learn estimator for a family, not yet fitted.

    Args:
        family: The registered name of a family.
        seed: Seed of the fit. The method `sample` has its own seed.
        **options: Options of the family. They are the parameters of the estimator; the method `fit` checks the values.

    Returns:
        The estimator.

    Raises:
        InputError: When the family has no such option.
        PluginError: When the family is not installed.
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
    """The base class of the estimators of all families. Use `probgen.estimator` to create an estimator.

    X is an array (row, feature), or a DataFrame with the names and kinds of its columns. As in any table, floats are
    real, columns of 0 and 1 are binary, and columns of other whole numbers of at least 0 are counts. Models are fitted
    in float64. Scores are in nats.

    Attributes:
        family: The registered name of the family.
    """

    family: str

    @property
    def definition(self) -> Family:
        """The definition of the family."""
        return find_family(self.family)

    def fit(self, X: Any, y: Any = None) -> Estimator:
        """Fit the family to X: learn p(x).

        Args:
            X: A table with at least two rows: (row, feature).
            y: Not used.

        Returns:
            The estimator itself.

        Raises:
            InputError: When X is not a table with at least two rows.
        """
        X = self._checked(X, first=True)
        if len(X) < 2:
            raise InputError(f"n_samples = {len(X)}: a fit needs at least two rows")
        options = {name: value for name, value in self.get_params().items() if name != "seed"}
        self.fitted_ = fit(self.family, X, seed=self.seed, dtype="float64", **options)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) of each row, or a bound on it.

        Args:
            X: A table with the columns of the fit: (row, feature).

        Returns:
            The scores in nats: (row,).

        Raises:
            InputError: When X is invalid.
            NotOffered: When the family has no likelihood.
        """
        found = score(self._fitted, self._checked(X))
        if "log_prob" not in found:
            raise NotOffered(f"family {self.family!r} has no likelihood")
        return np.asarray(found["log_prob"].values, dtype=np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`.

        Args:
            X: A table with the columns of the fit: (row, feature).
            y: Not used.

        Returns:
            The mean score in nats.

        Raises:
            InputError: When X is invalid.
            NotOffered: When the family has no likelihood.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, seed: int = 0) -> Any:
        """Sample from the fitted model.

        Args:
            n_samples: Number of samples.
            seed: Seed of all random numbers.

        Returns:
            The samples: (n_samples, feature). They are a DataFrame if the model was fitted to a DataFrame.

        Raises:
            InputError: When an argument is invalid.
            NotOffered: When the family does not sample.
        """
        drawn = sample(self._fitted, n_samples, seed=seed)
        return frame(drawn) if hasattr(self, "feature_names_in_") else drawn["x"].values

    @available_if(_has_posterior)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the posterior probabilities of the classes, p(class | x).

        Args:
            X: A table with the columns of the fit: (row, feature).

        Returns:
            The probabilities: (row, component).

        Raises:
            InputError: When X is invalid.
        """
        return np.asarray(score(self._fitted, self._checked(X), posterior=True)["posterior"].values)

    @available_if(_has_posterior)
    def predict(self, X: Any) -> np.ndarray:
        """Return the most likely class of each row.

        Args:
            X: A table with the columns of the fit: (row, feature).

        Returns:
            The numbers of the classes: (row,).

        Raises:
            InputError: When X is invalid.
        """
        return self.predict_proba(X).argmax(1)

    @available_if(_has_encoder)
    def transform(self, X: Any) -> np.ndarray:
        """Encode rows as latents.

        Args:
            X: A table with the columns of the fit: (row, feature).

        Returns:
            The latents of the encoder, concatenated: (row, latent).

        Raises:
            InputError: When X is invalid.
            NotOffered: When values of X are missing.
        """
        found = encode(self._fitted, self._checked(X))
        names = list(latents_of(self._fitted.module))
        return np.concatenate([found[name].values.reshape(len(found[name]), -1) for name in names], 1)

    @property
    def _fitted(self) -> Any:
        check_is_fitted(self, "fitted_")
        return self.fitted_

    def _checked(self, X: Any, first: bool = False) -> Any:
        """Return a checked table as a DataFrame. Errors have the wording of scikit-learn."""
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
        """Return the state for pickling, with the fitted model as the bytes of its file."""
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
    """Raise `InputError` if the names of columns cannot be used."""
    names: Any = X.columns
    if not all(isinstance(name, str) for name in names) and not names.equals(pd.RangeIndex(len(names))):
        raise InputError("X has column names that are not text. Give X.rename(columns=str).")
    if used := {"label", "weight"} & set(names):
        raise InputError(
            f"X has a column {used.pop()!r}, a reserved name that is not part of x. Rename the column, or leave it out."
        )


@cache
def _class_of(family: str) -> type[Estimator]:
    """Return the estimator class of a family. The parameters of its `__init__` are the options of the family."""
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
        "__doc__": f"The family `{family}` as a scikit-learn estimator.",
    }
    bases = (TransformerMixin, Estimator) if isinstance(definition.source, Encoder) else (Estimator,)
    return type(_name_of(family), bases, members)


def _name_of(family: str) -> str:
    return f"Estimator_{family.replace('-', '__')}"


def __getattr__(name: str) -> Any:
    """Return an estimator class by its name, e.g. for unpickling."""
    before, found, family = name.partition("Estimator_")
    if found and not before:
        with suppress(PluginError, InputError):  # without such a family, there is no such attribute
            return _class_of(family.replace("__", "-"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
