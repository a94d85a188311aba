"""The way out of one sandbox: an HTTP proxy on a unix socket in its run folder.

Understands CONNECT and requests in absolute form. A name is resolved once, every
address is judged, and the connection goes to a judged address, so a name that
changes its mind (DNS rebinding) gains nothing. Where a destination may be reached
is `policy`'s business; changing what is sent (header rules) would be a step
between `judged` and `forward`.
"""

import asyncio
import functools
import os
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .heads import BadHead, Head, split_head
from .policy import Address, Denied, Opening, judge, parse_address
from .record import Network
from .splice import Pipe

CONNECT_SECONDS = 20.0
MOST_CLIENTS = 512
# Threads of their own: names that take long to resolve must not hold up the host's other work.
LOOKUPS = ThreadPoolExecutor(16, "lookup")
HOP_HEADERS = ("proxy-connection", "proxy-authorization", "proxy-authenticate", "connection", "keep-alive")


class Egress:
    """Listens while the sandbox lives; `network` may be replaced at any time."""

    def __init__(self, network: Network, openings: tuple[Opening, ...]) -> None:
        self.network = network
        self.openings = openings
        self.server: asyncio.Server | None = None
        self.clients: set[Client] = set()

    async def listen(self, folder: Path) -> None:
        """Serve on `folder`/egress.sock, which the sandbox's uid may connect to."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_unix_server(lambda: Client(self), sock=bind_in(folder))

    def close(self) -> None:
        if self.server:
            self.server.close()
        for client in list(self.clients):
            client.abort()

    async def judged(self, host: str, port: int) -> list[Address]:
        """The addresses of `host` that may be connected to.

        Raises Denied when there is none, OSError when the name can't be resolved.
        """
        reasons: list[Denied] = []
        allowed: list[Address] = []
        for address in await resolve(host, port):
            try:
                judge(self.network, self.openings, host, port, address)
                allowed.append(address)
            except Denied as denied:
                reasons.append(denied)
        if not allowed:
            raise reasons[0] if reasons else Denied(f"{host} has no address.")
        return allowed


def bind_in(folder: Path) -> socket.socket:
    """A socket bound to `folder`/egress.sock, whatever the length of the folder's path."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        path = Path(f"/proc/self/fd/{handle}/egress.sock")
        path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        path.chmod(0o666)  # the folder around it is closed to everybody else
    finally:
        os.close(handle)
    return bound


async def resolve(host: str, port: int) -> list[Address]:
    if literal := parse_address(host):
        return [literal]
    lookup = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(LOOKUPS, lookup)
    addresses = (parse_address(str(entry[4][0])) for entry in found)
    return [address for address in addresses if address]


class Client(Pipe):
    """One connection of a program in the sandbox to the proxy."""

    def __init__(self, egress: Egress) -> None:
        super().__init__(lambda: egress.clients.discard(self))
        self.egress = egress
        self.head = b""
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.egress.clients.add(self)
        if len(self.egress.clients) > MOST_CLIENTS:
            self.refuse(503, f"This sandbox has {MOST_CLIENTS} connections through the proxy already.")

    def abort(self) -> None:
        if self.task:
            self.task.cancel()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.task:
            super().data_received(data)
            return
        self.head += data
        try:
            found = split_head(self.head)
        except BadHead as bad:
            self.refuse(400, str(bad))
            return
        if found:
            head, rest = found
            self.waiting = [rest] if rest else []
            self.transport.pause_reading()
            self.task = asyncio.create_task(self.serve(head))

    async def serve(self, head: Head) -> None:
        try:
            host, port, request = destination(head)
            async with asyncio.timeout(CONNECT_SECONDS):
                server = await self.connect(await self.egress.judged(host, port), port)
        except (BadHead, ValueError) as error:
            self.refuse(400, f"The proxy does not understand this request: {error}.")
        except Denied as denied:
            self.refuse(403, str(denied))
        except (OSError, UnicodeError) as error:
            self.refuse(502, f"{head.target} cannot be reached: {error or 'no answer in time'}.")
        else:
            self.forward(server, request)

    async def connect(self, addresses: list[Address], port: int) -> Pipe:
        """The first address that answers; raises the last one's OSError."""
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                _, pipe = await loop.create_connection(Pipe, str(address), port)
                return pipe
            except OSError as error:
                failure = error
        raise failure

    def forward(self, server: Pipe, request: bytes) -> None:
        """Join both sides; an empty `request` means a tunnel, which the client is told about."""
        if self.transport.is_closing():
            server.transport.close()
            return
        if request:
            server.transport.write(request)
        else:
            self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.transport.resume_reading()
        self.join(server)

    def refuse(self, code: int, sentence: str) -> None:
        body = f"{sentence}\n".encode()
        lines = f"HTTP/1.1 {code} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}"
        self.transport.write(f"{lines}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def destination(head: Head) -> tuple[str, int, bytes]:
    """Host, port and the bytes to send there (none for CONNECT).

    Raises BadHead or ValueError for a target in another form.
    """
    if head.method == "CONNECT":
        parsed = urllib.parse.urlsplit(f"//{head.target}")
        return host_of(parsed.hostname), parsed.port or 443, b""
    parsed = urllib.parse.urlsplit(head.target)
    if parsed.scheme != "http":
        raise BadHead("it takes CONNECT HOST:PORT or an absolute http:// address")
    plain = head.without(HOP_HEADERS).adding("Connection", "close")
    path = urllib.parse.urlunsplit(("", "", parsed.path or "/", parsed.query, ""))
    host = host_of(parsed.hostname)
    plain = plain.adding("Host", parsed.netloc.rpartition("@")[2])
    return host, parsed.port or 80, Head(head.method, path, plain.headers).encode()


def host_of(name: str | None) -> str:
    if not name:
        raise BadHead("the host is missing")
    return name.lower().rstrip(".")
