"""The way out of one sandbox: an HTTP proxy on a unix socket in its run folder.

Understands CONNECT and requests in absolute form. A name is resolved once, every
address is judged, and the connection goes to a judged address, so a name that
changes its mind (DNS rebinding) gains nothing. Where a destination may be reached
is `policy`'s business. Plain requests get the headers that the sandbox's rules add
for their host; what passes through a tunnel nobody can change, so model endpoints
have a way of their own, `gateway`.
"""

import asyncio
import functools
import os
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import certifi

from . import rootfs
from .heads import BadHead, Head, split_head
from .policy import Address, Denied, Opening, judge, parse_address, require_privacy, rule_headers
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
        self.servers: list[asyncio.Server] = []
        self.clients: set[Visitor] = set()

    async def listen(self, folder: Path, doors: "Mapping[str, Callable[[Egress], Visitor]]") -> None:
        """Serve on sockets in `folder` by name, which the sandbox's uid may connect to."""
        loop = asyncio.get_running_loop()
        for name, visitor in doors.items():
            made = functools.partial(visitor, self)
            self.servers.append(await loop.create_unix_server(made, sock=bind_in(folder, name)))

    def close(self) -> None:
        for server in self.servers:
            server.close()
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

    def dress(self, head: Head, host: str, port: int) -> Head:
        """The request with the headers that the sandbox's rules add for its host, in the place of any of that name."""
        for name, value in rule_headers(self.network, host, port).items():
            head = head.adding(name, value)
        return head


def bind_in(folder: Path, name: str) -> socket.socket:
    """A socket bound to `folder`/`name`, whatever the length of the folder's path."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        path = Path(f"/proc/self/fd/{handle}/{name}")
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


@functools.cache
def trust() -> ssl.SSLContext:
    """For servers that speak HTTP/1.1 and whose certificate this machine trusts."""
    context = ssl.create_default_context()
    context.load_verify_locations(rootfs.AUTHORITIES if rootfs.AUTHORITIES.exists() else certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect[Side: Pipe](
    addresses: Iterable[Address], port: int, side: Callable[[], Side], secure_name: str = ""
) -> Side:
    """The first address that answers, by TLS where the server's `secure_name` is given; raises the last OSError."""
    loop = asyncio.get_running_loop()
    context = trust() if secure_name else None
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            _, pipe = await loop.create_connection(
                side, str(address), port, ssl=context, server_hostname=secure_name or None
            )
            return pipe
        except OSError as error:
            failure = error
    raise failure


class Visitor(Pipe):
    """One connection of a program in the sandbox."""

    def __init__(self, egress: Egress) -> None:
        super().__init__(lambda: egress.clients.discard(self))
        self.egress = egress
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.egress.clients.add(self)
        if len(self.egress.clients) > MOST_CLIENTS:
            self.refuse(503, f"This sandbox has {MOST_CLIENTS} connections to the outside already.")

    def abort(self) -> None:
        if self.task:
            self.task.cancel()
        self.transport.abort()

    def refuse(self, code: int, sentence: str) -> None:
        """Answer with why not, and end the connection."""
        body = f"{sentence}\n".encode()
        lines = f"HTTP/1.1 {code} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}"
        self.transport.write(f"{lines}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()


class Client(Visitor):
    """A program that uses the proxy."""

    def __init__(self, egress: Egress) -> None:
        super().__init__(egress)
        self.head = b""

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
                addresses = await self.egress.judged(host, port)
                if request:
                    require_privacy(self.egress.network, host, port, addresses)
                    request = self.egress.dress(request, host, port)
                server = await connect(addresses, port, Pipe)
        except (BadHead, ValueError) as error:
            self.refuse(400, f"The proxy does not understand this request: {error}.")
        except Denied as denied:
            self.refuse(403, str(denied))
        except (OSError, UnicodeError) as error:
            self.refuse(502, f"{head.target} cannot be reached: {error or 'no answer in time'}.")
        else:
            self.forward(server, request.encode() if request else b"")

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


def destination(head: Head) -> tuple[str, int, Head | None]:
    """Host, port and the request to send there (none for CONNECT).

    Raises BadHead or ValueError for a target in another form.
    """
    if head.method == "CONNECT":
        parsed = urllib.parse.urlsplit(f"//{head.target}")
        return host_of(parsed.hostname), parsed.port or 443, None
    parsed = urllib.parse.urlsplit(head.target)
    if parsed.scheme != "http":
        raise BadHead("it takes CONNECT HOST:PORT or an absolute http:// address")
    plain = head.without(HOP_HEADERS).adding("Connection", "close")
    path = urllib.parse.urlunsplit(("", "", parsed.path or "/", parsed.query, ""))
    host = host_of(parsed.hostname)
    plain = plain.adding("Host", parsed.netloc.rpartition("@")[2])
    return host, parsed.port or 80, Head(head.method, path, plain.headers)


def host_of(name: str | None) -> str:
    if not name:
        raise BadHead("the host is missing")
    return name.lower().rstrip(".")
