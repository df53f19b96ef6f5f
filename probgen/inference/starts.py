"""The start of EM: clusters by k-means (Lloyd 1982), initialized with greedy k-means++ (Arthur & Vassilvitskii 2007)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from probgen.contract.run import Run

START_ROWS = 20_000  # most rows for k-means
SEED_ROWS = 8_000  # rows from which the first centers are chosen; at least 20 per component
# candidates for each center: with few candidates, separated components share a center, and EM does not split them
CANDIDATES = 128


def clusters(y: Tensor, weight: Tensor, K: int, run: Run, stage: str) -> Tensor:
    """Return the cluster of each row, from k-means.

    Args:
        y: Rows, (row, feature).
        weight: Row weights, (row,).
        K: Number of clusters.
        run: The run, for random streams.
        stage: Name of the stage, for random streams.

    Returns:
        Cluster numbers from 0, (row,). There are fewer than K clusters if fewer rows are distinct.
    """
    with warnings.catch_warnings():  # fewer distinct rows than clusters are acceptable for EM
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
    """Return the distinct rows of x and their total weights.

    Args:
        x: Rows, (row, feature).
        weight: Row weights, (row,).

    Returns:
        Numbers of the first of each group of equal rows, in the order of their values, and the total weight of each group.
    """
    values, D = x.cpu().numpy(), x.shape[1]
    for width in (1, 8, 64, D):  # a few columns are usually enough to order the rows
        order = np.lexsort(values[:, :width].T[::-1])
        new = (values[order[1:], :width] != values[order[:-1], :width]).any(1)
        if new.all() or width >= D:
            break
    group = np.concatenate([[0], new.cumsum()])
    first = order[np.concatenate([[True], new])]
    w = np.bincount(group, weight.cpu().numpy().astype(np.float64)[order])
    return torch.from_numpy(first).to(x.device), torch.from_numpy(w).to(x)
