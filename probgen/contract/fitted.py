"""The result of `probgen.fit`: a learned model as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from pydantic import BaseModel
from torch import nn

from probgen.contract.definition import Definition, latents_of
from probgen.contract.event import Event
from probgen.contract.run import Run
from probgen.contract.seeds import generators_kept
from probgen.contract.showing import as_html, as_text, last_metrics, picture_of, shown_images
from probgen.contract.state import load_state
from probgen.contract.surroundings import alone
from probgen.errors import ProbgenError, RunError
from probgen.store import trees
from probgen.store.files import checked_path

# groups with these names are stored at the places where ArviZ reads them
ARVIZ = (
    "posterior", "posterior_predictive", "log_likelihood", "sample_stats", "prior", "prior_predictive", "observed_data",
    "constant_data",
)  # fmt: skip
QUICK = 1024  # numbers of x that a model without latents samples one after the other in about a second


def _place(group: str) -> str:
    return f"/{group}" if group in ARVIZ else f"/probgen/groups/{group}"


@dataclass(frozen=True, repr=False)
class Fitted:
    """A fitted model.

    Attributes:
        family: The registered name of the family.
        options: The options of the fit.
        event: The description of one datum.
        state: Every learned array by name (the `state_dict` of the module).
        groups: Further results of the fit by name.
        history: The metrics of every step: dimension `step`, with the coordinate `stage`.
        provenance: The origin of the model: versions, seed, digest of the data, ...; `converged` by stage
            (None if the algorithm cannot determine it), and `notes`, sentences that a user should read.
        definition: The loaded family.
        models: The fitted models that the family builds on, by the option that names their run.
    """

    family: str
    options: BaseModel
    event: Event
    state: xr.Dataset
    groups: dict[str, xr.Dataset]
    history: xr.Dataset
    provenance: dict[str, Any]
    definition: Definition = field(repr=False, compare=False)
    models: Mapping[str, Fitted] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def module(self) -> nn.Module:
        """The module with its state, in eval mode.

        The module is built at the first access. Global generators remain unchanged.
        """
        with alone(), generators_kept("build"):
            module = self.definition.build(self.options, self.event, **self.models)
            module.to(self.dtype)  # for buffers that are not part of the state
            load_state(module, self.state, f"fitted {self.family}")
            return module.eval()

    def __repr__(self) -> str:
        return as_text("Fitted", self._facts())

    def _repr_html_(self) -> str:
        """Return the model as HTML for a notebook: its facts, and some samples if x is an image."""
        return as_html("Fitted", self._facts(), self._picture)

    def _facts(self) -> dict[str, str]:
        options = self.options.model_dump(mode="json", exclude_defaults=True)
        data = self.provenance.get("data", {})
        where = [str(data[name]) for name in ("name", "split", "path") if name in data]
        numbers = sum(array.size for array in self.state.data_vars.values())
        return {
            "family": f"{self.family} ({self.definition.origin})",
            "event": str(self.event),
            "options": ", ".join(f"{k} = {json.dumps(v)}" for k, v in options.items())
            or "all have their defaults",
            "parameters": f"{numbers:,}",
            "data": ", ".join([*where, f"{data['rows']:,} rows"]) if "rows" in data else "",
            "fit": last_metrics(self.history),
            "groups": ", ".join(self.groups),
            "notes": " ".join(self.notes),
        }

    @cached_property
    def _picture(self) -> str:
        """The samples of `probgen.sample(fitted, n)` as a picture; "" if they need conditions or much time."""
        n, definition = shown_images(self.event), self.definition
        free = not (self.event.given or definition.needed) and definition.offers("sample")
        if not n or not free or not (latents_of(self.module) or self.event.size <= QUICK):
            return ""
        run = Run(0, dtype=self.dtype)
        how = {"given": {}, "options": definition.options("sample")(), "run": run}
        try:
            self.module.to(run.device)
            with alone(), generators_kept(run.seed, "sample", 0), torch.no_grad():
                x = definition.call("sample", fitted=self, n=n, **how)["x"].cpu().numpy()
        except ProbgenError:  # the facts are useful without samples
            return ""
        return picture_of(x, self.event, f"{n} samples, seed {run.seed}")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return torch.float64 if self.provenance["dtype"] == "float64" else torch.float32

    @property
    def notes(self) -> list[str]:
        """Sentences that a user should read about the fit."""
        return list(self.provenance.get("notes", []))

    @property
    def reading(self) -> dict[str, Any]:
        """The options of `probgen.datasets.load` by which the data of the fit were read."""
        return dict(self.provenance.get("data", {}).get("reading", {}))

    def save(self, path: str | Path) -> None:
        """Write the model to one HDF5 file.

        The file is replaced completely, or it remains unchanged.

        Args:
            path: The path of the file.

        Raises:
            InputError: When the path is empty.
            RunError: When the file cannot be written.
        """
        path = checked_path(path, "path")
        if not path.parent.is_dir():
            raise RunError(
                f"{path} cannot be written: there is no folder {path.parent}. Create the folder first."
            )
        trees.write_tree(path, self.to_tree())

    def to_tree(self) -> xr.DataTree:
        """Return the model as a tree of named arrays; `docs/files.md` describes the tree.

        Returns:
            The tree that `save` writes.
        """
        about = {
            "family": self.family,
            "options": trees.to_json(self.options.model_dump(mode="json")),
            "event": trees.to_json(self.event.to_dict()),
            "provenance": trees.to_json(self.provenance),
        }
        groups = {_place(name): group for name, group in self.groups.items()}
        return xr.DataTree.from_dict(
            {
                "/": xr.Dataset(attrs={"title": f"{self.family} fitted by probgen"}),
                "/probgen": xr.Dataset(attrs=about),
                "/probgen/state": self.state,
                "/probgen/history": self.history,
                **groups,
            }
        )
