"""The front of the host: one origin for the REST API and for traffic into every sandbox.

Each connection carries one request: its head is read and decided upon, then bytes
are spliced without being looked at, which keeps streams, uploads and WebSockets
cheap and exact. The answer says `Connection: close`, because the next request of a
client may be meant for another sandbox.

A sandbox is named by the headers `E2b-Sandbox-Id` and `E2b-Sandbox-Port`, by a host
name `PORT-ID.domain`, or, for a signed file address (which the SDK builds without
either), by the signature, which only one sandbox's token produces.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import urllib.parse
from collections.abc import Callable

from .errors import Refused
from .fleet import Fleet
from .heads import BadHead, Head, split_head
from .record import State
from .sandbox import Sandbox
from .splice import Pipe

logger = logging.getLogger(__name__)
DAEMON_PORT = 49983
HEAD_SECONDS = 60.0
BY_NAME = re.compile(r"(?P<port>\d{1,5})-(?P<id>[a-z0-9]+)\..+")
OURS = ("e2b-sandbox-id", "e2b-sandbox-port", "e2b-traffic-access-token", "x-control-token")
SIGNED = {"GET": "read", "HEAD": "read", "POST": "write"}


class Unroutable(Exception):
    """Answered to the client with a status and E2B's fields."""

    def __init__(self, code: int, message: str, sandbox_id: str = "", port: int = 0) -> None:
        super().__init__(message)
        self.answer: dict[str, str | int] = {"code": code, "message": message, "sandboxId": sandbox_id, "port": port}


def not_found(sandbox_id: str) -> Unroutable:
    """The SDK takes this status with the words `was not found` for a sandbox that has ended."""
    return Unroutable(502, "The sandbox was not found", sandbox_id)


class Front(Pipe):
    """One client's connection, until it is known where it goes."""

    def __init__(self, fleet: Fleet, rest: Callable[[], asyncio.Protocol]) -> None:
        super().__init__()
        self.fleet = fleet
        self.rest = rest
        self.buffer = b""
        self.task: asyncio.Task[None] | None = None
        self.patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.patience = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        if self.task:
            super().data_received(data)
            return
        self.buffer += data
        try:
            found = split_head(self.buffer)
        except BadHead as bad:
            self.answer({"code": 400, "message": str(bad)})
            return
        if found:
            self.decide(*found)

    def decide(self, head: Head, rest: bytes) -> None:
        if self.patience:
            self.patience.cancel()
        try:
            target = self.target(head)
        except Unroutable as problem:
            self.answer(problem.answer)
            return
        if target is None:
            self.hand_over()
            return
        self.waiting = [rest] if rest else []
        self.transport.pause_reading()
        self.task = asyncio.create_task(self.serve(head, *target))

    def hand_over(self) -> None:
        """The REST API takes the connection as if it had been its own from the start."""
        protocol = self.rest()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(self.buffer)

    def target(self, head: Head) -> tuple[str, int] | None:
        """Sandbox and port that a request is for, None for the REST API; raises Unroutable."""
        if sandbox_id := head.get("e2b-sandbox-id"):
            return sandbox_id, port_number(head.get("e2b-sandbox-port") or str(DAEMON_PORT))
        if found := BY_NAME.fullmatch(head.get("host").lower()):
            return found["id"], port_number(found["port"])
        if head.path == "/files" and "signature=" in head.target:
            return self.signer(head), DAEMON_PORT
        return None

    def signer(self, head: Head) -> str:
        """The sandbox whose token made the signature of a file address; raises Unroutable (401)."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(head.target).query, keep_blank_values=True))
        for sandbox in self.fleet.all():
            if hmac.compare_digest(
                signature(query, head.method, sandbox.record.access_token), query.get("signature", "")
            ):
                return sandbox.id
        raise Unroutable(401, "invalid signature")

    async def serve(self, head: Head, sandbox_id: str, port: int) -> None:
        try:
            sandbox = await self.awake(sandbox_id, port)
            if port == DAEMON_PORT:
                await self.enter_daemon(sandbox, head)
            else:
                await self.enter_port(sandbox, head, port)
        except Unroutable as problem:
            self.answer(problem.answer)
        except Exception:
            logger.exception("a request to sandbox %s failed", sandbox_id)
            self.answer({"code": 500, "message": "the host failed; its log says why"})

    async def awake(self, sandbox_id: str, port: int) -> Sandbox:
        """The running sandbox; one paused with auto-resume is woken by this traffic."""
        try:
            sandbox = await self.fleet.find(sandbox_id)
        except Refused:
            raise not_found(sandbox_id) from None
        if sandbox.record.state is State.PAUSED and sandbox.record.auto_resume:
            await self.fleet.resume(sandbox, self.fleet.settings.default_timeout)
        if sandbox.record.state is not State.RUNNING:
            raise not_found(sandbox_id)
        return sandbox

    async def enter_daemon(self, sandbox: Sandbox, head: Head) -> None:
        if urllib.parse.unquote(head.path).strip("/").partition("/")[0] == "control":
            raise Unroutable(403, "control routes are closed from outside", sandbox.id, DAEMON_PORT)
        await self.splice(sandbox, one_request(head.without(OURS)).encode(), DAEMON_PORT)

    async def enter_port(self, sandbox: Sandbox, head: Head, port: int) -> None:
        """Through the daemon to a server in the sandbox, which sees the request as the client sent it."""
        network = sandbox.record.network
        token = head.get("e2b-traffic-access-token")
        if not network.allow_public_traffic and not hmac.compare_digest(token, sandbox.record.traffic_token):
            raise Unroutable(403, "This sandbox takes traffic with its traffic access token only", sandbox.id, port)
        request = one_request(head.without(OURS))
        if network.mask_request_host:
            request = request.adding("Host", network.mask_request_host.replace("${PORT}", str(port)))
        await self.splice(sandbox, request.encode(), port)

    async def splice(self, sandbox: Sandbox, request: bytes, port: int) -> None:
        """Join client and sandbox. Registered before it is awaited, so that an end finds and cuts it."""
        inner = await self.reach(sandbox, port)
        if self.transport.is_closing() or sandbox.record.state is not State.RUNNING:
            inner.transport.abort()
            raise not_found(sandbox.id)
        sandbox.connections.update((self.transport, inner.transport))
        self.closed = lambda: sandbox.connections.discard(self.transport)
        inner.closed = lambda: sandbox.connections.discard(inner.transport)
        inner.transport.write(request)
        self.transport.resume_reading()
        self.join(inner)

    async def reach(self, sandbox: Sandbox, port: int) -> Pipe:
        """A connection to the daemon, or through it to a port; raises Unroutable when nothing listens."""
        loop = asyncio.get_running_loop()
        machine = sandbox.machine
        entrance = Entrance() if port != DAEMON_PORT else None
        try:
            _, inner = await loop.create_unix_connection(lambda: entrance or Pipe(), machine.socket_path)
            if entrance:
                entrance.ask(
                    machine.head("GET", f"/control/connect?port={port}", "Connection: Upgrade\r\nUpgrade: tcp")
                )
                await entrance.opened
        except OSError:
            message = "The sandbox is running but port is not open"
            raise Unroutable(502, message, sandbox.id, port) from None
        return inner

    def answer(self, fields: dict[str, str | int]) -> None:
        """One JSON answer and the end of the connection."""
        if self.transport.is_closing():
            return
        body = json.dumps({key: value for key, value in fields.items() if value}).encode()
        head = f"HTTP/1.1 {fields['code']} Refused\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.transport.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.patience:
            self.patience.cancel()
        super().connection_lost(error)


class Entrance(Pipe):
    """A connection through the daemon to a port: `opened` is done when the daemon has said 101."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered = b""

    def ask(self, request: bytes) -> None:
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            super().data_received(data)
            return
        self.answered += data
        head, blank, rest = self.answered.partition(b"\r\n\r\n")
        if not blank:
            return
        if rest:
            self.waiting = [rest]
        if b" 101 " in head.partition(b"\r\n")[0]:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionRefusedError())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError())
        super().connection_lost(error)


def one_request(head: Head) -> Head:
    """Ask the other side to close after this answer, unless the connection is to become something else."""
    return head if head.wants_upgrade else head.adding("Connection", "close")


def port_number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Unroutable(400, f"{text!r} is not a port")
    return int(text)


def signature(query: dict[str, str], method: str, token: str) -> str:
    """What `e2b.sandbox.signature.get_signature` makes of the same parts."""
    parts = [query.get("path", ""), SIGNED.get(method, "read"), query.get("username", ""), token]
    if expiration := query.get("signature_expiration"):
        parts.append(expiration)
    digest = hashlib.sha256(":".join(parts).encode()).digest()
    return "v1_" + base64.b64encode(digest).decode().rstrip("=")
