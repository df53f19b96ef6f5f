"""Fits in TensorBoard: the metrics of each step, options, data and pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from probgen import hookimpl
from probgen.contract.hookspecs import ObservedCall
from probgen.errors import PluginError

VARIABLE = "PROBGEN_TENSORBOARD"


class TensorBoard:
    """An observer that writes each fit to a folder of its own, for `tensorboard --logdir FOLDER`.

    Args:
        folder: The folder for all fits; None: the folder that the environment variable `PROBGEN_TENSORBOARD` names
            when a fit starts. Without either, nothing is written.

    Raises:
        PluginError: When a folder is given and the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}  # by the id of the call
        self._logs: dict[Path, str] = {}  # by the folder of the run, for files that come later
        if folder is not None:
            _summary_writer()

    @hookimpl
    def started(self, call: ObservedCall) -> None:
        """Open a folder named after the model, and write options and data."""
        place = self._folder or os.environ.get(VARIABLE)
        if call.hook != "fit" or not place:
            return
        log = str(Path(place) / f"{call.model or call.family}-{call.id[:8]}")
        writer = self._writers[call.id] = _summary_writer()(log)
        if call.folder is not None:
            self._logs[call.folder] = log
        options = {} if call.options is None else call.options.model_dump(mode="json")
        for name, table in (("options", options), ("data", {"recipe": call.recipe, **call.data})):
            writer.add_text(name, "    " + json.dumps(table, default=str))

    @hookimpl
    def restored(self, stage: str, metrics: dict[str, np.ndarray], call: ObservedCall) -> None:
        """Write the steps before a resume, so that the curves are complete."""
        for name, values in metrics.items() if call.id in self._writers else ():
            for step, value in enumerate(values):
                if np.isfinite(value):
                    self._writers[call.id].add_scalar(f"{stage}/{name}", float(value), step)

    @hookimpl
    def step(self, stage: str, step: int, metrics: dict[str, float], call: ObservedCall) -> None:
        """Write the metrics of a step."""
        for name, value in metrics.items() if call.id in self._writers else ():
            self._writers[call.id].add_scalar(f"{stage}/{name}", value, step)

    @hookimpl
    def made(self, kind: str, path: Path, call: ObservedCall) -> None:
        """Write a picture of a run whose fit was written."""
        if kind == "picture" and call.folder in self._logs:
            writer = _summary_writer()(self._logs[call.folder])
            from PIL import Image  # a fit needs no pictures

            writer.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")
            writer.close()

    @hookimpl
    def ended(self, error: BaseException | None, call: ObservedCall) -> None:
        """Write the error, if there is one, and close the files of the fit."""
        writer = self._writers.pop(call.id, None)
        if writer is not None:
            if error is not None:
                writer.add_text("error", f"{type(error).__name__}: {error}")
            writer.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise PluginError(
            f"the package tensorboard is needed and cannot be imported ({error}). "
            "Install it: pip install 'probgen-observers[tensorboard]'."
        ) from None
    return SummaryWriter


observer = TensorBoard()
