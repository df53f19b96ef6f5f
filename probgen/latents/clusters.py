"""Do codes know what nobody told them? Clusters of codes against labels, and a plane to look at them in."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def cluster(z: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """The k-means cluster of each code, best of ten starts: (row, latent) -> (row,)."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(np.asarray(z, dtype=np.float64))


def agreement(clusters: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """How well clusters agree with labels, both (row,) whole numbers; rows whose label is below 0 or NaN are left out.

    cluster_accuracy  share of rows whose cluster stands for their label, under the best matching of one to one
    cluster_nmi       normalized mutual information
    cluster_ari       adjusted Rand index: 0 is what chance gives
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
    """Codes in two dimensions: as they are, or on their first two principal axes: (row, latent) -> (row, 2)."""
    z = np.asarray(z, dtype=np.float64)
    if z.shape[1] == 1:
        return np.concatenate([z, np.zeros_like(z)], 1)
    return z if z.shape[1] == 2 else PCA(2).fit_transform(z)
