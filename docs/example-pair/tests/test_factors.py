import numpy as np
from scipy.stats import multivariate_normal

import probgen
from probgen.testing import FamilyLaws


class TestFactors(FamilyLaws):
    family = "factors"


def test_the_bound_is_close_to_the_exact_density() -> None:
    """x ~ Normal(mu, W W' + sigma^2), in closed form; the bound of 100 draws is at most 0.05 nats lower."""
    x = np.random.default_rng(0).normal([1, -2], [1, 2], size=(200, 2))
    fitted = probgen.fit("factors", x, latent=1, steps=300, learning_rate=0.05)
    state = fitted.state
    covariance = state.W.values @ state.W.values.T + np.exp(2 * state.log_sigma.values) * np.eye(2)
    exact = multivariate_normal(state.mu.values, covariance).logpdf(x).mean()
    bound = float(probgen.score(fitted, x).log_prob.mean())
    assert exact - 0.05 < bound < exact + 0.02
