"""The routes of the page, as an ASGI application behind its guard.

No request names a file: the page and its parts are read once, at the start, and are found by name in a mapping.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from probgen.contract.options import checked
from probgen.errors import InputError, ProbgenError
from probgen.explore.asking import Point, Row, asked_of, parsed
from probgen.explore.copying import command, python
from probgen.explore.guard import Guard
from probgen.explore.live import Shown
from probgen.explore.model import Model
from probgen.explore.rows import Data
from probgen.explore.worker import Superseded, Worker

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
STATIC = {
    file.name: (file.read_bytes(), KINDS[file.suffix])
    for file in sorted((Path(__file__).parent / "static").iterdir())
    if file.suffix in KINDS
}

LONGEST = 60.0  # seconds of a stream


class Answered(JSONResponse):
    """JSON in ASCII: names of folders may have bytes that are not text."""

    def render(self, content: Any) -> bytes:
        """Return the value as bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


Answer = Callable[[Request], Awaitable[Response]]


def application(shown: Shown, port: int, token: str) -> Guard:
    """Return the page of a run.

    Args:
        shown: The model of the run, which may still be fitted.
        port: The port that the page is served on.
        token: The token that each request needs.

    Returns:
        The ASGI application.
    """
    worker = Worker()

    async def page(_: Request) -> Response:
        content, kind = STATIC["index.html"]
        return Response(content, media_type=kind)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("there is no such page\n", 404)
        content, kind = STATIC[name]
        return Response(content, media_type=kind)

    async def describe(_: Request) -> Response:
        def found() -> dict[str, Any]:
            shown.refresh()
            about = {"run": shown.run.name} if shown.model is None else shown.model.described()
            return {**about, "checkpoint": shown.step, "ended": shown.ended}

        return Answered(await worker.do(worker.ticket("describe"), found))

    async def history(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isdecimal() and len(after) < 16):
            raise InputError(
                f"after = {after[:40]!r}: the end of what was read before is needed. Reload the page."
            )
        return Answered(await asyncio.to_thread(shown.journal, int(after)))

    def drawing(kind: str) -> Answer:
        async def draw(request: Request) -> Response:
            asked = asked_of(parsed(await request.body()))
            return _array(await worker.do(worker.ticket(kind), lambda: shown.current().drawn(asked)))

        return draw

    async def code(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        if shown.step is not None:
            raise InputError("The fit has not ended, so no file has these weights. Copy after the fit.")
        call = await worker.do(worker.ticket("code"), lambda: shown.current().calls.of(asked))
        run = shown.run.resolve()
        return Answered({"python": python(call, run), "command": command(call, run)})

    async def nearest(request: Request) -> Response:
        point = checked(Point, parsed(await request.body()), "request")
        found = await worker.do(worker.ticket("nearest"), lambda: _data(shown.current()).nearest(point))
        rows, distances, x = found
        return _array(x, {"x-rows": json.dumps(rows), "x-distances": json.dumps(distances)})

    async def row(request: Request) -> Response:
        wanted = checked(Row, parsed(await request.body()), "request")

        def found() -> dict[str, Any]:
            model = shown.current()
            return _data(model).row(wanted.row, model.fitted)

        return Answered(await worker.do(worker.ticket("row"), found))

    async def codes(request: Request) -> Response:
        name = request.path_params["latent"]

        def found() -> dict[str, Any]:
            model = shown.current()
            if name not in model.coded:
                raise InputError(f"latent = {name!r}: codes of rows are not offered for it. Reload the page.")
            return _data(model).codes(model.fitted, model.spaces[name], model.device)

        return Answered(await worker.do(worker.ticket("codes"), found))

    async def stream(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        ticket = worker.ticket("stream")

        def begun() -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
            pieces = shown.current().pieces(asked)
            return pieces, next(pieces)

        pieces, first = await worker.do(ticket, begun)  # before the status: a refusal has a status of its own

        async def lines() -> AsyncIterator[bytes]:
            piece: dict[str, Any] | None = first
            end = time.monotonic() + LONGEST
            while piece is not None:
                yield json.dumps(piece).encode() + b"\n"
                if time.monotonic() > end or await request.is_disconnected():
                    return
                try:
                    piece = await worker.do(ticket, lambda: next(pieces, None))
                except Superseded:
                    return
                except Exception as error:  # the status is sent, so the line has the error
                    yield json.dumps({"error": _said(error)[1]}).encode() + b"\n"
                    return

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    posts: dict[str, Answer] = {
        "draw": drawing("draw"), "complete": drawing("complete"), "code": code, "nearest": nearest, "row": row, "stream": stream,
    }  # fmt: skip
    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/api/describe", told(describe)),
        Route("/api/history", told(history)),
        Route("/api/codes/{latent}", told(codes)),
        *(Route(f"/api/{name}", told(answer), methods=["POST"]) for name, answer in posts.items()),
    ]
    return Guard(Starlette(routes=routes), port, token)


def told(answer: Answer) -> Answer:
    """Return a route that turns errors into a status and one line.

    Args:
        answer: The route.

    Returns:
        The route, which raises no exception of a request.
    """

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except Superseded:
            return PlainTextResponse("a newer request came first\n", 409)
        except Exception as error:  # of a family, which may raise anything
            status, line = _said(error)
            return PlainTextResponse(f"{line}\n", status)

    return answered


def _said(error: Exception) -> tuple[int, str]:
    """Return the status and one line for an error."""
    line = " ".join(str(error).split())
    if isinstance(error, InputError):
        return 400, line
    if isinstance(error, ProbgenError):
        return 500, line
    traceback.print_exception(error, file=sys.stderr)
    return 500, f"this sample failed ({type(error).__name__}). The terminal shows the details."


def _data(model: Model) -> Data:
    if model.data is None:
        raise InputError(model.missing)
    return model.data


def _array(x: np.ndarray, headers: Mapping[str, str] | None = None) -> Response:
    """Return an array as its bytes, little-endian, with its shape and type in headers."""
    little = x.astype(x.dtype.newbyteorder("<"), copy=False)
    about = {"x-shape": json.dumps(list(x.shape)), "x-type": x.dtype.name, **(headers or {})}
    return Response(little.tobytes(), media_type="application/octet-stream", headers=about)
