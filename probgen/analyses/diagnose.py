"""Compare samples of a model with real rows that the fit has not seen; see `probgen.diagnose`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from probgen import figures as draw
from probgen.api.diagnosing import diagnose
from probgen.contract.analysis import Call
from probgen.contract.definition import latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.evaluation.diagnosis import MEANING

# measures with figures for the least and the greatest value over the cases
BY_CASE = ("modes", "high_quality", "reverse_kl", "spread")

needs = "samples"


class Options(BaseOptions):
    """Options of the diagnosis."""

    n: int | None = Field(
        default=None, ge=1, description="samples to compare; default: as many as the rows compared with them"
    )
    k: int = Field(default=5, ge=1, description="neighbors for precision, recall, density and coverage")
    given: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="values of a latent, e.g. member = [0, 1]; one diagnosis per value"
    )

    @model_validator(mode="after")
    def _even(self) -> Options:
        if len({len(values) for values in self.given.values()}) > 1 or () in self.given.values():
            raise ValueError(
                "given: every latent needs the same number of values, at least one. Make the lists equally long."
            )
        return self


def applies(fitted: Fitted) -> bool:
    """Return whether the family can be sampled from."""
    return fitted.definition.offers("sample")


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Diagnose the samples of a model.

    The result contains the measures, tests and mode shares of `probgen.diagnose`, and each measure as a
    figure.

    With `given` there is one diagnosis per case, and the figures are means over the cases. Measures of modes
    also have their least and greatest value over the cases: `modes_least`, `modes_most`, ...
    """
    # other models of the recipe may have other latents
    names = [name for name in options.given if name in latents_of(fitted.module)]
    cases = list(zip(*(options.given[name] for name in names), strict=True)) or [()]
    each = [
        diagnose(
            fitted,
            data,
            reference=call.reference,
            n=options.n,
            k=options.k,
            given=dict(zip(names, case, strict=True)) or None,
            **call.common,
        )
        for case in cases
    ]
    verdicts = [case.attrs["verdict"] for case in each]
    measures = [str(name) for name in each[0]["measure"].values]
    values = {m: np.array([float(case["value"].sel(measure=m)) for case in each]) for m in measures}
    found = each[0]
    if names:
        found = xr.concat(each, "case", combine_attrs="drop_conflicts")
        found["verdict"] = ("case", verdicts)
        for name, chosen in zip(names, zip(*cases, strict=True), strict=True):
            found[name] = ("case", list(chosen))
    over = f", mean over {len(cases)} cases" if len(cases) > 1 else ""
    figures = {m: _figure(value.mean(), f"{MEANING[m]}{over}") for m, value in values.items()}
    for m in (m for m in BY_CASE if m in values and len(cases) > 1):
        figures[f"{m}_least"] = _figure(values[m].min(), f"{MEANING[m]}, least of the cases")
        figures[f"{m}_most"] = _figure(values[m].max(), f"{MEANING[m]}, greatest of the cases")
    return found.assign(figures).assign_attrs(summary="; ".join(dict.fromkeys(verdicts)))


def _figure(value: float, meaning: str) -> tuple[tuple[()], float, dict[str, str]]:
    return (), float(value), {"long_name": meaning}


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return the figure `measures`: mode shares, and measures with their intervals.

    With `given` the figure shows the first case.
    """
    first = found.isel(case=0) if "case" in found.dims else found
    verdict = first.attrs["verdict"] if "verdict" in first.attrs else str(first["verdict"].item())
    counts = f"{found.attrs['n']} samples and {found.attrs['rows']} rows" if "n" in found.attrs else ""
    title = draw.of_results(found, "", counts).strip()
    return {"measures": draw.diagnosis(first.assign_attrs(verdict=verdict), title)}
