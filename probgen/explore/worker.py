"""One thread that samples. Of the waiting requests of a kind, only the newest is done."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Superseded(Exception):
    """A request that a newer request of the same kind has replaced."""


class Ticket(NamedTuple):
    """The place of a request among the requests of its kind."""

    kind: str
    number: int


class Worker:
    """A thread that calls functions one by one.

    The thread does not keep the process alive: Ctrl-C ends a call that is still running.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._newest: dict[str, int] = {}
        self._waiting: queue.SimpleQueue[tuple[Ticket, Callable[[], Any], Callable[..., None]]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._work, daemon=True, name="probgen-explore").start()

    def ticket(self, kind: str) -> Ticket:
        """Return the place of a new request, which replaces the waiting requests of its kind.

        Args:
            kind: A name of the service, never of a request.

        Returns:
            The ticket, for one call or for several calls of `do`.
        """
        ticket = Ticket(kind, next(self._numbers))
        self._newest[kind] = ticket.number
        return ticket

    async def do(self, ticket: Ticket, function: Callable[[], T]) -> T:
        """Call a function in the thread.

        Args:
            ticket: The place of the request.
            function: The function, without arguments.

        Returns:
            The result of the function.

        Raises:
            Superseded: When a newer request of the same kind came before the call.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():  # the connection is closed, and nothing waits for the result
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def tell(result: Any, error: BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, result, error)

        self._waiting.put((ticket, function, tell))
        return await future

    def _work(self) -> None:
        while True:
            ticket, function, tell = self._waiting.get()
            result, error = None, None
            try:
                if self._newest[ticket.kind] != ticket.number:
                    raise Superseded
                result = function()
            except (
                Exception
            ) as raised:  # of a family, which may raise anything; the route turns it into one line
                error = raised
            tell(result, error)
