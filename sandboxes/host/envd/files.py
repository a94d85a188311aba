"""`/files`: download (ranges, gzip) and upload (octet-stream, multipart, gzip), each also by a signed URL."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH103, PTH112, PTH116, PTH119, PTH120, PTH123

import asyncio
import base64
import errno
import hashlib
import hmac
import mimetypes
import os
import re
import stat
import time
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any, BinaryIO

from . import users
from .entries import BadMetadata, metadata_of, write_metadata
from .multipart import Parts, parameter
from .users import Identity, User
from .wire import READ_SIZE, Body, Exchange, HttpError, Request

# The caller's path is at fault. ENXIO: a pipe that nobody reads.
_UNFIT = (
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EROFS,
    errno.ETXTBSY,
    errno.ENXIO,
)
_SECONDS = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


# Who may


def same(given: str, wanted: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def authorize(request: Request, identity: Identity, operation: str) -> None:
    """By the access token's header, or else by the URL's signature; HttpError 401 with envd's texts."""
    token = identity.access_token
    if token is None:
        return
    given = request.headers.get("x-access-token")
    if given is None:
        _check_signature(request.query, token, operation)
    elif not same(given, token):
        raise HttpError(401, "access token present in header but does not match")


def _check_signature(query: dict[str, str], token: str, operation: str) -> None:
    signature, expiry = query.get("signature"), query.get("signature_expiration")
    if signature is None:
        raise HttpError(401, "missing signature query parameter")
    fields = [
        query.get("path", ""),
        operation,
        query.get("username", ""),
        token,
        *([expiry] if expiry is not None else []),
    ]
    digest = hashlib.sha256(":".join(fields).encode()).digest()
    if not same(signature, "v1_" + base64.b64encode(digest).rstrip(b"=").decode()):
        raise HttpError(401, "invalid signature")
    if expiry is not None and (not _SECONDS.fullmatch(expiry) or int(expiry) < int(time.time())):
        raise HttpError(401, "signature is already expired")


def _user(request: Request, identity: Identity) -> User:
    try:
        return users.find(request.query.get("username") or users.basic_name(request.headers), identity)
    except users.UnknownUser as error:
        raise HttpError(401, str(error)) from None


def _resolve(path: str, user: User, identity: Identity) -> str:
    try:
        return users.resolve(path, user, identity)
    except users.BadPath as error:
        raise HttpError(400, str(error)) from None


def _refusal(error: OSError, path: str) -> HttpError:
    if isinstance(error, FileNotFoundError):
        return HttpError(404, f"path '{path}' does not exist")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HttpError(507, "not enough disk space available")
    if error.errno in _UNFIT:
        return HttpError(400, f"path '{path}' cannot be used: {error.strerror}")
    return HttpError(500, f"path '{path}' failed: {error.strerror}")


# Download


async def download(exchange: Exchange, identity: Identity) -> None:
    request = exchange.request
    authorize(request, identity, "read")
    path = _resolve(request.query.get("path", ""), _user(request, identity), identity)
    try:
        file = _open_regular(path)
    except OSError as error:
        raise _refusal(error, path) from None
    with file:
        await _send_file(exchange, file, path)


def _open_regular(path: str) -> BinaryIO:
    """Never a pipe or a device, which could block or have no end."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise HttpError(400, f"path '{path}' is a directory")
    if not stat.S_ISREG(mode):
        raise HttpError(400, f"path '{path}' is not a regular file")
    return open(path, "rb", buffering=0)


async def _send_file(exchange: Exchange, file: BinaryIO, path: str) -> None:
    info = os.fstat(file.fileno())
    headers = {
        "content-type": mimetypes.guess_type(path)[0] or "application/octet-stream",
        "last-modified": formatdate(info.st_mtime, usegmt=True),
        "vary": "Accept-Encoding",
    }
    wants_gzip = exchange.request.headers.get("accept-encoding", "").strip().lower() == "gzip"
    if "range" in exchange.request.headers:
        await _send_range(exchange, file, info.st_size, headers)
    elif wants_gzip:
        # Only for who asks for nothing else: on a loopback, compressing costs more than it saves.
        await _send_pieces(exchange, file, headers | {"content-encoding": "gzip"}, zlib.compressobj(wbits=31))
    elif info.st_size == 0:
        await _send_pieces(exchange, file, headers, None)  # files of /proc say 0 and have content
    else:
        await _send_span(exchange, file, 200, headers, 0, info.st_size)


async def _send_span(
    exchange: Exchange, file: BinaryIO, status: int, headers: dict[str, str], start: int, size: int
) -> None:
    exchange.begin(status, headers | {"content-length": str(size), "accept-ranges": "bytes"})
    await exchange.writer.drain()
    if exchange.request.method != "HEAD":
        sent = await asyncio.get_running_loop().sendfile(exchange.writer.transport, file, start, size)
        if sent < size:  # it shrank meanwhile: the promise cannot be kept, so the client must see a broken answer
            exchange.keep = False
    await exchange.finish()


async def _send_range(exchange: Exchange, file: BinaryIO, size: int, headers: dict[str, str]) -> None:
    span = _span(exchange.request.headers["range"], size)
    if span is None:
        await exchange.answer(416, b"", {"content-range": f"bytes */{size}"})
        return
    start, end = span
    headers["content-range"] = f"bytes {start}-{end}/{size}"
    await _send_span(exchange, file, 206, headers, start, end - start + 1)


def _span(value: str, size: int) -> tuple[int, int] | None:
    """(first, last) byte of a single range within `size`, None when it cannot be met."""
    match = _RANGE.fullmatch(value.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    return (start, end) if start <= end else None


async def _send_pieces(exchange: Exchange, file: BinaryIO, headers: dict[str, str], packer: Any) -> None:
    exchange.begin(200, headers)
    while data := file.read(READ_SIZE):
        if packer is not None:
            data = packer.compress(data)
        if data:
            await exchange.send(data)
    if packer is not None:
        await exchange.send(packer.flush())
    await exchange.finish()


# Upload


async def upload(exchange: Exchange, identity: Identity) -> None:
    """Answers the list of written files; each is replaced with its parents made (0755) and its metadata set anew."""
    request = exchange.request
    authorize(request, identity, "write")
    user = _user(request, identity)
    try:
        metadata = metadata_of(request.headers)
        written = await _write_all(request, user, identity, metadata)
    except BadMetadata as error:
        raise HttpError(400, str(error)) from None
    await exchange.answer_json(200, [_written(path, metadata) for path in written])


def _written(path: str, metadata: dict[str, str]) -> dict[str, Any]:
    info: dict[str, Any] = {"path": path, "name": os.path.basename(path), "type": "file"}
    return info | ({"metadata": metadata} if metadata else {})


async def _write_all(request: Request, user: User, identity: Identity, metadata: dict[str, str]) -> list[str]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    source = _Source(request.body, request.headers.get("content-encoding", ""))
    path = request.query.get("path")
    if kind == "application/octet-stream":
        if not path:
            raise HttpError(400, "path query parameter is required for raw body upload")
        target = _resolve(path, user, identity)
        await _write(target, user, metadata, source.pieces())
        return [target]
    if kind.startswith("multipart/"):
        parts = Parts(source.read, request.headers["content-type"])
        return await _write_parts(parts, path, user, identity, metadata)
    raise HttpError(
        400, f"unsupported content type: {kind or '(none)'}, expected multipart/form-data or application/octet-stream"
    )


async def _write_parts(
    parts: Parts, path: str | None, user: User, identity: Identity, metadata: dict[str, str]
) -> list[str]:
    written: list[str] = []
    while (headers := await parts.next()) is not None:
        disposition = headers.get("content-disposition", "")
        if parameter(disposition, "name") != "file":
            continue
        target = _resolve(path or parameter(disposition, "filename") or "", user, identity)
        if target in written:
            raise HttpError(
                400,
                f"you cannot upload multiple files to the same path '{target}' at once, only the first was written",
            )
        await _write(target, user, metadata, parts.content())
        written.append(target)
    return written


async def _write(path: str, user: User, metadata: dict[str, str], pieces: AsyncIterator[bytes]) -> None:
    try:
        fd = _open_target(path, user, metadata)
        try:
            await _fill(fd, pieces)
        finally:
            os.close(fd)
    except OSError as error:
        raise _refusal(error, path) from None


def _open_target(path: str, user: User, metadata: dict[str, str]) -> int:
    """Without an await inside, so that a watcher sees one CREATE and one CHMOD (equal events in a row are merged)."""
    if os.path.isdir(path):
        raise HttpError(400, f"path is a directory: {path}")
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    # O_NONBLOCK: opening a pipe that nobody reads must fail instead of stopping the daemon.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise HttpError(400, f"path '{path}' is not a regular file")
        os.fchown(fd, user.uid, user.gid)
        write_metadata(fd, metadata)
    except BaseException:
        os.close(fd)
        raise
    return fd


async def _fill(fd: int, pieces: AsyncIterator[bytes]) -> None:
    """Written in blocks of READ_SIZE: a small file is one write and therefore one WRITE event."""
    block = bytearray()
    async for piece in pieces:
        block += piece
        if len(block) >= READ_SIZE:
            _write_block(fd, block)
            block = bytearray()
    _write_block(fd, block)


def _write_block(fd: int, block: bytearray) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


class _Source:
    """An upload's body, unpacked when it is gzip; never more than READ_SIZE bytes at once."""

    def __init__(self, body: Body, encoding: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise HttpError(400, f"content encoding '{encoding}' is not supported, send gzip or none")
        self._body = body
        self._unpacker = zlib.decompressobj(wbits=31) if encoding == "gzip" else None

    async def read(self, limit: int = READ_SIZE) -> bytes:
        if self._unpacker is None:
            return await self._body.read(limit)
        try:
            return await self._unpack(self._unpacker, limit)
        except zlib.error as error:
            raise HttpError(400, f"error decompressing request body: {error}") from None

    async def _unpack(self, unpacker: Any, limit: int) -> bytes:
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or await self._body.read()
            data: bytes = unpacker.decompress(packed, limit)
            if data:
                return data
            if not packed:
                raise HttpError(400, "error decompressing request body: it ends too early")
        return b""

    async def pieces(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data
