"""Who may ask: the page that this process served, on this machine. Everything else is refused in one line.

The token is in the fragment of the address, which browsers do not send, and comes back as a header, which no other
site can set. The host is checked against DNS rebinding; the policy forbids everything from elsewhere.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST = 1 << 20  # bytes of a body
SECONDS = 10.0  # until a body has arrived
PRIVATE = "/api/"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI application that passes on the requests of its own page, and refuses all others.

    Args:
        app: The application behind the guard.
        port: The port that it listens on.
        token: The token of the page.
    """

    def __init__(self, app: App, port: int, token: str):
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        refused = refusal(scope["method"], scope["path"], headers, self.hosts, self.token)
        if refused is not None:
            await _refuse(headed, *refused)
            return
        try:
            body = await asyncio.wait_for(_body(receive), SECONDS)
        except TimeoutError:
            await _refuse(headed, 408, "the body did not arrive in time")
            return
        if body is None:
            await _refuse(headed, 413, f"the body is larger than {MOST} bytes")
            return
        unread = [body]

        async def replayed() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await receive()

        await self.app(scope, replayed, headed)


def refusal(
    method: str, path: str, headers: Mapping[str, list[str]], hosts: Collection[str], token: bytes
) -> tuple[int, str] | None:
    """Return the reason to refuse a request.

    Args:
        method: The method of the request.
        path: The path of the request.
        headers: The values by header, in lower case.
        hosts: The hosts that are served, with their port.
        token: The token of the page.

    Returns:
        The status and one line, or None for a request of the page.
    """
    host = headers.get("host", [])
    origin, site = headers.get("origin", []), headers.get("sec-fetch-site", ["none"])
    opened = (
        method == "GET"
        and path == "/"
        and headers.get("sec-fetch-mode") == ["navigate"]
        and headers.get("sec-fetch-dest") == ["document"]
    )  # a click on the printed address, in a terminal that is a web page, comes from another site
    if len(host) != 1 or host[0] not in hosts:
        return 403, "this host is not served"
    if origin and origin != [f"http://{host[0]}"]:
        return 403, "another site asked"
    if site not in (["same-origin"], ["none"]) and not opened:
        return 403, "another site asked"
    if method not in ("GET", "POST"):
        return 405, "only GET and POST are answered"
    if not path.startswith(PRIVATE):
        return None if method == "GET" else (405, "only GET is answered here")
    given = headers.get("authorization", [])
    if len(given) != 1 or not secrets.compare_digest(given[0].encode(), b"Bearer " + token):
        return 403, "open the address that probgen explore printed"
    if method == "POST":
        if headers.get("content-type") != ["application/json"]:
            return 415, "only application/json is read"
        length = headers.get("content-length", [])
        if len(length) != 1 or not length[0].isdecimal():
            return 411, "a body needs its length"
        if len(length[0]) > 12 or int(length[0]) > MOST:
            return 413, f"the body is larger than {MOST} bytes"
    return None


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or None if it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > MOST:
            return None
        parts.append(part)
    return b"".join(parts)


async def _refuse(send: Send, status: int, why: str) -> None:
    body = f"{why}\n".encode()
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": kind})
    await send({"type": "http.response.body", "body": body})
