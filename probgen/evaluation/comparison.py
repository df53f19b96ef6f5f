"""Scores of several models on the same rows, compared only where they can be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from probgen.errors import InputError
from probgen.evaluation.means import mean, rows_of, weights_of

_SAME = ("measure", "given", "observed", "rows", "event_size")
_WHY = {
    "measure": "a density and a probability have no common scale",
    "lebesgue": "a column that is real in one is counted in the other",
    "given": "they are of different conditional distributions",
    "observed": "one is of whole rows, the other of parts of them",
    "rows": "they are of different data",
    "event_size": "they are of different events",
}


def compare(scores: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Mean log-likelihoods and paired differences to the best of them, in nats a row.

    scores  results of `probgen.score` by model; all on the same rows

    Returns, by `model`, best first:

    log_prob, log_prob_se      mean over rows (by their weights, where they have some), and its standard error
    difference, difference_se  to the first model: mean of the paired differences, and its standard error
    kind, estimator            what kind of number it is
    rank                       1 + how many models are better for certain, as far as kinds go: a model is better than
                               another if its value, exact or a lower bound, is above the other's, exact or an upper
                               bound. A lower bound below another's value says nothing, so both have the same rank.
                               Estimates count as exact.

    Errors: `InputError` where numbers are no log-likelihoods, or differ in measure, conditions, rows or weights.
    """
    if not scores:
        raise InputError("there is nothing to compare")
    _check(scores)
    values = {name: s["log_prob"].values.astype(np.float64) for name, s in scores.items()}
    kinds = {name: str(s["log_prob"].attrs["kind"]) for name, s in scores.items()}
    weight = weights_of(next(iter(scores.values())))
    means = {name: mean(value, weight) for name, value in values.items()}
    order = sorted(scores, key=lambda name: -means[name][0])
    best = values[order[0]]
    rows = []
    for name in order:
        difference, difference_se = mean(values[name] - best, weight)
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
                f"{name!r} has no log_prob, but {has}: not a likelihood, so not to be compared as one"
            )
        lacking = [fact for fact in _SAME if fact not in score["log_prob"].attrs]
        if lacking:
            raise InputError(f"{name!r} does not say its {lacking[0]!r}: compare what probgen.score returned")
        if score["log_prob"].attrs.get("kind") == "surrogate":
            raise InputError(f"{name!r} is scored by a surrogate, which is no likelihood")
    first, *others = scores
    for name in others:
        if not _equal(weights_of(scores[first]), weights_of(scores[name])):
            raise InputError(
                f"{first!r} and {name!r} cannot be compared: their rows have different weights; score both on the same data"
            )
        for fact in (*_SAME, "lebesgue"):
            a, b = scores[first]["log_prob"].attrs.get(fact), scores[name]["log_prob"].attrs.get(fact)
            if a != b:
                raise InputError(
                    f"{first!r} and {name!r} cannot be compared: {fact} is {_short(a)} and {_short(b)}; {_WHY[fact]}"
                )


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 16 else f"{text[:10]}...'"
