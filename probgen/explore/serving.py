"""The server of the page: on this machine only, until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from probgen.errors import InputError

HOST = "127.0.0.1"
CONNECTIONS = 64  # at the same time; further ones are answered with 503


def serve(run: Path, port: int = 0, device: str | None = None, told: Callable[[str], None] = print) -> None:
    """Serve the page of a run until Ctrl-C.

    The model is loaded and has drawn once before the address is passed to `told`.

    Args:
        run: The folder of a run, or the file of a model.
        port: The port; 0 for any free port.
        device: The device to compute on; None for the CPU.
        told: Function that receives the address, with the token in its fragment.

    Raises:
        InputError: When the port is in use, or a package is missing.
        FileError: When the model cannot be read.
        PluginError: When the family of the model is not installed.
    """
    try:
        import uvicorn

        from probgen.explore.app import application
        from probgen.explore.prompt import Prompt
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette", "anyio", "h11"):
            raise
        raise InputError(f"probgen explore needs {error.name}. Run pip install 'probgen[explore]'.") from None
    from probgen.explore.live import Shown

    listening = bound(port)
    with listening:
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(32)
        shown = Shown(run, device)
        if shown.model is not None:
            shown.model.warm()
        config = uvicorn.Config(
            application(shown, port, token), lifespan="off", ws="none", log_level="error", access_log=False,
            server_header=False, date_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=1,
            proxy_headers=False, http=Prompt,
        )  # fmt: skip
        told(f"http://{HOST}:{port}/#token={token}")
        uvicorn.Server(config).run(sockets=[listening])


def bound(port: int) -> socket.socket:
    """Return a socket that is bound to a port of this machine.

    Args:
        port: The port; 0 for any free port.

    Returns:
        The socket.

    Raises:
        InputError: When the port is in use or not allowed.
    """
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(CONNECTIONS)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"--port {port}: it cannot be used ({reason}). Give another port, or 0 for any free port."
        ) from None
    return listening
