"""Fits in MLflow: one run for each fit, with parameters, metrics, scores and files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import hookimpl
from probgen.contract.hookspecs import ObservedCall
from probgen.errors import InputError, PluginError

VARIABLE = "PROBGEN_MLFLOW"
SECONDS = 2.0  # between writes: a write takes milliseconds, as long as many steps
BATCH = 500  # metrics of a write; MLflow accepts 1,000
PARAMETERS = 100  # the most parameters of a write
LONGEST = 500  # characters of a parameter, which every version of MLflow accepts


class MLflow:
    """An observer that records each fit as a run of MLflow.

    Args:
        uri: A database, e.g. "sqlite:///mlruns.db", or a server, e.g. "http://localhost:5000"; None: the URI that the
            environment variable `PROBGEN_MLFLOW` has when a fit starts. Without either, nothing is recorded.

    Raises:
        InputError: When the URI is a folder, to which MLflow 3 does not write.
        PluginError: When a URI is given and the package mlflow is not installed.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._uri = uri
        self._records: dict[str, _Record] = {}  # by the id of the call
        self._later: dict[Path, _Record] = {}  # by the folder of the run, for what comes after the fit
        if uri is not None:
            _client(uri)

    @hookimpl
    def started(self, call: ObservedCall) -> None:
        """Create a run in the experiment of the recipe, with options and data as parameters."""
        uri = self._uri or os.environ.get(VARIABLE)
        if call.hook != "fit" or not uri:
            return
        record = self._records[call.id] = _Record(_client(uri), call)
        if call.folder is not None:
            self._later[call.folder] = record

    @hookimpl
    def restored(self, stage: str, metrics: dict[str, np.ndarray], call: ObservedCall) -> None:
        """Record the steps before a resume, so that the curves are complete."""
        if call.id in self._records:
            for name, values in metrics.items():
                for step, value in enumerate(values):
                    self._records[call.id].add({f"{stage}/{name}": value}, step)

    @hookimpl
    def step(self, stage: str, step: int, metrics: dict[str, float], call: ObservedCall) -> None:
        """Record the metrics of a step."""
        if call.id in self._records:
            self._records[call.id].add({f"{stage}/{k}": v for k, v in metrics.items()}, step)

    @hookimpl
    def made(self, path: Path, call: ObservedCall) -> None:
        """Store a copy of a file of a run whose fit was recorded."""
        if call.folder in self._later:
            record = self._later[call.folder]
            record.client.log_artifact(record.run, str(path))

    @hookimpl
    def ended(self, error: BaseException | None, call: ObservedCall, result: Any, seconds: float) -> None:
        """End the run of a fit; record the mean of scores."""
        if call.id in self._records:
            record = self._records.pop(call.id)
            record.add({"seconds": seconds}, 0)
            record.write()
            failed = "FAILED" if isinstance(error, Exception) else "KILLED"
            record.client.set_terminated(record.run, "FINISHED" if error is None else failed)
        elif call.hook == "score" and call.folder in self._later and error is None and "log_prob" in result:
            record = self._later[call.folder]
            record.add({f"score/{call.data.get('split', 'rows')}/log_prob": _mean(result)}, 0)
            record.write()


class _Record:
    """A run of MLflow, and its metrics that are not written yet."""

    def __init__(self, client: Any, call: ObservedCall) -> None:
        from mlflow.entities import Param

        self.client, self._metrics, self._written = client, list[Any](), time.monotonic()
        name = call.recipe or "probgen"
        experiment = client.get_experiment_by_name(name)
        at = client.create_experiment(name) if experiment is None else experiment.experiment_id
        self.run: str = client.create_run(at, run_name=call.model or call.family).info.run_id
        options = {} if call.options is None else call.options.model_dump(mode="json")
        about = _flat({"family": call.family, "call": call.id, **options, "data": call.data})
        params = [Param(key, str(value)[:LONGEST]) for key, value in about.items()]
        for start in range(0, len(params), PARAMETERS):
            client.log_batch(self.run, params=params[start : start + PARAMETERS])

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics, and write all of them from time to time."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._metrics += [Metric(k, float(v), now, step) for k, v in metrics.items() if np.isfinite(v)]
        if len(self._metrics) >= BATCH or time.monotonic() - self._written > SECONDS:
            self.write()

    def write(self) -> None:
        """Write the metrics."""
        for start in range(0, len(self._metrics), BATCH):
            self.client.log_batch(self.run, metrics=self._metrics[start : start + BATCH])
        self._metrics, self._written = [], time.monotonic()


def _mean(scores: xr.Dataset) -> float:
    log_prob = scores["log_prob"]
    return float(log_prob.weighted(scores["weight"]).mean() if "weight" in scores else log_prob.mean())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one table with names such as `prior.epochs`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        )
    return found


def _client(uri: str) -> Any:
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise InputError(
            f"{VARIABLE}, or uri = {uri!r}: MLflow 3 does not write to a folder. Give a database, e.g. sqlite:///mlruns.db, or a server."
        )
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise PluginError(
            f"the package mlflow is needed and cannot be imported ({error}). Install it: pip install 'probgen-observers[mlflow]'."
        ) from None
    return MlflowClient(tracking_uri=uri)


observer = MLflow()
