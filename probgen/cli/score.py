"""The command `probgen score`: the log-likelihood of data under a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli.common import (
    Cluster,
    Data,
    DataDir,
    Device,
    Json,
    Quiet,
    Run,
    Seed,
    Set,
    Split,
    check_hdf5,
    cluster_of,
    is_of_parts,
    place,
    print_table,
    progress,
    put,
    settings,
)
from probgen.cli.reading import with_reading
from probgen.cli.replacing import Force, check_replaced, with_request
from probgen.errors import InputError


@with_reading
def command(
    run: Run,
    data: Data,
    split: Split = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=place, help="Output file, or folder for parts. Default: RUN/scores.h5."),
    ] = None,
    cluster: Cluster = None,
    force: Force = False,
    how: Any = None,
    set_: Set = None,
    seed: Seed = 0,
    device: Device = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the log-likelihood of each row.

    The result states whether it is exact, a bound or an estimate. Families without a likelihood have other scores.

    For more rows than fit into memory, give a folder as --out: it stores the scores in parts, and repeating an interrupted command resumes it.

    Example: probgen score runs/iris --data iris

    Example: probgen score runs/big --data big.h5 --cluster tcp://HOST:8786 --out scores
    """
    from probgen.cli.loading import as_it_is, check_source, loaded, tell_reading
    from probgen.store.files import seal_of
    from probgen.store.folder import SCORES, model_file

    options = settings(set_)
    model_file(run)
    check_source(data)
    target = out if out is not None else run / SCORES if run.is_dir() else None
    client = cluster_of(cluster)
    if client is not None and (out is None or not is_of_parts(out) or out.is_file()):
        raise InputError("--cluster: workers write parts to a folder. Give --out FOLDER.")
    if out is not None and not out.is_dir():
        check_hdf5(out, "")  # a name without a suffix is a folder of parts
    if target is not None and not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}. Create it, or choose another.")
    in_parts = target is not None and is_of_parts(target)
    if in_parts and force:
        raise InputError(
            f"--force: {target} is a folder of parts, which is not replaced. Remove it, or choose another --out."
        )
    request = {
        "model": seal_of(model_file(run)), "data": data, "data_dir": str(data_dir) if data_dir else None, "split": split,
        "reading": how, "seed": seed, "options": dict(options),
    }  # fmt: skip
    replaced = target is not None and not in_parts and check_replaced(target, "scores", request, force)
    from probgen.api.loading import load
    from probgen.api.scoring import score, score_to
    from probgen.evaluation.means import rows_of, rows_sha256, summary
    from probgen.plugins.observers import belonging, made
    from probgen.store.opened import open_parts
    from probgen.store.trees import write_dataset

    fitted = load(run)
    if not quiet:
        tell_reading(fitted, data, how)
    call: dict[str, Any] = {"seed": seed, "device": device, "progress": progress(quiet), **options}
    rows: Any = as_it_is(data, split, how) if in_parts else None
    if rows is None:
        rows, _ = loaded(data, split, "test", data_dir, how, fitted)
    with belonging(folder=model_file(run).parent, family=fitted.family):
        if target is not None and in_parts:
            score_to(target, fitted, rows, client=client, **call)
            scores = open_parts(target).load()
        else:
            scores = score(fitted, rows, **call)
            if target is not None:
                write_dataset(target, "scores", with_request(scores, request))
                made("scores", target)
    if not quiet and rows_sha256(scores) == fitted.provenance.get("data", {}).get("sha256"):
        typer.echo(
            "the scored rows are the rows of the fit, so their scores do not apply to other rows", err=True
        )
    lines = summary(scores)
    where = f"{target}{', replaced' if replaced else ''}" if target else "no file"
    put(
        {
            "written": str(target) if target else None,
            "replaced": replaced,
            "weighted": "weight" in scores,
            "scores": lines,
        },
        json,
        lambda: print_table(lines, list(lines[0]), f"{rows_of(scores)}; written to {where}"),
    )
