"""The Connect protocol with the JSON codec: unary calls, server streams, client streams and their errors.

Format: https://connectrpc.com/docs/protocol. A stream's message is a 5-byte envelope (flags, big-endian length) and
JSON; flag 2 marks the last one, `{}` or `{"error": {"code", "message"}}`.
"""

import asyncio
import errno
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .users import Identity
from .wire import Exchange, HttpError

MAX_MESSAGE = 64 * 1024 * 1024
END_OF_STREAM = 2
STREAM_TYPE = "application/connect+json"
DEFAULT_PING_SECONDS = 90.0

HTTP_STATUS = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}

Message = dict[str, Any]


class RpcError(Exception):
    """A call's failure: one of the Connect codes and a sentence for the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def as_json(self) -> Message:
        return {"code": self.code, "message": self.message}


def from_oserror(error: OSError, doing: str) -> RpcError:
    """The Connect code that fits a failed system call; `doing` says what was tried."""
    text = f"{doing}: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        return RpcError("not_found", text)
    if isinstance(error, PermissionError):
        return RpcError("permission_denied", text)
    if isinstance(error, (NotADirectoryError, IsADirectoryError, FileExistsError)) or error.errno == errno.ENAMETOOLONG:
        return RpcError("invalid_argument", text)
    if error.errno == errno.ELOOP:
        return RpcError("failed_precondition", text)
    return RpcError("internal", text)


def envelope(payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(payload)) + payload


@dataclass(slots=True)
class Call:
    """A unary call or the opening of a server stream."""

    message: Message
    headers: dict[str, str]
    identity: Identity

    @property
    def deadline(self) -> float | None:
        """Seconds the caller allows, None for no limit."""
        return deadline(self.headers)

    @property
    def ping_seconds(self) -> float:
        """Seconds of silence after which a stream sends a keepalive."""
        text = self.headers.get("keepalive-ping-interval", "")
        return float(text) if text.isascii() and text.isdigit() and int(text) else DEFAULT_PING_SECONDS

    def text(self, name: str) -> str:
        """A string field; absent means empty, as protobuf has it."""
        value = self.message.get(name, "")
        if not isinstance(value, str):
            raise RpcError("invalid_argument", f"{name} must be a string")
        return value


def deadline(headers: dict[str, str]) -> float | None:
    text = headers.get("connect-timeout-ms", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise RpcError("invalid_argument", "connect-timeout-ms must be a whole number of at most 10 digits")
    return int(text) / 1000 or None


Unary = Callable[[Call], Awaitable[Message]]


class Send(Protocol):
    """Sends envelopes; waits while the client reads slowly."""

    def __call__(self, *pieces: bytes) -> Awaitable[None]: ...


ServerStream = Callable[[Call, Send], Awaitable[None]]
ClientStream = Callable[[AsyncIterator[Message], Identity], Awaitable[Message]]


def _parse(data: bytes) -> Message:
    try:
        message = json.loads(data or b"{}")
    except ValueError as error:
        raise RpcError("invalid_argument", f"the message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise RpcError("invalid_argument", "the message must be a JSON object")
    return message


def _require_type(exchange: Exchange, wanted: str) -> None:
    given = exchange.request.headers.get("content-type", "").split(";")[0].strip().lower()
    if given != wanted:
        raise HttpError(415, f"content-type {given or '(none)'} is not supported here, send {wanted}")


async def serve_unary(exchange: Exchange, identity: Identity, method: Unary) -> None:
    _require_type(exchange, "application/json")
    request = exchange.request
    try:
        async with asyncio.timeout(deadline(request.headers)):
            call = Call(_parse(await request.body.all(MAX_MESSAGE)), request.headers, identity)
            result = await method(call)
    except RpcError as error:
        await exchange.answer_json(HTTP_STATUS[error.code], error.as_json())
    except TimeoutError:
        await exchange.answer_json(
            504, RpcError("deadline_exceeded", "the call took longer than its deadline").as_json()
        )
    else:
        await exchange.answer_json(200, result)


async def serve_stream(exchange: Exchange, identity: Identity, method: ServerStream) -> None:
    """One message in, many out; `method` keeps its own deadline."""
    _require_type(exchange, STREAM_TYPE)
    failure: RpcError | None = None
    try:
        call = Call(await _only_message(exchange), exchange.request.headers, identity)
        _begin(exchange)
        await method(call, exchange.send)
    except RpcError as error:
        failure = error
    await _end(exchange, failure)


async def serve_client_stream(exchange: Exchange, identity: Identity, method: ClientStream) -> None:
    """Many messages in, one out."""
    _require_type(exchange, STREAM_TYPE)
    failure: RpcError | None = None
    try:
        async with asyncio.timeout(deadline(exchange.request.headers)):
            result = await method(_messages(exchange), identity)
        _begin(exchange)
        await exchange.send(envelope(json.dumps(result).encode()))
    except RpcError as error:
        failure = error
    except TimeoutError:
        failure = RpcError("deadline_exceeded", "the stream took longer than its deadline")
    await _end(exchange, failure)


def _begin(exchange: Exchange) -> None:
    """Only once the request was read: the SDK's HTTP client stops sending its body when it sees an answer begin."""
    exchange.begin(200, {"content-type": STREAM_TYPE})


async def _only_message(exchange: Exchange) -> Message:
    message = await _read_message(exchange)
    if message is None:
        raise RpcError("invalid_argument", "the request carries no message")
    return message


async def _end(exchange: Exchange, failure: RpcError | None) -> None:
    if not exchange.started:
        _begin(exchange)
    last = {"error": failure.as_json()} if failure else {}
    await exchange.send(envelope(json.dumps(last).encode(), END_OF_STREAM))
    await exchange.finish()


async def _messages(exchange: Exchange) -> AsyncIterator[Message]:
    while (message := await _read_message(exchange)) is not None:
        yield message


async def _read_message(exchange: Exchange) -> Message | None:
    body = exchange.request.body
    head = await body.fill(5)
    if not head:
        return None
    if len(head) < 5:
        raise RpcError("invalid_argument", "the stream ends inside an envelope")
    flags, size = struct.unpack(">BI", head)
    if flags & END_OF_STREAM:
        return None
    if flags or size > MAX_MESSAGE:
        raise RpcError("invalid_argument", f"a message must be uncompressed and at most {MAX_MESSAGE} bytes")
    payload = await body.fill(size)
    if len(payload) < size:
        raise RpcError("invalid_argument", "the stream ends inside a message")
    return _parse(payload)
