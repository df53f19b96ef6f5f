"""A fit while it runs: its journal, and a model of the weights in its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from probgen.api.loading import models_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.seeds import generators_kept
from probgen.contract.state import state_of, unflatten
from probgen.errors import FileError, InputError, ProbgenError
from probgen.explore.model import Model, opened, shown
from probgen.plugins.family import family
from probgen.store.folder import HISTORY, MODEL, RunFolder
from probgen.store.journal import read_new
from probgen.store.trees import arrays_of


class Shown:
    """The model of a run: the fitted model, or the weights of a fit that is running or was interrupted.

    Args:
        run: The folder of a run, or the file of a model.
        device: The device to compute on; None for the CPU.

    Attributes:
        model: The newest model; None before the first checkpoint of a fit.
        step: The stage and the step of its weights; None for a fitted model.
    """

    def __init__(self, run: Path, device: str | None):
        self.run, self.device = run, device
        self.model: Model | None = None
        self.step: tuple[str, int] | None = None
        self.failed: tuple[str, int] | None = None  # a checkpoint without the weights of its family
        self.refresh()

    @property
    def ended(self) -> bool:
        """Whether the fitted model exists."""
        return self.run.is_file() or (self.run / MODEL).exists()

    def refresh(self) -> None:
        """Load the fitted model if it exists, or else the newest checkpoint.

        Raises:
            FileError: When there is neither a model nor a running fit, or when a file is damaged.
            PluginError: When the family is not installed.
        """
        if self.ended:
            if self.model is None or self.step is not None:
                self.model, self.step = opened(self.run, self.device), None
            return
        newest = self.newest()
        if newest is None or newest in (self.step, self.failed):
            return
        try:
            self.model = shown(partly_fitted(self.run, newest[0]), self.run, self.device)
            self.step = newest
        except (ProbgenError, OSError):
            self.failed = newest  # curves are shown without samples

    def newest(self) -> tuple[str, int] | None:
        """Return the stage and the step of the newest checkpoint, or None.

        Returns:
            The stage and the step.

        Raises:
            FileError: When the folder is not a run.
        """
        if not self.run.exists():
            raise FileError(f"{self.run}: No such file or directory")
        if not (self.run / HISTORY).exists():
            raise FileError(
                f"{self.run} holds neither a fitted model ({MODEL}) nor a running fit ({HISTORY})."
            )
        folder, found = RunFolder(self.run), self.run / "checkpoints"
        if not found.is_dir():
            return None
        files = sorted(found.glob("*.h5"), key=lambda file: file.name)
        steps = [(file.stat().st_mtime, file.name.rpartition("-")[0]) for file in files if file.exists()]
        if not steps:
            return None
        stage = max(steps)[1]
        return stage, max(folder.steps(stage), default=0)

    def current(self) -> Model:
        """Return the newest model.

        Returns:
            The model.

        Raises:
            InputError: When the fit has no checkpoint yet.
        """
        if self.step is not None or self.model is None:
            self.refresh()
        if self.model is None:
            raise InputError("The fit has no weights to sample from yet. Wait for its first checkpoint.")
        return self.model

    def journal(self, after: int) -> dict[str, Any]:
        """Return new lines of the journal, as JSON values.

        Args:
            after: The end of what was read before.

        Returns:
            `lines`, `next`, `again` (the journal has begun again), and whether the fit has `ended`; `checkpoint` is its
            newest checkpoint.

        Raises:
            FileError: When a line is damaged.
        """
        if self.run.is_file():
            return {"lines": [], "next": 0, "again": False, "ended": True, "checkpoint": None}
        ended = self.ended
        lines, end, again = read_new(self.run / HISTORY, after)
        newest = None if ended or not (self.run / HISTORY).exists() else self.newest()
        return {"lines": lines, "next": end, "again": again, "ended": ended, "checkpoint": newest}


def partly_fitted(run: Path, stage: str) -> Fitted:
    """Return the model of the newest checkpoint of a stage.

    A checkpoint stores the states of the objects that the family keeps. The model, or else each of its parts, gets the
    state with the same arrays; of several such states, the one with the most similar name. Buffers that a fit
    computes at its end keep their first values.

    Args:
        run: The folder of the run.
        stage: The stage.

    Returns:
        The model, with the provenance that is known before the end of a fit.

    Raises:
        InputError: When the checkpoint does not contain all parameters of the model.
        FileError: When a file is damaged.
    """
    folder = RunFolder(run)
    request, content = folder.read_request(), folder.restore(stage)
    if request is None or content is None:
        raise FileError(f"{run} has no request or no checkpoint. Start the fit again.")
    structure, arrays = arrays_of(content, f"the checkpoint of stage {stage!r}")
    (about,) = request["models"].values()
    options = {name: value for name, value in about.items() if name != "family"}
    definition = family(about["family"])
    wanted = checked(definition.options("fit"), options, f"{run}: options")
    event = Event.from_dict({"levels": None, **request["event"]})
    with generators_kept("build"):
        module = definition.build(wanted, event, **models_of(wanted))
    module.to(torch.float64 if request["dtype"] == "float64" else torch.float32)
    kept = unflatten(structure["state"], arrays)
    known = set()
    for name, part in [("", module), *module.named_children()]:
        found = _state_of(name, part, kept)
        if found is not None:
            part.load_state_dict(found)
            known |= {f"{name}.{key}".lstrip(".") for key in found}
    lacking = [name for name, _ in module.named_parameters() if name not in known]
    if lacking:
        raise InputError(f"the checkpoint of stage {stage!r} has no {lacking[0]!r}, which samples need.")
    provenance = {"dtype": request["dtype"], "data": request["data"]}
    return Fitted(
        definition.name,
        wanted,
        event,
        state_of(module),
        {},
        xr.Dataset(),
        provenance,
        definition,
        models_of(wanted),
    )


def _state_of(name: str, part: nn.Module, kept: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the kept state with the arrays of a part; None if there is none."""
    wanted = {key: value.shape for key, value in part.state_dict().items()}
    same = [
        other
        for other, state in kept.items()
        if isinstance(state, Mapping)
        and {key: value.shape for key, value in state.items() if isinstance(value, Tensor)} == wanted
    ]
    alike = {other: SequenceMatcher(None, name.casefold(), other.casefold()).ratio() for other in same}
    return kept[max(same, key=alike.__getitem__)] if wanted and same else None
