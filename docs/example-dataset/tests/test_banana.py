import numpy as np
from probgen_banana import SIGMA, data

import probgen


def test_it_is_loaded_by_its_name() -> None:
    parts = [probgen.datasets.load("banana", split) for split in data.splits]
    assert parts[0].identical(probgen.datasets.load("banana", "train"))
    assert probgen.datasets.load("banana").sizes["row"] == sum(part.sizes["row"] for part in parts)


def test_the_density_integrates_to_one() -> None:
    axes = np.linspace(-6, 6, 400), np.linspace(-6, 40, 1600)
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    volume = np.prod([axis[1] - axis[0] for axis in axes])
    assert abs(np.exp(data.density(grid)).sum() * volume - 1) < 1e-4


def test_rows_follow_the_density() -> None:
    """Their mean is minus the entropy, 1 + log(2 pi sigma), within 5 standard errors: false-alarm rate 1e-6."""
    log_p = data.density(probgen.datasets.load("banana", "train").x.values)
    assert abs(log_p.mean() + 1 + np.log(2 * np.pi * SIGMA)) < 5 * log_p.std() / np.sqrt(len(log_p))
