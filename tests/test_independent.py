"""The independent family against NumPy: what is a maximum in closed form is compared with the closed form."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

import probgen


def test_normals_are_means_and_variances() -> None:
    """Weighted, of what is observed, far from zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)) * [1.0, 2.0, 0.1] + [1000.0, -3.0, 0.0]
    weight = rng.uniform(0.5, 2, 50)
    x[rng.random((50, 3)) < 0.2] = np.nan
    data = xr.Dataset({"x": (("row", "feature"), x), "weight": ("row", weight)})
    fitted = probgen.fit("independent", data, regularization=0.0)
    w = np.where(np.isnan(x), 0, weight[:, None])
    mean = (w * np.nan_to_num(x)).sum(0) / w.sum(0)
    variance = (w * (np.nan_to_num(x) - mean) ** 2).sum(0) / w.sum(0)
    test = rng.normal(size=(20, 3)) + mean
    wanted = stats.norm(mean, np.sqrt(variance)).logpdf(test).sum(1)
    np.testing.assert_allclose(probgen.score(fitted, test)["log_prob"], wanted, rtol=1e-9)


def test_bits_and_levels_are_relative_frequencies() -> None:
    rng = np.random.default_rng(1)
    for support, levels in (("binary", 2), ("integer", 4)):
        x = rng.binomial(levels - 1, [0.1, 0.5, 0.8], (60, 3)).astype(np.uint8)
        attrs = {"support": support} | ({"levels": levels} if levels > 2 else {})
        data = xr.Dataset({"x": (("row", "feature"), x, attrs)})
        scores = probgen.score(probgen.fit("independent", data, smoothing=0.5), data)["log_prob"]
        counts = np.stack([np.bincount(x[:, i], minlength=levels) + 0.5 for i in range(3)])
        log_p = np.log(counts / counts.sum(1, keepdims=True))
        np.testing.assert_allclose(scores, log_p[np.arange(3), x].sum(1), rtol=1e-9)
