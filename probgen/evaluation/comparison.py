"""Comparison of scores of several models on the same rows; scores that are not comparable are refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from probgen.errors import InputError
from probgen.evaluation.means import mean, rows_of, weights_of

_SAME = ("event_size", "rows", "given", "observed", "measure")  # the nearest reason first
_WHY = {
    "measure": "densities and probabilities have no common scale",
    "lebesgue": "a column is real for one model and discrete for the other",
    "given": "the conditional distributions are different",
    "observed": "one scores complete rows, the other parts of rows",
    "event_size": "the events are different",
}


def compare(scores: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Compare mean log-likelihoods of models, by paired differences to the best model, in nats per row.

    Args:
        scores: Results of `probgen.score` by model, all on the same rows.

    Returns:
        A table by `model`, best first:

        - `log_prob`, `log_prob_se`: mean over rows (weighted, if the rows have weights) and its standard
          error.
        - `difference`, `difference_se`: mean paired difference to the first model and its standard error.
        - `kind`, `estimator`: the kind of the value (exact, a bound, an estimate) and its estimator.
        - `rank`: 1 + the number of models that are certainly better, as far as their kinds show. A model is
          better than another if its exact value or lower bound is greater than the other's exact value or
          upper bound. A lower bound below another value proves nothing, so both models have the same rank.
          Estimates count as exact.

    Raises:
        InputError: When there are no scores, a score is not a log-likelihood, or scores differ in measure,
            conditions, rows or weights.
    """
    if not scores:
        raise InputError(
            "scores = {}: there are no scores to compare. Give the scores of at least one model."
        )
    _check(scores)
    values = {name: s["log_prob"].values.astype(np.float64) for name, s in scores.items()}
    kinds = {name: str(s["log_prob"].attrs["kind"]) for name, s in scores.items()}
    weight = weights_of(next(iter(scores.values())))
    means = {name: mean(value, weight) for name, value in values.items()}
    order = sorted(scores, key=lambda name: -means[name][0])
    best = values[order[0]]
    rows = []
    for name in order:
        with np.errstate(invalid="ignore"):  # two rows of minus infinity have no difference
            less = values[name] - best if name != order[0] else np.zeros_like(best)
        difference, difference_se = mean(less, weight)
        better = sum(
            means[other][0] > means[name][0]
            and kinds[other] != "upper_bound"
            and kinds[name] != "lower_bound"
            for other in order
        )
        rows.append((*means[name], difference, difference_se, 1 + better))
    columns = dict(
        zip(
            ("log_prob", "log_prob_se", "difference", "difference_se", "rank"),
            zip(*rows, strict=True),
            strict=True,
        )
    )
    table = xr.Dataset(
        {name: ("model", np.array(column)) for name, column in columns.items()}, {"model": order}
    )
    for name in ("log_prob", "log_prob_se", "difference", "difference_se"):
        table[name].attrs["units"] = "nat"
    table["kind"] = ("model", [kinds[name] for name in order])
    table["estimator"] = ("model", [str(scores[name]["log_prob"].attrs["estimator"]) for name in order])
    first = scores[order[0]]["log_prob"].attrs
    table.attrs = {name: first[name] for name in (*_SAME, "lebesgue") if name in first}
    table.attrs |= {"n": len(best), "over": rows_of(scores[order[0]])}
    return table


def _check(scores: Mapping[str, xr.Dataset]) -> None:
    for name, score in scores.items():
        if "log_prob" not in score:
            has = ", ".join(map(str, score.data_vars))
            raise InputError(
                f"{name!r} has no log_prob, only {has}: these are not likelihoods. Leave this model out."
            )
        lacking = [fact for fact in _SAME if fact not in score["log_prob"].attrs]
        if lacking:
            raise InputError(f"{name!r} has no attribute {lacking[0]!r}. Use results of probgen.score.")
        if score["log_prob"].attrs.get("kind") == "surrogate":
            raise InputError(f"{name!r}: its score is a surrogate, not a likelihood. Leave this model out.")
    first, *others = scores
    for name in others:
        if not _equal(weights_of(scores[first]), weights_of(scores[name])):
            raise InputError(
                f"{first!r} and {name!r} cannot be compared: their row weights are different. Score both on the same data."
            )
        for fact in (*_SAME, "lebesgue"):
            a, b = scores[first]["log_prob"].attrs.get(fact), scores[name]["log_prob"].attrs.get(fact)
            if a != b and fact == "rows":
                raise InputError(
                    f"{first!r} and {name!r} cannot be compared: they were scored on different rows ({rows_of(scores[first])} and "
                    f"{rows_of(scores[name])}). Score both on the same data and split."
                )
            if a != b:
                raise InputError(
                    f"{first!r} and {name!r} cannot be compared: {fact} is {_short(a)} and {_short(b)}; {_WHY[fact]}."
                )


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _short(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 16 else f"{text[:10]}...'"
