"""From a process's pipes to whoever listens.

Every event is encoded once and queued for each subscriber. A queue holds about `QUEUE_LIMIT` bytes: while one is
full, the process's pipes are not read, so a slow reader slows the process down, as with a real pipe. A subscriber that
takes nothing for `STALL_SECONDS` while it holds the process up is cut off, so nobody blocks a process for ever.
With no subscriber the output is read and dropped.
"""

import asyncio
import binascii
import errno
import fcntl
import json
import os
import struct
import termios
from collections.abc import Callable
from typing import Any

from .connect import RpcError, envelope

PIPE_CHUNK = 32 * 1024
PTY_CHUNK = 16 * 1024
READS_PER_WAKE = 8
QUEUE_LIMIT = 1024 * 1024
STALL_SECONDS = 30.0
PTY_FLUSH_LIMIT = 1024 * 1024

KEEPALIVE = envelope(b'{"event":{"keepalive":{}}}')


def event(name: str, value: dict[str, Any]) -> bytes:
    """A ProcessEvent in the envelope that Start and Connect share."""
    return envelope(json.dumps({"event": {name: value}}).encode())


def data_event(kind: str, data: bytes) -> bytes:
    """`kind` is stdout, stderr or pty. Written by hand: this is the path every byte of output takes."""
    text = binascii.b2a_base64(data, newline=False)
    return envelope(b'{"event":{"data":{"%b":"%b"}}}' % (kind.encode(), text))


class Subscriber:
    """One stream's queue of encoded events."""

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._items: list[bytes] = []
        self._size = 0
        self._wake = asyncio.Event()
        self._on_room = on_room
        self._failure: RpcError | None = None
        self._ended = False

    @property
    def full(self) -> bool:
        return self._size >= QUEUE_LIMIT

    def put(self, item: bytes) -> None:
        if not self._ended:
            self._items.append(item)
            self._size += len(item)
            self._wake.set()

    def end(self, failure: RpcError | None = None) -> None:
        """Nothing follows; with a failure the stream ends in that error once the queue is read."""
        self._ended, self._failure = True, failure
        self._wake.set()

    def cut(self) -> None:
        """Drop what was not taken and end: this reader stood still for too long."""
        self._items, self._size = [], 0
        self.end(
            RpcError(
                "aborted",
                f"nothing was read for {STALL_SECONDS:.0f} s, so the rest of the output was dropped; connect again",
            )
        )

    async def take(self, seconds: float) -> list[bytes] | None:
        """All that is queued, a keepalive after that many silent seconds, None at the end."""
        if not self._items and not self._ended:
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                return [KEEPALIVE]
        self._wake.clear()
        if self._items:
            return self._empty()
        if self._failure:
            raise self._failure
        return None

    def _empty(self) -> list[bytes]:
        batch = self._items
        was_full = self.full
        self._items, self._size = [], 0
        if was_full:
            self._on_room()
        return batch


class Source:
    """One readable end (pipe or PTY master) of a process; gives chunks to `publish` until its end and closes itself."""

    def __init__(self, fd: int, kind: str, publish: Callable[[str, bytes], None], on_end: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._kind = kind
        self._chunk = PTY_CHUNK if kind == "pty" else PIPE_CHUNK
        self._publish = publish
        self._on_end = on_end
        self._reading = False
        self.ended = False

    def resume(self) -> None:
        if not self._reading and not self.ended:
            self._reading = True
            asyncio.get_running_loop().add_reader(self.fd, self._readable)

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self.fd)

    def _readable(self) -> None:
        for _ in range(READS_PER_WAKE):
            if not self._reading or not self._read_once(self._chunk):
                return

    def _read_once(self, size: int) -> int:
        """Bytes read; 0 when there is nothing now, or never again."""
        try:
            data = os.read(self.fd, size)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # EIO is how a PTY says that its other side is closed
                raise
            data = b""
        if data:
            self._publish(self._kind, data)
        else:
            self.close()
        return len(data)

    def drain(self) -> None:
        """Publish what the process left behind, bounded by what is there now: its children may go on writing."""
        left = PTY_FLUSH_LIMIT if self._kind == "pty" else self._waiting()
        while left > 0 and not self.ended and (count := self._read_once(min(left, self._chunk))):
            left -= count

    def _waiting(self) -> int:
        if self.ended:
            return 0
        size: int = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        return size

    def close(self) -> None:
        if not self.ended:
            self.pause()
            self.ended = True
            self._on_end()  # before the number is free again: a writer may be registered for it
            os.close(self.fd)
