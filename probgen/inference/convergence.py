"""Whether a fit that used up its steps was done, from its history alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ALARM = 1e-3  # how often a loss that no longer falls is said to
LEAST = 1e-3  # a fall of less than that is none: tables of scores have three decimals
BLOCKS = 10  # means that a window is cut into: neighboring losses may resemble each other for a tenth of it
FEWEST = 40  # steps of a history that says anything
WINDOW = 50  # steps of a window, of short histories up to a quarter: fewer would be too noisy


def settled(metrics: Mapping[str, np.ndarray]) -> tuple[bool | None, str]:
    """Whether the loss of a gradient descent has stopped falling, and why not; None where there are too few steps to tell.

    metrics  of every step, in order: `loss (step,)`, and where rows were held out `valid_loss (step,)`, NaN between epochs

    The mean of the last tenth of the steps (of fewer than 500 steps the last 50, or quarter) is held against that of as many
    before, by a t-test (Student 1908) on means of ten blocks in each; their noise is what is left of them about a line. False
    alarms are one in 1,000 where losses of different blocks are independent. Blocks of short histories have few steps: with a
    correlation of 0.9 from step to step false alarms are one in 4 (60 steps), in 12 (500), in 300 (5,000).
    Where rows were held out and an earlier epoch was the best, its weights were kept, and more steps would not have helped.
    A fall over a tenth of the steps may be missed that is less than 5.5 s sqrt(2 / window), of a loss of deviation s. A
    learning rate that goes to 0 ends any fall: this says that the loss no longer falls, and not that it could be no lower.
    """
    valid = metrics.get("valid_loss", np.empty(0))
    valid = valid[np.isfinite(valid)]
    if len(valid) and valid.argmin() < len(valid) - 1:
        return True, ""
    loss = metrics["loss"]
    if len(loss) < FEWEST:
        return None, f"{len(loss)} step{'s' * (len(loss) > 1)} are too few to tell; raise epochs, or steps"
    from scipy.special import stdtrit  # a fit in closed form needs none of it

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
        f"the loss still fell by {fall:.2g} over the last {window} of {len(loss)} steps: raise steps or epochs",
    )


def _blocks(window: np.ndarray) -> np.ndarray:
    """Means of neighboring steps; of as many whole blocks as there are, the last steps of the window among them."""
    size = max(1, len(window) // BLOCKS)
    return window[len(window) % size :].reshape(-1, size).mean(1)


def gained(objective: np.ndarray, tolerance: float) -> tuple[bool | None, str]:
    """Whether the last step of an ascent gained less than a tolerance, and why not; objective: (step,), in nats a row."""
    if len(objective) < 2:
        return None, "1 step is too few to tell"
    gain, steps = float(objective[-1] - objective[-2]), len(objective)
    if gain < tolerance:
        return True, ""
    return (
        False,
        f"{steps} steps done, the last gained {gain:.2g} nats a row, and tolerance is {tolerance:g}: raise steps",
    )
