"""The laws of densities, as a base class for pytest: on spaces so small that a density is evaluated completely."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from probgen.api.sampling import sample
from probgen.contract.fitted import Fitted
from probgen.errors import InputError
from probgen.testing import spaces
from probgen.testing.helpers import close, density, drawn, given_of, need, scored, sized, space

DRAWS = 8192  # detects a total variation of 0.1 from the density on 64 cells with probability 0.999
COMPLETED = (
    2048  # detects a total variation of 0.15 from the conditional density on 16 cells with probability 0.999
)


class DensityLaws:
    """The laws of the scores and samples of a family, as probabilities of a small space."""

    def test_density_sums_to_one(self, data: xr.Dataset, fitted: Fitted) -> None:
        """An exact density sums or integrates to one over a small space."""
        whole, _ = space(fitted, data)
        total = float(np.exp(density(fitted, data, whole.rows)).sum() * whole.volume)
        exact = fitted.event.discrete and whole.volume == 1
        tolerance = 1e-5 if exact else 2e-3
        assert abs(total - 1) <= tolerance, (
            f"'log_prob' is exact, but its exponentials sum to {total:.6g} over {len(whole.rows)} values of x, not to 1"
        )

    def test_missing_values_are_summed_out(self, data: xr.Dataset, fitted: Fitted) -> None:
        """The exact density of a row with a missing value is the sum or integral over all possible values."""
        whole, _ = space(fitted, data)
        if "observed" not in fitted.definition.accepts:
            pytest.skip(f"{fitted.family} does not accept missing values")
        known, width = whole.line
        flat = known.reshape(len(known), -1).astype(float)
        missing = flat.copy()
        missing[:, -1] = np.nan
        _, first, group = np.unique(flat[:, :-1], axis=0, return_index=True, return_inverse=True)
        total = np.bincount(group, np.exp(density(fitted, data, known))) * width
        found = density(fitted, data, missing[first].reshape(len(first), *known.shape[1:]))
        close(
            np.exp(found),
            total,
            "exp(log_prob) of rows with a missing value",
            1e-5 if width == 1 else 2e-3,
            0,
        )

    def test_draws_agree_with_density(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Samples agree with the density: chi-square test on the cells of a small space, false-alarm rate 1e-6."""
        need(fitted, "sample")
        whole, _ = space(fitted, data)
        draws = drawn(fitted, data, DRAWS, seed=3)["x"].values.reshape(DRAWS, -1)
        found = whole.cell(draws)
        assert (found >= 0).all(), (
            f"sample {int((found < 0).argmax())} is outside the event: {draws[(found < 0).argmax()]}"
        )
        p = np.exp(density(fitted, data, whole.rows)) * whole.volume
        at = whole.cell(whole.rows.reshape(len(whole.rows), -1))
        counts, p = np.bincount(found, minlength=whole.cells), np.bincount(at, p, whole.cells)
        worst = int(np.abs(counts - DRAWS * p / p.sum()).argmax())
        assert spaces.p_value(counts, p) > spaces.FALSE_ALARM, (
            f"the samples do not follow the density: {counts[worst]} of {DRAWS} in cell {worst}, expected {DRAWS * p[worst] / p.sum():.1f}"
        )

    def test_a_bound_is_on_its_side(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Lower bounds of a density sum or integrate to at most one, and upper bounds to at least one.

        The tolerance is 6 standard errors of the sum, if the bounds have standard errors.
        """
        whole, log_prob = space(fitted, data, ("lower_bound", "upper_bound"))
        scores = scored(fitted, data, whole.rows)
        p = np.exp(scores["log_prob"].values.astype(np.float64)) * whole.volume
        se = scores["log_prob_se"].values if "log_prob_se" in scores else np.zeros(len(p))
        error = 2e-3 + 6 * float(np.sqrt(((p * se) ** 2).sum()))
        total, kind = float(p.sum()), log_prob.attrs["kind"]
        side = total <= 1 + error if kind == "lower_bound" else total >= 1 - error
        assert side, (
            f"'log_prob' is a {kind}, but its exponentials sum to {total:.6g} (tolerance {error:.2g})"
        )

    def test_the_measure_is_that_of_the_density(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Scores with the Lebesgue measure are not probabilities: over the values of a discrete event, these sum to one."""
        need(fitted, "score")
        event = sized(fitted, data)
        if not event.discrete or spaces.values(event) > spaces.MOST:
            pytest.skip(f"the values of {event} cannot be enumerated")
        first = scored(fitted, data, data["x"].values[:1])
        if "log_prob" not in first or first["log_prob"].attrs["measure"] != "lebesgue":
            pytest.skip(f"{fitted.family} has no density with the Lebesgue measure")
        total = float(np.exp(scored(fitted, data, spaces.all_rows(event))["log_prob"].values).sum())
        assert abs(total - 1) > 1e-4, (
            "'log_prob' has measure = 'lebesgue', but its exponentials sum to 1 over all values of x: they are "
            "probabilities. Use measure='counting'."
        )

    def test_completions_agree_with_density(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Completions of a missing value follow the density given the other values, which they repeat.

        The missing value is the first of x, then the last. The test is a chi-square test on up to 16 cells, false-alarm
        rate 1e-6.
        """
        need(fitted, "sample")
        whole, _ = space(fitted, data)
        rows = whole.rows.reshape(len(whole.rows), -1).astype(np.float64)
        for place in (0, rows.shape[1] - 1):
            others = np.arange(rows.shape[1]) != place
            like = data["x"].values[0].reshape(-1)[others]
            nearest = np.abs(rows[:, others] - like).sum(1).argmin()
            line = whole.rows[(rows[:, others] == rows[nearest, others]).all(1)]
            known = rows[nearest].copy()
            known[place] = np.nan
            given = {**given_of(fitted, data), "x": known.reshape(line.shape[1:])}
            try:
                draws = sample(fitted, COMPLETED, given=given, seed=5)["x"].values.reshape(COMPLETED, -1)
            except InputError as reason:
                pytest.skip(str(reason))
            close(
                draws[:, others], np.broadcast_to(known[others], draws[:, others].shape), "given values of x"
            )
            values = line.reshape(len(line), -1)[:, place].astype(np.float64)
            order = values.argsort()
            values, p = values[order], np.exp(density(fitted, data, line[order]))
            cdf = p.cumsum() / p.sum()
            between = np.unique(np.searchsorted(cdf, np.arange(1, 16) / 16))
            edges = 0.5 * (values[1:] + values[:-1])[between[between < len(values) - 1]]
            expected = np.bincount(np.searchsorted(edges, values), p, len(edges) + 1)
            found = np.searchsorted(edges, draws[:, place].astype(np.float64))
            counts = np.bincount(found, minlength=len(expected))
            assert spaces.p_value(counts, expected) > spaces.FALSE_ALARM, (
                f"the completions of value {place} of x do not follow the density: {counts.tolist()} of {COMPLETED} in "
                f"the cells between {edges.tolist()}, expected {(COMPLETED * expected / expected.sum()).round(1).tolist()}"
            )
