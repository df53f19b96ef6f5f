"""The routes of the page, as an ASGI application behind its guard.

No request names a file: the page and its parts are read once, at the start, and are found by name in a mapping.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from probgen.explore.model import Model
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

Answer = Callable[[Request], Awaitable[Response]]


def application(model: Model, port: int, token: str) -> Guard:
    """Return the page of a model.

    Args:
        model: The model.
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
        return JSONResponse(model.described())

    async def draw(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        x = await worker.do(worker.ticket("draw"), lambda: model.drawn(asked))
        return _array(x)

    async def complete(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        x = await worker.do(worker.ticket("complete"), lambda: model.drawn(asked))
        return _array(x)

    async def code(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        call = await worker.do(worker.ticket("code"), lambda: model.calls.of(asked))
        run = model.run.resolve()
        return JSONResponse({"python": python(call, run), "command": command(call, run)})

    async def nearest(request: Request) -> Response:
        point = checked(Point, parsed(await request.body()), "request")
        data = _data(model)
        rows, distances, x = await worker.do(worker.ticket("nearest"), lambda: data.nearest(point))
        told = {"x-rows": json.dumps(rows), "x-distances": json.dumps(distances)}
        return _array(x, told)

    async def row(request: Request) -> Response:
        wanted = checked(Row, parsed(await request.body()), "request")
        return JSONResponse(_data(model).row(wanted.row, model.fitted))

    async def stream(request: Request) -> Response:
        asked = asked_of(parsed(await request.body()))
        if not model.streams:
            raise InputError("x is not a sequence of varying length. Use a sample.")
        ticket, pieces = worker.ticket("stream"), model.pieces(asked)
        first = await worker.do(
            ticket, lambda: next(pieces)
        )  # before the status: a refusal has a status of its own

        async def lines() -> AsyncIterator[bytes]:
            piece: Any = first
            while piece is not None:
                yield json.dumps(piece).encode() + b"\n"
                if await request.is_disconnected():
                    return
                try:
                    piece = await worker.do(ticket, lambda: next(pieces, None))
                except Superseded:
                    return
                except Exception as error:  # the status is sent: the line says it
                    yield json.dumps({"error": _said(error)[1]}).encode() + b"\n"
                    return

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def codes(request: Request) -> Response:
        name = request.path_params["latent"]
        if name not in model.described()["codes"]:
            raise InputError(f"latent = {name!r}: codes of rows are not offered for it. Reload the page.")
        data = _data(model)
        space = model.spaces[name]
        return JSONResponse(
            await worker.do(worker.ticket("codes"), lambda: data.codes(model.fitted, space, model.device))
        )

    posts: dict[str, Answer] = {
        "draw": draw, "complete": complete, "code": code, "nearest": nearest, "row": row, "stream": stream,
    }  # fmt: skip
    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/api/describe", told(describe)),
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


def _data(model: Model) -> Any:
    if model.data is None:
        raise InputError(model.missing)
    return model.data


def _array(x: np.ndarray, headers: Mapping[str, str] | None = None) -> Response:
    """Return an array as its bytes, little-endian, with its shape and type in headers."""
    little = x.astype(x.dtype.newbyteorder("<"), copy=False)
    about = {"x-shape": json.dumps(list(x.shape)), "x-type": x.dtype.name, **(headers or {})}
    return Response(little.tobytes(), media_type="application/octet-stream", headers=about)
