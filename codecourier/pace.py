"""Backpressure towards browsers: an answer goes on only while the browser takes it.

Daphne 4.2 hands whatever an application sends to Twisted, which keeps it all in memory. But its `send` is a partial
of the server's `handle_reply` with the connection's protocol, and that takes a Twisted push producer, which is told
when the connection's buffer is full and when it has drained
(https://docs.twisted.org/en/stable/core/howto/producers.html). Under another server nothing is changed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = dict[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[Any]]


class Valve:
    """Open while the connection's buffer has room; Twisted knows it as a push producer."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.lost = False
        self.open = asyncio.Event()
        self.open.set()

    async def passed(self) -> None:
        """Until there is room. Once the connection is lost others get their turn, so that the news of it arrives."""
        await (asyncio.sleep(0) if self.lost else self.open.wait())

    # The names are Twisted's.
    def pauseProducing(self) -> None:  # noqa: N802
        """The buffer is full."""
        self.open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        """The buffer has drained. A connection that waited for that to close needs to be let go."""
        self.open.set()
        if getattr(self.consumer, "disconnecting", False):
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is lost."""
        self.lost = True
        self.open.set()


async def run(application: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application at the browser's pace. An answer that fails half-way is broken off, so that it shows."""
    protocol = send.args[0] if isinstance(send, partial) and send.args else None
    if not hasattr(protocol, "registerProducer"):
        await application(scope, receive, send)
    elif scope["type"] == "http":
        await _answer(application, scope, receive, send, protocol)
    else:
        await application(scope, receive, _socket(protocol, send))


async def _answer(application: Application, scope: Scope, receive: Receive, send: Send, request: Any) -> None:
    pieces = _Pieces(request, send)
    try:
        await application(scope, receive, pieces.send)
    except Exception:
        if not pieces.begun:
            raise
        logger.exception("The answer to %s broke off", scope["path"])
        if request.channel is not None:
            request.channel.transport.abortConnection()


class _Pieces:
    """One answer; only one that has more than one piece is worth watching."""

    def __init__(self, request: Any, send: Send) -> None:
        self.request, self.pass_on = request, send
        self.begun = False
        self.valve: Valve | None = None

    async def send(self, message: Message) -> None:
        """Pass on, then wait for room."""
        self.begun = True
        if message["type"] == "http.response.body":
            self.watch(message.get("more_body", False))
        await self.pass_on(message)
        if self.valve:
            await self.valve.passed()

    def watch(self, more: bool) -> None:
        """From the first piece until the last; a connection that is lost has no channel."""
        if more and self.valve is None and self.request.channel is not None:
            self.valve = Valve(self.request)
            self.request.registerProducer(self.valve, True)
        elif not more and self.valve:
            self.valve = None
            if self.request.channel is not None:
                self.request.unregisterProducer()


def _socket(protocol: Any, send: Send) -> Send:
    """The frames of a WebSocket. Its transport still has the HTTP channel as its producer, which is done."""
    valve: Valve | None = None

    async def pass_on(message: Message) -> None:
        nonlocal valve
        if valve is None and message["type"] == "websocket.send":
            transport = protocol.transport
            valve = Valve(transport)
            transport.unregisterProducer()
            transport.registerProducer(valve, True)
        if message["type"] == "websocket.close" and valve:
            protocol.transport.unregisterProducer()
        await send(message)
        if valve and message["type"] == "websocket.send":
            await valve.passed()

    return pass_on
