"""What the observers send, to writers that only listen: no package of theirs is needed."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from probgen_observers import MLflow, TensorBoard

import probgen
from probgen.errors import InputError, Interrupted, PluginError
from probgen.plugins.observers import belonging, made
from probgen.plugins.registry import registered
from probgen.testing.helpers import Stop

X = np.random.default_rng(0).standard_normal((60, 2))
FIT: dict[str, Any] = {"components": 2, "method": "svi", "steps": 8, "batch_size": 16}
LOSSES = probgen.fit("mixture", X, **FIT).history["loss"].values


class Writer:
    """A `SummaryWriter` that keeps what it is told, by its folder."""

    folders: dict[str, list[tuple[Any, ...]]] = {}

    def __init__(self, folder: str) -> None:
        self.told = self.folders.setdefault(Path(folder).name, [])

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.told.append((name, value, step))

    def add_text(self, name: str, text: str) -> None:
        self.told.append((name, text))

    def add_image(self, name: str, image: np.ndarray, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.told.append((name, image.shape))

    def close(self) -> None:
        self.told.append(("closed",))


class Client:
    """An `MlflowClient` that keeps what it is told, by its run."""

    experiments: dict[str, str] = {}
    runs: dict[str, dict[str, Any]] = {}

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = f"id of {name}"
        return self.experiments[name]

    def create_run(self, experiment: str, run_name: str) -> Any:
        run = str(len(self.runs))
        self.runs[run] = {
            "name": run_name, "of": experiment, "params": {}, "metrics": [], "files": [], "status": "RUNNING"
        }  # fmt: skip
        return SimpleNamespace(info=SimpleNamespace(run_id=run))

    def log_batch(self, run: str, metrics: Sequence[Any] = (), params: Sequence[Any] = ()) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        assert all(len(value) <= 500 for _, value in params)
        self.runs[run]["metrics"] += metrics
        self.runs[run]["params"] |= dict(params)

    def log_artifact(self, run: str, path: str) -> None:
        assert Path(path).is_file()
        self.runs[run]["files"].append(Path(path).name)

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run]["status"] = status


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[Any, ...]]]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "folders", {})
    return Writer.folders


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    module, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    module.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Param = lambda key, value: (key, value)  # type: ignore[attr-defined]
    entities.Metric = lambda key, value, timestamp, step: (key, value, step)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr(Client, "experiments", {})
    monkeypatch.setattr(Client, "runs", {})
    return Client.runs


def picture(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("L", (4, 3)).save(folder / "history.png")
    return folder / "history.png"


def test_tensorboard_has_each_step_once(boards: dict[str, list[Any]], tmp_path: Path) -> None:
    with probgen.observing(TensorBoard("logs")):
        probgen.fit("mixture", X, **FIT)
        probgen.fit("mixture", X, **FIT)
    assert len(boards) == 2, "two fits of one script are two folders"
    for told in boards.values():
        assert [each[1:] for each in told if each[0] == "fit/loss"] == list(
            zip(LOSSES, range(8), strict=True)
        )
        assert '"steps": 8' in dict(t for t in told if len(t) == 2)["options"]
        assert '"rows": 60' in dict(t for t in told if len(t) == 2)["data"]
        assert told[-1] == ("closed",)


def test_tensorboard_has_the_pictures_of_a_run(boards: dict[str, list[Any]], tmp_path: Path) -> None:
    with probgen.observing(TensorBoard("logs")):
        probgen.fit("mixture", X, out=tmp_path / "run", **FIT)
        with belonging(folder=tmp_path / "run"):
            made("picture", picture(tmp_path / "run"))
        with belonging(folder=tmp_path / "other"):
            made("picture", picture(tmp_path / "other"))
    (told,) = boards.values()
    assert [each for each in told if each[0] == "history"] == [("history", (3, 4, 3))]


def test_mlflow_has_a_run_for_each_fit(runs: dict[str, Any], tmp_path: Path) -> None:
    with probgen.observing(MLflow("sqlite:///runs.db")):
        with belonging(model="two", recipe="A recipe", folder=tmp_path / "run"):
            fitted = probgen.fit("mixture", X, out=tmp_path / "run", **FIT)
            made("picture", picture(tmp_path / "run"))
            scores = probgen.score(fitted, X)
        probgen.fit("independent", X)
    first, second = runs.values()
    assert (first["name"], first["of"]) == ("two", "id of A recipe")
    assert (second["name"], second["of"]) == ("independent", "id of probgen")
    assert first["params"].items() >= {"family": "mixture", "steps": "8", "data.rows": "60"}.items()
    assert first["params"]["data.sha256"] == fitted.provenance["data"]["sha256"]
    steps = [(value, step) for name, value, step in first["metrics"] if name == "fit/loss"]
    assert steps == list(zip(LOSSES, range(8), strict=True))
    assert ("score/rows/log_prob", pytest.approx(float(scores.log_prob.mean())), 0) in first["metrics"]
    assert first["files"] == ["model.h5", "history.png"]
    assert first["status"] == second["status"] == "FINISHED"


def test_mlflow_has_the_end_of_a_failed_fit(runs: dict[str, Any]) -> None:
    with probgen.observing(MLflow("sqlite:///runs.db")):
        with pytest.raises(probgen.errors.DivergedError):
            probgen.fit("mixture", X, **{**FIT, "learning_rate": 1e300})
        with pytest.raises(KeyboardInterrupt), probgen.observing(Stop(2)):
            probgen.fit("mixture", X, **FIT)
    assert [run["status"] for run in runs.values()] == ["FAILED", "KILLED"]


@pytest.mark.parametrize("which", ["boards", "runs"])
def test_a_resumed_fit_has_the_steps_before(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder or run of the second part has all 8 steps, each once."""
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    found = request.getfixturevalue(which)
    with pytest.raises((Interrupted, KeyboardInterrupt)), probgen.observing(Stop(3)):
        probgen.fit("mixture", X, out=tmp_path / "run", **FIT)
    with probgen.observing(TensorBoard("logs") if which == "boards" else MLflow("sqlite:///runs.db")):
        probgen.fit("mixture", X, out=tmp_path / "run", resume=True, **FIT)
    (told,) = found.values()
    steps = [each[1:] for each in (told if which == "boards" else told["metrics"]) if each[0] == "fit/loss"]
    assert steps == list(zip(LOSSES, range(8), strict=True))


def test_an_installed_observer_is_silent_until_a_place_is_named(
    boards: dict[str, Any], runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
        "entry-points"
    ]
    group = entries["probgen.observers"]
    assert [*group] == ["tensorboard", "mlflow"]
    here = [name for name in group if name not in registered("observers")]  # the package is not installed
    loaded = [EntryPoint(name, group[name], "probgen.observers").load() for name in here]
    with probgen.observing(*loaded):
        probgen.fit("independent", X)
        assert not boards
        assert not runs
        monkeypatch.setenv("PROBGEN_TENSORBOARD", "logs")
        monkeypatch.setenv("PROBGEN_MLFLOW", "sqlite:///runs.db")
        probgen.fit("independent", X)
    assert len(boards) == len(runs) == 1


@pytest.mark.parametrize(("observer", "package"), [(TensorBoard, "tensorboard"), (MLflow, "mlflow")])
def test_a_missing_package_is_named(
    observer: Any, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("torch.utils.tensorboard", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    place = "sqlite:///runs.db" if package == "mlflow" else "logs"
    with pytest.raises(PluginError, match=rf"pip install 'probgen-observers\[{package}\]'"):
        observer(place)
    monkeypatch.setenv(f"PROBGEN_{package.upper()}", place)
    with probgen.observing(observer()):
        assert probgen.fit("independent", X).family == "independent"
    assert f"pip install 'probgen-observers[{package}]'" in capsys.readouterr().err


@pytest.mark.parametrize("uri", ["mlruns", "file:mlruns", "file:///mlruns"])
def test_mlflow_refuses_a_folder(uri: str, runs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"does not write to a folder\. Give a database, e\.g\. sqlite:///"):
        MLflow(uri)
