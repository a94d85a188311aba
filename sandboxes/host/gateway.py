"""The way from a sandbox to model endpoints: an HTTP server on a unix socket in its run folder.

A request for `/<scheme>/<host:port>/<path>` goes to that host, encrypted for https, with the headers
that the sandbox's rules add for it: a key is used in a sandbox that never holds it. Each connection of
a program has one of its own to the endpoint, kept for further requests. Only the heads of requests are
read and changed; bodies, answers and upgraded connections pass as they come.
"""

import asyncio
import json
import re
import urllib.parse
from dataclasses import dataclass

from .bodies import Body
from .egress import CONNECT_SECONDS, Egress, Visitor, connect, host_of
from .heads import BadHead, Head, split_head
from .policy import Address, Denied, judge, parse_address, require_endpoint, require_privacy
from .splice import Pipe

TARGET = re.compile(r"/(?P<scheme>https?)/(?P<authority>[^/?#@]+)(?P<path>[/?][^#]*)?")
HOPS = ("connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "host")
KEPT_TOKENS = {"close", "upgrade"}
SWITCHED = b"HTTP/1.1 101"
# How long a refused client may go on sending what it had begun.
LINGER_SECONDS = 5.0


@dataclass(frozen=True)
class Origin:
    """An endpoint's server."""

    secure: bool
    host: str
    port: int

    @property
    def name(self) -> str:
        """As it stands in a Host header: the port only where it isn't the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def read_target(target: str) -> tuple[Origin, str]:
    """Where a request is to go, and what to ask for there; raises BadHead or ValueError."""
    found = TARGET.fullmatch(target)
    if not found:
        raise BadHead("ask for /https/HOST:PORT/PATH, or for /http/HOST:PORT/PATH at a private address")
    secure = found["scheme"] == "https"
    parsed = urllib.parse.urlsplit(f"//{found['authority']}")
    path = found["path"] or "/"
    origin = Origin(secure, host_of(parsed.hostname), parsed.port or (443 if secure else 80))
    return origin, path if path.startswith("/") else f"/{path}"


def outgoing(head: Head, origin: Origin, path: str) -> Head:
    """The request as the endpoint is to see it, without what concerns the connection to us alone."""
    tokens = {token.strip().lower() for token in head.get("connection").split(",")}
    kept = head.without((*HOPS, *(tokens - KEPT_TOKENS))).headers
    passed = ", ".join(sorted(tokens & KEPT_TOKENS))
    return Head(head.method, path, [("Host", origin.name), *kept, *([("Connection", passed)] if passed else [])])


class Upstream(Pipe):
    """The endpoint's side of a caller's connection."""

    def __init__(self, caller: "Caller") -> None:
        super().__init__()
        self.caller: Caller | None = caller
        self.start = b""

    @property
    def address(self) -> Address:
        found = parse_address(self.transport.get_extra_info("peername")[0])
        assert found is not None  # noqa: S101 (what the kernel says is an address)
        return found

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.caller and len(self.start) < len(SWITCHED):
            self.start += data[: len(SWITCHED)]
            if len(self.start) >= len(SWITCHED):
                self.caller.answered(self.start.startswith(SWITCHED))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.caller:
            self.caller.left_alone()
        super().connection_lost(error)

    def leave(self) -> None:
        """Close this side alone: the caller goes elsewhere."""
        self.caller = self.peer = None
        self.transport.abort()


class Caller(Visitor):
    """One connection of a program in the sandbox: request after request, each read as far as its end.

    A program that calls another endpoint on the same connection has had the answer to its last request:
    nobody pipelines through a gateway that it knows as one server.
    """

    def __init__(self, egress: Egress) -> None:
        super().__init__(egress)
        self.buffer = b""
        self.body: Body | None = None
        self.origin: Origin | None = None
        self.server: Upstream | None = None
        self.unanswered = self.switching = self.raw = self.refused = False

    def data_received(self, data: bytes) -> None:
        if self.raw and self.server:
            self.server.transport.write(data)
        elif not self.refused:
            self.buffer += data
            self.go_on()

    def eof_received(self) -> bool:
        """A program that sends no more has ended: an endpoint need not go on thinking for it."""
        return False

    @property
    def busy(self) -> bool:
        return bool(self.task) or self.switching or self.refused

    def go_on(self) -> None:
        """Pass on what has come, as far as it goes now."""
        try:
            while self.buffer and not self.busy and self.step():
                pass
        except (BadHead, ValueError) as error:
            self.refuse(400, f"The gateway does not understand this request: {error}.")
        except Denied as denied:
            self.refuse(403, str(denied))

    def step(self) -> bool:
        """One head, or a piece of a body; False when there is no whole head yet."""
        if self.body and self.server:
            taken = self.body.take(self.buffer)
            self.server.transport.write(self.buffer[:taken])
            self.buffer = self.buffer[taken:]
            self.body = None if self.body.done else self.body
            return True
        found = split_head(self.buffer)
        if found:
            head, self.buffer = found
            self.begin(head)
        return bool(found)

    def begin(self, head: Head) -> None:
        """Raises BadHead, ValueError or Denied."""
        origin, path = read_target(head.target)
        body = Body(head)
        self.body = None if body.done else body
        request = outgoing(head, origin, path)
        if self.server and self.origin == origin and not self.server.transport.is_closing():
            judge(self.egress.network, self.egress.openings, origin.host, origin.port, self.server.address)
            self.require(origin, [self.server.address])
            self.ask(self.server, origin, request)
            return
        if self.server:
            self.server.leave()
        self.server, self.origin = None, origin
        self.transport.pause_reading()
        self.task = asyncio.create_task(self.dial(origin, request))

    def require(self, origin: Origin, addresses: list[Address]) -> None:
        """Raise Denied unless the rules make an endpoint of it, and keys stay private on the way."""
        require_endpoint(self.egress.network, origin.host, origin.port, addresses)
        if not origin.secure:
            require_privacy(self.egress.network, origin.host, origin.port, addresses)

    async def dial(self, origin: Origin, request: Head) -> None:
        """Reach the endpoint, ask it, and go on with what has come meanwhile."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                addresses = await self.egress.judged(origin.host, origin.port)
                self.require(origin, addresses)
                name = origin.host if origin.secure else ""
                server = await connect(addresses, origin.port, lambda: Upstream(self), name)
        except Denied as denied:
            self.refuse(403, str(denied))
        except (OSError, UnicodeError) as error:
            self.refuse(502, f"{origin.name} cannot be reached: {error or 'no answer in time'}.")
        else:
            self.join_with(server, origin, request)

    def join_with(self, server: Upstream, origin: Origin, request: Head) -> None:
        if self.transport.is_closing():
            server.leave()
            return
        self.task, self.server = None, server
        self.peer, server.peer = server, self
        self.ask(server, origin, request)
        self.transport.resume_reading()
        self.go_on()

    def ask(self, server: Upstream, origin: Origin, request: Head) -> None:
        server.start, self.unanswered, self.switching = b"", True, request.wants_upgrade
        server.transport.write(self.egress.dress(request, origin.host, origin.port).encode())

    def answered(self, switched: bool) -> None:
        """The endpoint began to answer; `switched` when the connection is no longer HTTP."""
        self.unanswered = False
        self.raw = self.raw or (self.switching and switched)
        self.switching = False
        if self.raw and self.server:
            self.server.transport.write(self.buffer)
            self.buffer = b""
        self.go_on()

    def left_alone(self) -> None:
        """The endpoint has closed the connection."""
        if self.unanswered and not self.transport.is_closing():
            self.peer = None
            name = self.origin.name if self.origin else ""
            self.refuse(502, f"{name} ended the connection without an answer.")

    def refuse(self, code: int, sentence: str) -> None:
        """In the form in which clients of model endpoints look for the reason of an error.

        What the client still sends is read and dropped: closed on it, it might never read the answer.
        """
        if self.refused or self.transport.is_closing():
            return
        self.refused, self.task = True, None
        if self.server:
            self.server.leave()
        body = json.dumps({"type": "error", "error": {"type": "gateway_error", "message": sentence}}).encode()
        lines = f"HTTP/1.1 {code} Refused\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.transport.write(f"{lines}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.write_eof()
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)
