"""Clusters of latent codes, their agreement with labels, and codes in a plane."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def cluster(z: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Return the k-means cluster of each code, the best of ten starts.

    Args:
        z: Codes, (row, latent).
        k: Number of clusters.
        seed: Seed of the starts.

    Returns:
        Cluster of each row, (row,).
    """
    return KMeans(k, n_init=10, random_state=seed).fit_predict(np.asarray(z, dtype=np.float64))


def agreement(clusters: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Return measures of agreement between clusters and labels.

    Rows with a negative or NaN label are left out.

    Args:
        clusters: Cluster of each row, (row,).
        label: Label of each row, (row,).

    Returns:
        `cluster_accuracy`: the share of rows whose cluster matches their label under the best one-to-one
        matching. `cluster_nmi`: the normalized mutual information. `cluster_ari`: the adjusted Rand index, 0
        by chance.
    """
    known = label >= 0
    clusters, label = np.asarray(clusters)[known], np.asarray(label)[known].astype(np.int64)
    counts = np.zeros((int(clusters.max()) + 1, int(label.max()) + 1), dtype=np.int64)
    np.add.at(counts, (clusters, label), 1)
    return {
        "cluster_accuracy": float(counts[linear_sum_assignment(-counts)].sum() / len(label)),
        "cluster_nmi": float(normalized_mutual_info_score(label, clusters)),
        "cluster_ari": float(adjusted_rand_score(label, clusters)),
    }


def plane(z: np.ndarray) -> np.ndarray:
    """Return codes in two dimensions: unchanged, or projected on their first two principal axes.

    Args:
        z: Codes, (row, latent).

    Returns:
        Points, (row, 2); the second coordinate is 0 for codes of one dimension.
    """
    z = np.asarray(z, dtype=np.float64)
    if z.shape[1] == 1:
        return np.concatenate([z, np.zeros_like(z)], 1)
    return z if z.shape[1] == 2 else PCA(2).fit_transform(z)
