"""Where EM begins: clusters of some rows by k-means (Lloyd 1982), begun by greedy k-means++ (Arthur & Vassilvitskii 2007)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from probgen.contract.run import Run

START_ROWS = 20_000  # k-means sees this many rows at most
SEED_ROWS = 8_000  # and its first centers are chosen among so many, or 20 a component
CANDIDATES = (
    128  # tried for each center: with few of them separated components share one, and EM does not part them
)


def clusters(y: Tensor, weight: Tensor, K: int, run: Run, stage: str) -> Tensor:
    """The cluster of each row, from 0: y (row, feature), weight (row,) -> (row,). There are fewer than K where fewer rows differ."""
    with warnings.catch_warnings():  # fewer distinct rows than clusters: EM copes
        warnings.simplefilter("ignore", ConvergenceWarning)
        points, size = y.cpu().numpy(), weight.cpu().numpy()
        few = run.numpy(stage, "seeds").permutation(len(points))[: max(SEED_ROWS, 20 * K)]
        centers, _ = kmeans_plusplus(
            points[few],
            k := min(K, len(few)),
            sample_weight=size[few],
            n_local_trials=CANDIDATES,
            random_state=run.key(stage, "k-means"),
        )
        labels = KMeans(k, init=centers, n_init=1).fit_predict(points, sample_weight=size)
    return torch.from_numpy(np.asarray(labels)).long()


def distinct(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows (row, feature) to take for each to come once, in the order of their values, and the weight of all that are equal."""
    values, D = x.cpu().numpy(), x.shape[1]
    for width in (1, 8, 64, D):  # few columns order most rows
        order = np.lexsort(values[:, :width].T[::-1])
        new = (values[order[1:], :width] != values[order[:-1], :width]).any(1)
        if new.all() or width >= D:
            break
    group = np.concatenate([[0], new.cumsum()])
    first = order[np.concatenate([[True], new])]
    w = np.bincount(group, weight.cpu().numpy().astype(np.float64)[order])
    return torch.from_numpy(first).to(x.device), torch.from_numpy(w).to(x)
