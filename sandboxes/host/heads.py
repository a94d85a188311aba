"""Request heads of HTTP/1.1 as bytes: found, read, rewritten, without touching the body."""

from dataclasses import dataclass

LONGEST_HEAD = 64 * 1024
END = b"\r\n\r\n"


class BadHead(Exception):
    """The bytes are no HTTP request; the text says what is wrong."""


@dataclass
class Head:
    """Method, target and headers of a request, in the order and case they came in."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def without(self, names: tuple[str, ...]) -> "Head":
        kept = [(key, value) for key, value in self.headers if key.lower() not in names]
        return Head(self.method, self.target, kept)

    def adding(self, name: str, value: str) -> "Head":
        return Head(self.method, self.target, [*self.without((name.lower(),)).headers, (name, value)])

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def wants_upgrade(self) -> bool:
        return "upgrade" in self.get("connection").lower()

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{key}: {value}" for key, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + END


def split_head(data: bytes) -> tuple[Head, bytes] | None:
    """Head and what follows it; None while it is incomplete.

    Raises BadHead for what is no HTTP/1.x request or has a head over 64 KiB.
    """
    end = data.find(END)
    if end < 0:
        if len(data) > LONGEST_HEAD:
            raise BadHead("the request's head is longer than 64 KiB")
        return None
    return parse_head(data[:end]), data[end + len(END) :]


def parse_head(data: bytes) -> Head:
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadHead("the request line is not METHOD TARGET HTTP/1.1")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadHead("a header line is not NAME: VALUE")
        headers.append((name, value.strip()))
    return Head(words[0], words[1], headers)
