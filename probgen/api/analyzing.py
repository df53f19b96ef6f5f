"""The call `analyze`: run an analysis of fitted models, and write its results and figures to files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

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
from probgen.evaluation.means import texts_of_rows
from probgen.figures import Animation, save, source
from probgen.plugins.analysis import LoadedAnalysis
from probgen.plugins.analysis import analysis as find_analysis
from probgen.plugins.observers import made
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
    """Run an analysis of one fitted model or of several fitted models.

    Args:
        analysis: A registered name (`probgen analyses` lists the names), or an analysis that is defined in your script.
        fitted: A fitted model, or several by name.
        data: The rows to analyze, in any form that `probgen.data.as_dataset` accepts. Some analyses need no rows.
        reference: The rows that the model was fitted to, for analyses that compare with these.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda".
        progress: Show a progress bar on stderr.
        title: Title of the figures.
        out: A run folder. Results are written to `analyses/NAME.h5` and `analyses/NAME.*.png` in this folder.
        folder: A run folder with earlier results that the analysis can read. The default is `out`.
        **options: Options of the analysis.

    Returns:
        The results as named arrays. `probgen.figures_of` returns their figures.

    Raises:
        InputError: When the rows, an option or another argument is invalid.
        NotOffered: When the analysis does not apply to the model.
        PluginError: When the analysis is not installed, or returns an invalid result.
        RunError: When the results cannot be written.
    """
    place = None if out is None else checked_path(out, "out")
    beside = place if folder is None else checked_path(folder, "folder")
    found = find_analysis(analysis)
    wanted = checked(found.options, options, f"analysis {found.name!r}")
    seed, device = checked_seed(seed), None if device is None else checked_device(device)
    models = _models(found, fitted)
    first = next(iter(models.values()))
    how: dict[str, Any] = {
        "event": first.event,
        "reading": first.reading,
        "without": ("weight",),
        "dtype": first.dtype,
    }
    if data is None and not found.rowless:
        raise InputError(f"analysis {found.name!r} needs rows to analyze. Give data.")
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
        result.attrs |= {"data_sha256": taken.digest, "data": source(taken.dataset.attrs)}
    if place is not None:
        save_analysis(result, place, analysis)
    return result


def _models(found: LoadedAnalysis, fitted: Fitted | Mapping[str, Fitted]) -> dict[str, Fitted]:
    """Return the models that the analysis applies to.

    It raises `InputError` if an analysis of one model gets several models, and `NotOffered` if it applies to no model.
    """
    models = {fitted.family: fitted} if isinstance(fitted, Fitted) else dict(fitted)
    if len(models) > 1 and not found.several:
        raise InputError(
            f"analysis {found.name!r} accepts one model, but {len(models)} were given. Give one model."
        )
    some = {name: model for name, model in models.items() if found.applies(model)}
    if not some:
        names = ", ".join(dict.fromkeys(repr(model.family) for model in models.values()))
        raise NotOffered(f"analysis {found.name!r} does not apply to {names}: it needs {found.needs}")
    return some


@isolated
def figures_of(found: xr.Dataset, analysis: Any = None) -> dict[str, Any]:
    """Return the figures of the results of an analysis.

    Args:
        found: Results of `analyze`.
        analysis: The analysis, if it is defined in your script and not registered.

    Returns:
        Matplotlib figures and `probgen.figures.Animation` objects, by name.

    Raises:
        InputError: When the Dataset is not the result of an analysis.
        PluginError: When the analysis is not installed, or returns another type.
    """
    if analysis is None and "analysis" not in found.attrs:
        raise InputError("the Dataset is not the result of an analysis: it has no attribute 'analysis'")
    loaded = find_analysis(found.attrs["analysis"] if analysis is None else analysis)
    figures = dict(loaded.figures(found))
    for name, figure in figures.items():
        if not isinstance(figure, Figure | Animation):
            raise PluginError(
                f"{loaded.where}, figures: {name!r} is of type {type(figure).__name__}. Return a matplotlib.figure.Figure or a probgen.figures.Animation."
            )
    return figures


def save_analysis(found: xr.Dataset, folder: Path, analysis: Any = None) -> list[Path]:
    """Write the results, figures and texts of an analysis to the folder `analyses` of a run.

    The results are in `NAME.h5`, each figure is in `NAME.FIGURE.png`, texts by row are in `NAME.tsv`, and a result
    called `table` is in `NAME.csv`. Earlier files of the same analysis are replaced or removed.

    Args:
        found: Results of `analyze`.
        folder: The run folder.
        analysis: The analysis, if it is defined in your script and not registered.

    Returns:
        The paths of the files, the results first.

    Raises:
        PluginError: When a file cannot store the results.
        RunError: When a file cannot be written.
    """
    name, place = str(found.attrs["analysis"]), folder / ANALYSES
    figures = figures_of(found, analysis)
    place.mkdir(exist_ok=True)
    files = [place / f"{name}.h5"]
    try:
        write_dataset(files[0], name, found)
    except (ValueError, TypeError) as error:
        # xarray raises these for names, dimensions or types that a file cannot store
        raise PluginError(
            f"analysis {name!r} ({found.attrs['analysis_origin']}): its results cannot be stored: {' '.join(str(error).split())}"
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
        old.unlink()  # a file of earlier results
    for file in files:
        made("picture" if file.suffix == ".png" else "analysis", file)
    return files
