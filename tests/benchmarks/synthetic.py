"""Samples of a table by other libraries, judged as `fidelity` judges samples of probgen's families.

    python -m tests.benchmarks.synthetic                       # writes train.parquet: rows of `customers` for the peer's fit
    python -m tests.benchmarks.synthetic copula.csv ctgan.csv  # 2,000 samples or more each, with the columns of train.parquet

The peer runs in its own environment, here sdv 2.0.0:

    table = pandas.read_parquet("train.parquet")
    metadata = sdv.metadata.Metadata.detect_from_dataframes({"customers": table})
    model = sdv.single_table.GaussianCopulaSynthesizer(metadata)  # or CTGANSynthesizer
    model.fit({"customers": table})
    model.sample(2000).to_csv("copula.csv", index=False)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import probgen
from probgen.analyses.fidelity import told_apart, useful
from probgen.contract.rows import evenly
from probgen.data.describe import columns_in
from probgen.data.ingest import as_dataset
from probgen.datasets import load

ROWS = 2000


def main(files: list[str]) -> None:
    train, test = load("customers", "train"), load("customers", "test")
    if not files:
        probgen.frame(train).to_parquet("train.parquet", index=False)
        return
    columns = columns_in(as_dataset(train)["x"])
    real, known = (
        evenly(each, n)["x"].values.astype(np.float64) for each, n in ((test, ROWS), (train, 4 * ROWS))
    )
    for file in files:
        drawn = load(Path(file), like=columns)["x"].values.astype(np.float64)[: len(real)]
        told = told_apart(drawn, real, columns, 0)
        found = useful([column.name for column in columns].index("member"), drawn, real, known, columns, 0)
        accuracies = (f"{name} {value:.3f}" for name, (_, value, *_) in found.items())
        print(f"{file}: told apart {told:.3f}, {', '.join(accuracies)}")


if __name__ == "__main__":
    main(sys.argv[1:])
