"""The command `probgen sample`: sample from a fitted model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probgen.cli.common import (
    Cluster,
    Device,
    Json,
    Quiet,
    Run,
    Seed,
    Set,
    check_hdf5,
    check_table,
    cluster_of,
    is_of_parts,
    place,
    progress,
    put,
    settings,
)
from probgen.cli.loading import tell_reading
from probgen.cli.reading import with_tables
from probgen.cli.replacing import Force, check_replaced, with_request
from probgen.errors import InputError

if TYPE_CHECKING:
    from probgen.contract.fitted import Fitted

SHOWN = 10  # number of printed texts


@with_tables
def command(
    run: Run,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            help="Number of samples; with --given, samples per row. Default: 64; images: 1.",
        ),
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option(
            "--given",
            parser=place,
            help="File of conditions: x (NaN is completed), labels, a text, an image, a folder of images.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=place,
            help="Output file, or folder for parts or images. Default: RUN/samples.h5.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", parser=place, help="Write a figure of the samples to this file."),
    ] = None,
    wav: Annotated[
        Path | None,
        typer.Option(
            "--wav",
            parser=place,
            help="Write each sample of a sound to a file in this folder.",
        ),
    ] = None,
    cluster: Cluster = None,
    force: Force = False,
    how: Any = None,
    set_: Set = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sample from a fitted model.

    Samples are unconditional, or conditional on the file of --given.

    --set with the name of a condition, of a latent or x sets a condition, e.g. --set label=3 or --set 'z=[0.5, -1.0]'.

    The name of --out sets the format: .h5 or .nc for all samples; .csv, .tsv or .parquet for a table. For more samples than fit into memory, give a folder: it stores them in parts, and repeating an interrupted command resumes it.

    If --given is an image or a folder of images, --out is a .png file or a folder of PNG files. A single result per image is the mean of the model, if it has a mean; with -n 2 or more, the results are random samples.

    Example: probgen sample runs/iris -n 100 --png iris.png

    Example: probgen sample runs/iris -n 1000000 --cluster 4 --out draws

    Example: probgen sample runs/sr --given photo.png --out photo-x4.png
    """
    from probgen.store.files import seal_of
    from probgen.store.folder import SAMPLES, model_file

    options = settings(set_)
    model_file(run)
    if given is not None and not given.exists():
        raise InputError(f"--given {given}: there is no such file")
    images = given is not None and _is_images(given)
    if how.get("table") and (given is None or images):
        raise InputError(
            f"--{next(iter(how['table']))}: this option is for tables, but --given is not a table. Leave it out."
        )
    if given is not None and images:
        if cluster is not None:
            raise InputError("--cluster: images are not shared among processes. Leave --cluster out.")
        unused = {"--png": png, "--wav": wav}
        for option, value in unused.items():
            if value is not None:
                raise InputError(
                    f"{option}: with images as --given, the results are images. Give --out FILE.png or --out FOLDER instead."
                )
        if out is None:
            raise InputError(
                "--out is missing: images as --given need it. Give --out FILE.png or --out FOLDER."
            )
        _pictures(run, given, out, 1 if n is None else n, options, seed, device, json, quiet)
        return
    n = 64 if n is None else n
    client = cluster_of(cluster)
    if client is not None and (out is None or not is_of_parts(out) or out.is_file()):
        raise InputError("--cluster: workers write parts to a folder. Give --out FOLDER.")
    target = out if out is not None else run / SAMPLES if run.is_dir() else None
    if run.is_file() and target is None and png is None and wav is None:
        raise InputError(
            f"{run} is a file, not a run folder. Give --out FILE, --png FILE or --wav FOLDER for the samples."
        )
    if wav is not None and not wav.is_dir():
        raise InputError(f"--wav {wav}: there is no such folder. Create it, or choose another.")
    table = out is not None and check_table(out, force)
    if out is not None and not table and not out.is_dir():
        check_hdf5(out, "", tables=True)  # without a suffix it is a folder of parts
    for path in (target, png):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}. Create it, or choose another.")
    of_file = target is not None and not table and not is_of_parts(target)
    if force and target is not None and is_of_parts(target):
        raise InputError(
            f"--force: {target} is a folder of parts, which is not replaced. Remove it, or choose another --out."
        )
    request = {
        "model": seal_of(model_file(run)), "n": n, "given": given, "reading": how, "seed": seed, "options": dict(options),
    }  # fmt: skip
    replaced = of_file and target is not None and check_replaced(target, "samples", request, force)
    from probgen.api.framing import write_table
    from probgen.api.loading import load
    from probgen.api.sampling import sample, sample_to
    from probgen.codecs.texts import texts_of
    from probgen.contract.definition import latents_of
    from probgen.plugins.observers import belonging, made
    from probgen.recipes import picture_of, write_sounds
    from probgen.store.trees import read_dataset, write_dataset

    fitted = load(run)
    if table and not fitted.event.columns:
        raise InputError(
            f"--out {out}: x has no named columns, but is {fitted.event}. Give a name that ends in .h5."
        )
    if wav is not None and not fitted.event.rate:
        raise InputError(f"--wav {wav}: x is not a sound, but {fitted.event}. Leave --wav out.")
    latents = latents_of(fitted.module)
    known = ("x", *fitted.event.given, *fitted.event.lengths, *latents)
    condition: Any = {name: options.pop(name) for name in known if name in options} or None
    if given is not None and condition is not None:
        raise InputError(
            f"--set {next(iter(condition))}: with --given, all conditions are in the file. Use one of the two."
        )
    if given is not None:
        if not quiet:
            tell_reading(fitted, str(given), how)
        condition = _conditions(given, fitted, latents, how)
    call: dict[str, Any] = {"given": condition, "seed": seed, "device": device, "progress": progress(quiet)}
    call |= options
    written = []
    with belonging(folder=model_file(run).parent, family=fitted.family):
        if target is not None and is_of_parts(target):
            parts = sample_to(target, fitted, n, client=client, **call)
            draws = read_dataset(parts[0], "samples")  # for the figure
            written.append(f"{target} ({len(parts)} part{'s' * (len(parts) > 1)})")
        else:
            draws = sample(fitted, n, **call)
            if target is not None:
                if table:
                    write_table(draws, target, force=force)
                else:
                    write_dataset(target, "samples", with_request(draws, request))
                made("samples", target)
                written.append(f"{target}{' (replaced)' if replaced else ''}")
        if wav is not None and fitted.event.rate:
            sounds = draws["x"].values.reshape(-1, draws["x"].shape[-1])
            made("samples", *write_sounds(wav, sounds, fitted.event.rate))
            written.append(f"{wav}/samples-*.wav")
        if png is not None:
            from probgen import figures

            title = figures.heading("Samples", fitted.family, f"{n} samples", f"seed {seed}")
            figures.save(picture_of(fitted, draws, title), png)
            made("picture", png)
            written.append(str(png))
    variables = {str(name): dict(v.sizes) for name, v in draws.data_vars.items()}
    texts = texts_of(draws["x"])[:SHOWN]
    told = {"written": written, "variables": variables, "seed": seed} | ({"texts": texts} if texts else {})
    put(told, json, lambda: typer.echo("\n".join([*texts, *written])))


def _is_images(path: Path) -> bool:
    from probgen.readers import kind_of  # imports xarray, which only --given needs

    return kind_of(path) == "images"


def _pictures(
    run: Path,
    given: Path,
    out: Path,
    n: int,
    options: dict[str, Any],
    seed: int,
    device: str | None,
    json: bool,
    quiet: bool,
) -> None:
    """Sample images from images. Settings with the name of a condition are conditions."""
    from probgen.api.loading import load
    from probgen.api.picturing import sample_images
    from probgen.plugins.observers import belonging
    from probgen.store.folder import model_file

    fitted = load(run)
    conditions = {name: options.pop(name) for name in fitted.event.given if name in options}
    with belonging(folder=model_file(run).parent, family=fitted.family):
        written = sample_images(
            fitted,
            given,
            out,
            n,
            conditions=conditions,
            seed=seed,
            device=device,
            progress=progress(quiet),
            **options,
        )
    names = list(map(str, written))
    put({"written": names, "seed": seed}, json, lambda: typer.echo("\n".join(names)))


def _conditions(path: Path, fitted: Fitted, latents: Collection[str], how: Any) -> Any:
    """Return x and the conditions of the model from a file. Other variables, e.g. labels, are ignored.

    A text is the beginning of x, or, for a model that is conditional on a text, one condition per line. A CSV file may
    contain conditions only.
    """
    from probgen.datasets import Choices, Reading, column_names, kind_of, lines_of, read, read_text, table

    event, own = fitted.event, Reading(table=Choices.of(how.get("table")), like=fitted.event.columns)
    reading = own.completed(fitted.reading, kind_of(path, table=own.of_table))
    texts = [name for name, part in event.given.items() if part.is_text]
    if path.suffix == ".txt" and texts:
        return {texts[0]: lines_of(read_text(path))}
    if path.suffix == ".csv" and path.is_file():
        names = column_names(path, reading.table, event.columns)
        if names and set(names) <= event.given.keys():  # conditions only
            frame = table(path, reading.table)
            return {str(name): _values(frame[name], event.given[name]) for name in frame.columns}
    found = read(path, how=reading)
    known = {"x", "observed", "length", *event.given, *event.lengths, *latents}
    return found[[name for name in found if name in known]]


def _values(column: Any, part: Any) -> Any:
    """Return a column of conditions as names of classes, or as numbers.

    Numbers are codes, unless the name of a class is a number. A missing value raises `InputError`.
    """
    from probgen.readers.classes import NUMBER, name_of_class

    if column.isna().any():
        raise InputError(
            f"--given: {column.name!r}, row {int(column.isna().to_numpy().argmax())}: the value is missing. Fill it in."
        )
    numbered = any(NUMBER.fullmatch(symbol) for symbol in part.symbols)
    if part.symbols and (numbered or column.dtype.kind not in "iu"):
        return [name_of_class(value) for value in column.tolist()]
    return column.to_numpy(dtype=float if column.dtype.kind == "f" else int)
