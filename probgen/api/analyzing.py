"""analyze: what is done with fitted models beyond fit, sample and score; results and figures to files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.api.common import checked_device, shown
from probgen.api.framing import frame, is_named, separated
from probgen.api.provenance import stamp
from probgen.contract.analysis import Call
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.seeds import checked_seed
from probgen.contract.surroundings import isolated
from probgen.data.intake import prepare, say_unused
from probgen.errors import InputError, NotOffered, PluginError
from probgen.figures import save
from probgen.plugins.analysis import LoadedAnalysis
from probgen.plugins.analysis import analysis as find_analysis
from probgen.store.files import checked_path, write_whole
from probgen.store.folder import ANALYSES
from probgen.store.trees import to_json, write_dataset


@isolated
def analyze(
    analysis: str | Any,
    fitted: Fitted | Mapping[str, Fitted],
    data: Any = None,
    *,
    reference: Any = None,
    seed: int = 0,
    device: Any = None,
    progress: bool = False,
    title: str = "",
    out: str | Path | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> xr.Dataset:
    """Run an analysis on a fitted model, or on several by name.

    analysis   a registered name (`probgen analyses` lists them), or an analysis of the script's own
    data       rows to analyze, whatever `probgen.data.as_dataset` takes; some analyses can do without
    reference  rows that the model was fitted to, for the analyses that compare with them
    title      for the figures
    out        a run folder: results go to `analyses/NAME.h5` and `analyses/NAME.*.png` in it
    folder     a run folder whose earlier results the analysis may read; `out`, if it is left out
    options    of the analysis

    Returns named arrays; `probgen.figures_of` draws them. Errors: `InputError`, `NotOffered` for a model that the
    analysis does not apply to, `PluginError`, `RunError`.
    """
    place = None if out is None else checked_path(out, "out")
    beside = place if folder is None else checked_path(folder, "folder")
    found = find_analysis(analysis)
    wanted = checked(found.options, options, f"analysis {found.name!r}")
    seed, device = checked_seed(seed), None if device is None else checked_device(device)
    models = _models(found, fitted)
    first = next(iter(models.values()))
    how: dict[str, Any] = {"event": first.event, "without": ("weight",), "dtype": first.dtype}
    if data is None and not found.rowless:
        raise InputError(f"analysis {found.name!r} needs rows to analyze: give data")
    taken = None if data is None else prepare(data, first.definition, **how)
    if taken is not None:
        say_unused(taken.weight)
    rows = prepare(reference, first.definition, **how).dataset if reference is not None else None
    with shown(progress):
        call = Call(seed, device, progress, rows, title, beside)
        result = found.run(
            models if found.several else first, None if taken is None else taken.dataset, wanted, call
        )
    result.attrs = {
        **stamp(first.definition, seed),
        **result.attrs,
        "analysis": found.name,
        "analysis_origin": found.origin,
        "options": to_json(wanted.model_dump(mode="json")),
        "event": to_json(first.event.to_dict()),
        "title": title,
    }
    if taken is not None:
        result.attrs["data_sha256"] = taken.digest
    if place is not None:
        save_analysis(result, place, analysis)
    return result


def _models(found: LoadedAnalysis, fitted: Fitted | Mapping[str, Fitted]) -> dict[str, Fitted]:
    """The models that the analysis applies to. Errors: `NotOffered` if there is none; `InputError`."""
    models = {fitted.family: fitted} if isinstance(fitted, Fitted) else dict(fitted)
    if len(models) > 1 and not found.several:
        raise InputError(f"analysis {found.name!r} is of one model, not of {len(models)}")
    some = {name: model for name, model in models.items() if found.applies(model)}
    if not some:
        names = ", ".join(dict.fromkeys(repr(model.family) for model in models.values()))
        raise NotOffered(f"analysis {found.name!r} does not apply to {names}: it needs {found.needs}")
    return some


@isolated
def figures_of(found: xr.Dataset, analysis: Any = None) -> dict[str, Any]:
    """The Matplotlib figures of the results of an analysis, and `probgen.figures.Animation`s, by name.

    analysis  where it is the script's own and not registered

    Errors: `InputError` for a Dataset that no analysis returned.
    """
    if analysis is None and "analysis" not in found.attrs:
        raise InputError("these are not the results of an analysis: they have no attribute 'analysis'")
    loaded = find_analysis(found.attrs["analysis"] if analysis is None else analysis)
    return dict(loaded.figures(found))


def save_analysis(found: xr.Dataset, folder: Path, analysis: Any = None) -> list[Path]:
    """Write results, figures and texts into a run: `analyses/NAME.h5`, `NAME.FIGURE.png`, `NAME.tsv` of texts by row, `NAME.csv` of a `table`.

    analysis  where it is the script's own and not registered

    Returns the files, the results first. Errors: `RunError`, `PluginError`.
    """
    name, place = str(found.attrs["analysis"]), folder / ANALYSES
    figures = figures_of(found, analysis)
    place.mkdir(exist_ok=True)
    files = [place / f"{name}.h5"]
    try:
        write_dataset(files[0], name, found)
    except (ValueError, TypeError) as error:  # of xarray: names, dimensions or types that a file cannot hold
        raise PluginError(
            f"analysis {name!r} ({found.attrs['analysis_origin']}): its results cannot be kept: {' '.join(str(error).split())}"
        ) from error
    columns = texts_of_rows(found)
    if columns:
        lines = io.StringIO()
        csv.writer(lines, delimiter="\t", lineterminator="\n").writerows(
            [list(columns), *zip(*columns.values(), strict=True)]
        )
        files.append(place / f"{name}.tsv")
        write_whole(files[-1], lines.getvalue().encode())
    if "table" in found:
        files.append(place / f"{name}.csv")
        table = frame(found["table"])
        write_whole(files[-1], separated(table, ",", is_named(table)))
    for figure, drawn in figures.items():
        files.append(place / f"{name}.{figure}.png")
        save(drawn, files[-1])
    for old in {*place.glob(f"{name}.*.png"), *place.glob(f"{name}.tsv"), *place.glob(f"{name}.csv")} - set(
        files
    ):
        old.unlink()  # of results that were there before
    return files


def texts_of_rows(found: xr.Dataset) -> dict[str, list[str]]:
    """Results that are texts, one a row, or one a cell."""
    return {
        str(name): [str(text) for text in value.values]
        for name, value in found.data_vars.items()
        if value.dims in (("row",), ("cell",)) and value.dtype.kind in "OUT"
    }
