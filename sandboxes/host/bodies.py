"""Where the body of a request ends, so that the next head on the connection is found (RFC 9112, 6 and 7)."""

import re

from .heads import BadHead, Head

LONGEST_LINE = 8 * 1024
LENGTH = re.compile(r"[0-9]{1,18}")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;.*)?")


class Body:
    """Told the bytes that follow a head, it says how many of them are the body's; `done` at its end."""

    def __init__(self, head: Head) -> None:
        """Raises BadHead when the head leaves open how long the body is."""
        coding, length = head.get("transfer-encoding").lower(), head.get("content-length")
        if coding and (coding != "chunked" or length):
            raise BadHead("the body is neither chunked alone nor of one Content-Length")
        if length and not LENGTH.fullmatch(length):
            raise BadHead("Content-Length is not a number")
        self.chunked = bool(coding)
        self.left = int(length or 0)
        self.line = b""
        self.trailer = False
        self.done = not self.chunked and not self.left

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body; raises BadHead for chunks that are none."""
        at = 0
        while at < len(data) and not self.done:
            at = self.pass_on(data, at) if self.left else self.read_line(data, at)
        return at

    def pass_on(self, data: bytes, at: int) -> int:
        passed = min(self.left, len(data) - at)
        self.left -= passed
        self.done = not self.left and not self.chunked
        return at + passed

    def read_line(self, data: bytes, at: int) -> int:
        """Through the end of a line between chunks, or all there is of it."""
        end = data.find(b"\n", at) + 1
        self.line += data[at : end or len(data)]
        if len(self.line) > LONGEST_LINE:
            raise BadHead("a line between the chunks is longer than 8 KiB")
        if end:
            line, self.line = self.line.rstrip(b"\r\n"), b""
            self.understand(line)
        return end or len(data)

    def understand(self, line: bytes) -> None:
        """A chunk's size, or a line of what follows the last chunk."""
        if self.trailer:
            self.done = not line
            return
        found = CHUNK.fullmatch(line)
        if not found:
            raise BadHead("a chunk has no size")
        size = int(found[1], 16)
        self.trailer = not size
        self.left = size + len(b"\r\n") if size else 0
