"""HTTP/1.1 for one connection: read a request's head, hand out its body piece by piece, write the answer.

Only what the SDK, browsers and the host's router send: content-length and chunked bodies, keep-alive, `Expect`,
`Upgrade`. A client that goes away cancels the task that serves it, so handlers clean up in `finally`.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_HEAD = 64 * 1024
READ_SIZE = 256 * 1024
MAX_LEFTOVER = 1024 * 1024

_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_LENGTH = re.compile(r"[0-9]{1,18}")


class HttpError(Exception):
    """A refusal in envd's own form: `{"code": status, "message": text}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Body:
    """A request's body; `read` returns at most `limit` bytes and `b""` at its end."""

    def __init__(self, reader: asyncio.StreamReader, length: int | None, go_ahead: Callable[[], None] | None) -> None:
        self._reader = reader
        self._chunked = length is None
        self._left = length or 0
        self._go_ahead = go_ahead
        self._broken = False
        self.ended = length == 0

    async def read(self, limit: int = READ_SIZE) -> bytes:
        if self._go_ahead is not None:
            self._go_ahead()
            self._go_ahead = None
        if self._chunked and not self._left and not self.ended:
            await self._next_chunk()
        if self.ended:
            return b""
        return await self._take(min(limit, self._left))

    async def _take(self, limit: int) -> bytes:
        data = await self._reader.read(limit)
        if not data:
            raise ConnectionResetError("the client left before its body was complete")
        self._left -= len(data)
        if not self._left:
            await self._end_of_piece()
        return data

    async def _end_of_piece(self) -> None:
        if self._chunked:
            if await self._line():
                raise self._malformed("a chunk of the body is longer than its size")
        else:
            self.ended = True

    async def _next_chunk(self) -> None:
        size = (await self._line()).split(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise self._malformed("a chunk of the body has no valid size")
        self._left = int(size, 16)
        if self._left == 0:
            while await self._line():
                continue  # trailers
            self.ended = True

    async def _line(self) -> bytes:
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except asyncio.LimitOverrunError:
            raise self._malformed("a line between the chunks of the body is too long") from None
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("the client left before its body was complete") from None

    def _malformed(self, message: str) -> HttpError:
        self._broken = True
        return HttpError(400, message)

    async def fill(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer when the body ends before."""
        parts: list[bytes] = []
        while size and (part := await self.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    async def all(self, limit: int) -> bytes:
        """The whole body; HttpError 413 when it is longer than `limit` bytes."""
        data = await self.fill(limit + 1)
        if len(data) > limit:
            raise HttpError(413, f"the request is larger than {limit} bytes")
        return data

    async def discard(self) -> bool:
        """Read on to the end of the body; False when too much is left, or where it ends can't be told."""
        if self._go_ahead is not None or self._broken:
            return self.ended
        left = MAX_LEFTOVER
        while left > 0 and not self.ended:
            left -= len(await self.read())
        return self.ended


@dataclass(slots=True)
class Request:
    """One request; header names are lower case, repeated ones joined with a comma."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Body


class Exchange:
    """One request and the writing of its answer."""

    def __init__(
        self, request: Request, link: "Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.link = link
        self.reader = reader
        self.writer = writer
        self.started = False
        self.keep = "close" not in re.split(r"[\s,]+", request.headers.get("connection", "").lower())
        self._chunked = False

    async def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer in one write."""
        fields = dict(headers or {})
        if status >= 200 and status != 204:
            fields.setdefault("content-length", str(len(body)))
        self._head(status, fields)
        if body and self.request.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()

    async def answer_json(self, status: int, value: Any) -> None:
        await self.answer(status, json.dumps(value).encode(), {"content-type": "application/json"})

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Open an answer; without a content-length it is chunked."""
        fields = dict(headers)
        self._chunked = "content-length" not in fields and status >= 200
        if self._chunked:
            fields["transfer-encoding"] = "chunked"
        self._head(status, fields)

    async def send(self, *pieces: bytes) -> None:
        """More of a begun answer; waits while the client reads slowly.

        Not by `writelines`: before Python 3.12.9 and 3.13.2 it never waits (CVE-2024-12254).
        """
        if self._chunked:
            pieces = (b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n")
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def finish(self) -> None:
        if self._chunked:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def _head(self, status: int, fields: Mapping[str, str]) -> None:
        self.started = True
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if not self.keep:
            lines.append("connection: close")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))


Handler = Callable[[Exchange], Awaitable[None]]


class Link(asyncio.StreamReaderProtocol):
    """One connection. Its task is cancelled when the client leaves; an upgraded one may be `half_open`."""

    def __init__(self, handle: Handler) -> None:
        reader = asyncio.StreamReader(limit=MAX_HEAD)
        super().__init__(reader, self._connected)
        self._handle = handle
        self._serving: asyncio.Task[None] | None = None
        self.half_open = False

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving = asyncio.get_running_loop().create_task(_serve(reader, writer, self))

    async def handle(self, exchange: Exchange) -> None:
        await self._handle(exchange)

    def eof_received(self) -> bool:
        super().eof_received()
        if not self.half_open:
            self._leave()
        return self.half_open

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def _leave(self) -> None:
        if self._serving is not None:
            self._serving.cancel()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
    try:
        while await _serve_one(reader, writer, link):
            continue
    except (OSError, asyncio.IncompleteReadError, HttpError):
        return  # the client has gone, or what it goes on to send has no end: it was answered before
    finally:
        writer.close()


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> bool:
    """Serve the next request; False when the connection must end."""
    try:
        request = await _read_request(reader, writer)
    except (HttpError, asyncio.LimitOverrunError) as error:
        await _refuse_head(writer, error)
        return False
    exchange = Exchange(request, link, reader, writer)
    await link.handle(exchange)
    # Also where the connection ends after it: a client that is still writing into a closed one never sees the answer.
    read = await request.body.discard()
    return exchange.keep and read


async def _refuse_head(writer: asyncio.StreamWriter, error: Exception) -> None:
    """Answer a head that cannot be understood; the connection ends after it."""
    status, text = (
        (error.status, error.message) if isinstance(error, HttpError) else (431, "the request's head is too large")
    )
    body = json.dumps({"code": status, "message": text}).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    try:
        method, target, version = first.split(" ")
        parts = urlsplit(target)
    except ValueError:
        raise HttpError(400, "the request line is not HTTP") from None
    if version != "HTTP/1.1":
        raise HttpError(505, "only HTTP/1.1 is spoken here")
    headers = _headers(lines)
    body = Body(reader, _length(headers), _go_ahead(headers, writer))
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(400, "a header line is malformed")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _length(headers: Mapping[str, str]) -> int | None:
    """Bytes of the body, None for chunked. Both at once is refused: two readers could disagree where a request ends."""
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in headers:
            raise HttpError(400, "the body must be either chunked or have a content-length")
        return None
    text = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(text):
        raise HttpError(400, "content-length is not a number of bytes")
    return int(text)


def _go_ahead(headers: Mapping[str, str], writer: asyncio.StreamWriter) -> Callable[[], None] | None:
    if headers.get("expect", "").lower() != "100-continue":
        return None
    return lambda: writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
