"""The command `probgen explore`: a local page on a fitted model."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from probgen.cli.common import Device, Run


def command(
    run: Run,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0 for any free port.")
    ] = 0,
    device: Device = None,
) -> None:
    """Serve a page on a fitted model: sliders, samples, completions.

    The page is served to this machine only, and its address contains a secret token. Ctrl-C ends it. For a run on another machine, forward the same port with ssh -L 8000:127.0.0.1:8000 HOST, and use --port 8000.

    Example: probgen explore runs/digits-vae/vae
    """
    from probgen.explore import serve

    def told(address: str) -> None:
        typer.echo(f"{address}\nOpen this address in a browser on this machine. Ctrl-C ends the page.")

    with suppress(KeyboardInterrupt):  # the usual end
        serve(run, port, device, told)
    typer.echo("ended", err=True)
