"""The command `probgen datasets`: the data sets that can be loaded by name."""

from __future__ import annotations

from typing import Annotated

import typer

from probgen.cli import completion
from probgen.cli.common import DataDir, Json, print_table, put


def command(
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=completion.datasets, help="Load this data set and describe it."),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List registered data sets, or describe one.

    Example: probgen datasets digits
    """
    from probgen.plugins.registry import registered

    if name is None:
        listed = [
            {"data set": p.name, "distribution": f"{p.distribution} {p.version}", "from": p.target}
            for plugins in registered("datasets").values()
            for p in plugins
        ]
        put(listed, json, lambda: print_table(listed, ["data set", "distribution", "from"]))
        return
    from probgen.data.describe import event_of
    from probgen.data.ingest import as_dataset
    from probgen.datasets import find_set

    found = find_set(name)
    rows = []
    for split in found.splits or (None,):
        dataset = as_dataset(name, split, data_dir)
        event = event_of(dataset)
        rows.append(
            {
                "split": split or "all",
                "rows": dataset.sizes["row"],
                "event": str(event),
                "with": " ".join(str(v) for v in dataset.data_vars if v != "x") or None,
            }
        )
    put(
        {"name": name, "what": found.description, "splits": rows},
        json,
        lambda: print_table(rows, list(rows[0]), found.description),
    )
