"""The end of the web process: every open socket is closed with 1012, on which browsers come back at once.

Told to end, Daphne 4.2 cancels what serves its sockets and cuts the connections; an application can't say why, since
autobahn lets it close with 1000 and 3000 to 4999 only. But the protocol that Daphne's `send` carries can send any close
frame (as `daphne.ws_protocol.WebSocketProtocol.handle_exception` does with 1011), and Twisted's reactor waits for what
is to happen before its shutdown
(https://docs.twisted.org/en/stable/api/twisted.internet.interfaces.IReactorCore.html#addSystemEventTrigger).
Under another server nothing is changed.
"""

import asyncio
import time
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from .pace import Application, Receive, Scope, Send

RESTART = 1012
# For the browsers' answers; whoever is slower is cut off.
LONGEST_SECONDS, LOOK_SECONDS = 1.0, 0.01


class Sockets:
    """Those of this process that are open, by Daphne's protocols."""

    def __init__(self) -> None:
        self.open: set[Any] = set()
        self.awaited = False

    async def run(self, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        protocol: Any = send.args[0] if isinstance(send, partial) and send.args else None
        if not hasattr(protocol, "sendCloseFrame"):
            await application(scope, receive, send)
            return
        self._have_it_wait(protocol.transport.reactor)
        self.open.add(protocol)
        try:
            await application(scope, receive, send)
        finally:
            self.open.discard(protocol)

    def _have_it_wait(self, reactor: Any) -> None:
        if not self.awaited:
            self.awaited = True
            reactor.addSystemEventTrigger("before", "shutdown", self._close_all)

    def _close_all(self) -> "Deferred[None]":
        closing = [protocol for protocol in self.open if protocol.state == protocol.STATE_OPEN]
        for protocol in closing:
            protocol.sendCloseFrame(code=RESTART)
        return Deferred.fromFuture(asyncio.ensure_future(_closed(closing)))


async def _closed(protocols: list[Any]) -> None:
    """Until each has its browser's answer, which autobahn has no event for, or the time is up."""
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until and any(protocol.state != protocol.STATE_CLOSED for protocol in protocols):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


sockets = Sockets()
