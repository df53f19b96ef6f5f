"""Tests from the history of a fit whether a fit that used all its steps has converged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ALARM = 1e-3  # false-alarm rate of the test for a falling loss
LEAST = 1e-3  # nats; a smaller fall is ignored, because tables of scores have three decimals
BLOCKS = 10  # blocks of a window: losses may be correlated over a tenth of the window
FEWEST = 40  # steps of the shortest history that can be tested
WINDOW = 50  # least steps of a window, but at most a quarter of the history: fewer would be too noisy


def settled(metrics: Mapping[str, np.ndarray]) -> tuple[bool | None, str]:
    """Test whether the loss of a gradient descent has stopped falling.

    A t-test (Student 1908) compares the mean loss of the last tenth of the steps with the mean of as many steps before. Of
    fewer than 500 steps, it uses the last 50, or the last quarter. The test uses the means of ten blocks in each window;
    the residuals of these means about a line estimate the noise. The false-alarm rate is 1 in 1,000 if the losses of
    different blocks are independent. The blocks of short histories have few steps: with a correlation of 0.9 from step to
    step, the rate is 1 in 4 (60 steps), 1 in 12 (500 steps), 1 in 300 (5,000 steps).

    If rows were held out and an earlier epoch was the best, its weights were kept. More steps would then not have helped,
    and the result is True.

    For a loss of standard deviation s, the test may miss a fall of less than 5.5 s sqrt(2 / window) over a tenth of the
    steps. A learning rate that goes to 0 ends every fall. The result True therefore means that the loss no longer falls,
    and not that the loss is minimal.

    Args:
        metrics: Metrics of every step, in order: `loss (step,)`, and `valid_loss (step,)` if rows were held out, NaN
            between epochs.

    Returns:
        True, False, or None for too few steps; and the reason, which is empty for True.
    """
    valid = metrics.get("valid_loss", np.empty(0))
    valid = valid[np.isfinite(valid)]
    if len(valid) and valid.argmin() < len(valid) - 1:
        return True, ""
    loss = metrics["loss"]
    if len(loss) < FEWEST:
        return (
            None,
            f"{len(loss)} step{'s are' if len(loss) > 1 else ' is'} too few for a test. Raise epochs or steps.",
        )
    from scipy.special import stdtrit  # imported here, because a fit in closed form does not need it

    window = max(len(loss) // 10, min(WINDOW, len(loss) // 4))
    blocks = np.stack([_blocks(loss[-2 * window : -window]), _blocks(loss[-window:])])
    fall = float(blocks[0].mean() - blocks[1].mean())
    k = blocks.shape[1]
    line = np.arange(k) - (k - 1) / 2
    rest = blocks - blocks.mean(1, keepdims=True)
    rest = rest - np.outer(rest @ line / (line @ line), line)
    freedom = 2 * (k - 2)
    error = np.sqrt((rest**2).sum() / freedom * 2 / k)
    if fall < LEAST or fall <= -stdtrit(freedom, ALARM) * error:
        return True, ""
    return (
        False,
        f"the loss still fell by {fall:.2g} over the last {window} of {len(loss)} steps. Raise steps or epochs.",
    )


def _blocks(window: np.ndarray) -> np.ndarray:
    """Return the means of complete blocks of neighboring steps; the last block ends at the last step."""
    size = max(1, len(window) // BLOCKS)
    return window[len(window) % size :].reshape(-1, size).mean(1)


def gained(objective: np.ndarray, tolerance: float) -> tuple[bool | None, str]:
    """Test whether the last step of an ascent gained less than a tolerance.

    Args:
        objective: The objective of every step, (step,), in nats per row.
        tolerance: Gain below which the ascent has converged, in nats per row.

    Returns:
        True, False, or None for fewer than 2 steps; and the reason, which is empty for True.
    """
    if len(objective) < 2:
        return None, "1 step is too few for a test. Raise steps."
    gain, steps = float(objective[-1] - objective[-2]), len(objective)
    if gain < tolerance:
        return True, ""
    return (
        False,
        f"{steps} steps done, the last gained {gain:.2g} nats per row (tolerance = {tolerance:g}). Raise steps.",
    )
