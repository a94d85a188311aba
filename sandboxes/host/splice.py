"""Bytes from one connection to another, with the slower side setting the pace."""

import asyncio
from collections.abc import Callable
from typing import cast


class Pipe(asyncio.Protocol):
    """One side of a pair: what arrives here is written to `peer`.

    Flow control runs backwards: when the peer's buffer is full, reading stops here.
    `closed` is called once, when this side's connection has ended.
    """

    transport: asyncio.Transport  # from connection_made on

    def __init__(self, closed: Callable[[], None] | None = None) -> None:
        self.peer: Pipe | None = None
        self.waiting: list[bytes] = []
        self.ended = False
        self.closed = closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def join(self, peer: "Pipe") -> None:
        """Make the two a pair and pass on what came before."""
        self.peer, peer.peer = peer, self
        for side in (self, peer):
            side.flush()

    def flush(self) -> None:
        chunks, self.waiting = self.waiting, []
        for chunk in chunks:
            self.data_received(chunk)
        if self.ended:
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        if self.peer:
            self.peer.transport.write(data)
        else:
            self.waiting.append(data)

    def eof_received(self) -> bool:
        """Pass a half-close on and keep the other direction open."""
        if self.peer and self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
            return True
        return False

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        if self.closed:
            self.closed()
            self.closed = None
        if self.peer:
            self.peer.transport.close()
