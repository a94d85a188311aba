"""Reading multipart/form-data piece by piece, so that an upload never has to fit into memory (RFC 7578)."""

from collections.abc import AsyncIterator, Awaitable, Callable

from .wire import MAX_HEAD, READ_SIZE, HttpError

Read = Callable[[int], Awaitable[bytes]]


def parameter(value: str, name: str) -> str | None:
    """`name="..."` of a header value. File names come as raw UTF-8, with quotes escaped by backslash or as %22."""
    rest = value
    while ";" in rest:
        rest = rest.partition(";")[2].lstrip()
        key, equals, tail = rest.partition("=")
        if not equals:
            return None
        text, rest = _quoted(tail) if tail.startswith('"') else (tail.partition(";")[0].strip(), tail)
        if key.strip().lower() == name:
            return text
    return None


def _quoted(tail: str) -> tuple[str, str]:
    """(the text of a quoted string, what follows it)."""
    text, at = "", 1
    while at < len(tail) and tail[at] != '"':
        if tail[at] == "\\" and tail[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        text += tail[at]
        at += 1
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n"), tail[at + 1 :]


class Parts:
    """Walks a form's parts: `await next()` gives a part's headers (lower-case names) or None, `content` its bytes."""

    def __init__(self, read: Read, content_type: str) -> None:
        boundary = parameter(content_type, "boundary")
        if not boundary:
            raise HttpError(400, "the multipart body's content-type names no boundary")
        self._mark = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._read = read
        self._data = b"\r\n"  # so that the first boundary looks like all others
        self._in_part = True

    async def next(self) -> dict[str, str] | None:
        async for _ in self.content():
            continue  # the rest of a part that nobody wanted
        if await self._exactly(2) == b"--":
            return None
        self._data = b"\r\n" + self._data  # an empty header block ends at once
        head = await self._until(b"\r\n\r\n")
        self._in_part = True
        return _fields(head.decode("utf-8", "replace"))

    async def content(self) -> AsyncIterator[bytes]:
        """The current part's bytes, up to its boundary."""
        while self._in_part:
            at = self._data.find(self._mark)
            if at >= 0:
                piece, self._data = self._data[:at], self._data[at + len(self._mark) :]
                self._in_part = False
            else:
                keep = len(self._mark) - 1
                piece, self._data = self._data[:-keep], self._data[-keep:]
                await self._more()
            if piece:
                yield piece

    async def _more(self) -> None:
        data = await self._read(READ_SIZE)
        if not data:
            raise HttpError(400, "the multipart body ends before its last boundary")
        self._data += data

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._data.find(mark)) < 0:
            if len(self._data) > MAX_HEAD:
                raise HttpError(400, "the headers of a part are too large")
            await self._more()
        taken, self._data = self._data[:at], self._data[at + len(mark) :]
        return taken


def _fields(head: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.split("\r\n") if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
