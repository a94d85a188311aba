"""The web application of all previews' origins: passes requests and sockets on to the server in the machine.

Both ways are streamed with bounded buffers (`codecourier.pace` towards the browser, the client's own towards the
machine), but Daphne takes in a request's body as a whole before anybody else sees it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings
from yarl import URL

from codecourier import hub
from codecourier.models import User
from sandboxes import e2b, fleet, output, previews
from sandboxes.models import Sandbox, Wanted

from . import headers, problems
from .problems import Message, Problem, Receive, Scope, Send

logger = logging.getLogger(__name__)

# Whether the person may still look is asked this often; a way into a machine is known for so long.
CHECK_SECONDS, WAY_SECONDS, WAKE_SECONDS, TOUCH_SECONDS = 5.0, 60.0, 30.0, 10.0
CONNECT_SECONDS = 10.0
PIECE_BYTES, FRAME_BYTES, ROUTER_BYTES = 64 * 1024, 16 * 1024 * 1024, 4096
MOST = 1000
S = Sandbox.Status


@dataclass
class Known:
    """What is remembered of one pass or one way for a while."""

    at: float
    value: Any


class Memory:
    """A few answers, each for a few seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.known: dict[Any, Known] = {}

    def get(self, key: Any) -> Any:
        """What is known, None if nothing is or it is too old."""
        found = self.known.get(key)
        return found.value if found and time.monotonic() - found.at < self.seconds else None

    def keep(self, key: Any, value: Any) -> None:
        """Known from now on; when there is too much, all is forgotten."""
        if len(self.known) >= MOST:
            self.known.clear()
        self.known[key] = Known(time.monotonic(), value)


PERMITTED, WAYS, TOUCHED = Memory(CHECK_SECONDS), Memory(WAY_SECONDS), Memory(TOUCH_SECONDS)
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, aiohttp.ClientSession]] = WeakKeyDictionary()


def client(*, named: bool) -> aiohttp.ClientSession:
    """This loop's; it keeps no cookies, follows nothing, unpacks nothing.

    Connections are used again only for servers with names of their own: one origin for all takes one request each.
    """
    known = _clients.setdefault(asyncio.get_running_loop(), {})
    if named not in known:
        known[named] = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=512, force_close=not named),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=PIECE_BYTES,
        )
    return known[named]


def address(scope: Scope) -> previews.Address | None:
    """The preview that a request is for, None for the portal's own."""
    return previews.address_of(headers.first(scope.get("headers", ()), b"host"))


def asked_by_preview(scope: Scope) -> bool:
    """Whether a page of a preview has sent this."""
    return previews.address_of(headers.first(scope.get("headers", ()), b"origin").partition("://")[2]) is not None


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything on a preview's origin."""
    to = address(scope)
    assert to  # noqa: S101
    exchange = Exchange(scope, receive, send, to)
    await (exchange.serve() if scope["type"] == "http" else exchange.join())


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """A preview's page that speaks to the portal: it may not, whatever it asks."""
    problem = Problem(403, "Not from here", "Pages of sandboxes may not speak to the portal.")
    await problems.tell(scope, receive, send, problem)


class Exchange:
    """One request or socket on a preview's origin."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, to: previews.Address) -> None:
        self.scope, self.receive, self.send, self.to = scope, receive, send, to
        self.begun = False

    def header(self, name: bytes) -> str:
        """The first value of one of the browser's headers."""
        return headers.first(self.scope["headers"], name)

    @property
    def origin(self) -> str:
        """The preview's own."""
        secure = settings.SECURE or self.scope.get("scheme") in {"https", "wss"}
        return f"{'https' if secure else 'http'}://{self.header(b'host').lower()}"

    @property
    def navigates(self) -> bool:
        """Whether a person opens a page with this, as far as the browser tells."""
        mode = self.header(b"sec-fetch-mode")
        page = mode == "navigate" if mode else "text/html" in self.header(b"accept")
        return page and self.scope.get("method") in {"GET", "HEAD"}

    async def serve(self) -> None:
        """One request, answered by the server or by a page that says why not."""
        try:
            if self.scope["path"] == previews.ENTER:
                await self.enter()
            else:
                await self.forward(await self.way())
        except Problem as problem:
            await problems.tell(self.scope, self.receive, self.send, problem)
        except e2b.ProviderError as error:
            await self.fail(Problem(502, "The machine can't be reached", str(error)))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.info("Preview %s: %r", self.to.host, error)
            await self.fail(problems.garbled(self.to.port))

    async def fail(self, problem: Problem) -> None:
        """Tell it, unless the answer has begun: then it can only be broken off."""
        forget(self.to)
        if self.begun:
            raise ConnectionAbortedError(str(problem))
        await problems.tell(self.scope, self.receive, self.send, problem)

    async def enter(self) -> None:
        """A ticket becomes a pass, and the browser goes where it wanted to."""
        words = parse_qs(self.scope["query_string"].decode("latin1"))
        held = await output.in_thread(previews.redeem, words.get("ticket", [""])[0], self.to)
        if held is None:
            raise problems.used_up()
        to = inner_path(words.get("to", ["/"])[0])
        secure = "; Secure" if settings.SECURE else ""
        cookie = f"{headers.cookie_name()}={held.sealed()}; Path=/; Max-Age={previews.PASS_SECONDS}"
        cookie += f"; HttpOnly; SameSite=Lax{secure}"
        said = [(b"location", to.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"),
                (b"referrer-policy", b"no-referrer"), (b"content-length", b"0")]  # fmt: skip
        await self.send({"type": "http.response.start", "status": 303, "headers": said})
        await self.send({"type": "http.response.body", "body": b""})

    async def allowed(self) -> tuple[Sandbox, User]:
        """The sandbox and the person who may see this preview now; Problem for anybody else."""
        sealed = headers.cookies(self.header(b"cookie")).get(headers.cookie_name(), "")
        if known := PERMITTED.get((sealed, self.to)):
            return known  # type: ignore[no-any-return]
        held = previews.opened(sealed, self.to) if sealed else None
        found = await output.in_thread(previews.permitted, held) if held else None
        if found is None:
            raise problems.closed()
        PERMITTED.keep((sealed, self.to), found)
        return found

    def require_own_page(self) -> None:
        """Problem for what pages elsewhere send with this person's pass: other sandboxes may be on the same site."""
        site, origin = self.header(b"sec-fetch-site"), self.header(b"origin")
        asking = previews.address_of(origin.partition("://")[2]) if origin else None
        if asking and asking.sandbox == self.to.sandbox:
            return
        foreign = bool(origin) or site in {"same-site", "cross-site"}
        if foreign and not (self.navigates and not origin):
            raise problems.elsewhere()

    async def way(self) -> e2b.Entrance:
        """Into the running machine; Problem when there is none."""
        self.require_own_page()
        sandbox, user = await self.allowed()
        if sandbox.status != S.RUNNING or sandbox.wanted != Wanted.RUN:
            sandbox = await self.rouse(sandbox, user)
        # A page that asks by itself doesn't keep its sandbox from sleep; what a person opens or sends does.
        if (self.navigates or self.scope.get("method") not in {"GET", "HEAD", None}) and not TOUCHED.get(sandbox.pk):
            TOUCHED.keep(sandbox.pk, True)
            await output.in_thread(fleet.touch, sandbox)
        return await entrance(sandbox, self.to.port)

    async def rouse(self, sandbox: Sandbox, user: User) -> Sandbox:
        """Wait for a sandbox that is being made, wake one that sleeps; Problem for one that is over."""
        ends = asyncio.get_running_loop().time() + WAKE_SECONDS
        async with hub.subscribe(f"sandbox:{sandbox.pk}") as changes:
            while True:
                sandbox = await output.in_thread(Sandbox.objects.select_related("project").get, pk=sandbox.pk)
                if sandbox.status == S.RUNNING and sandbox.wanted == Wanted.RUN:
                    PERMITTED.known.clear()
                    return sandbox
                await self.require_hope(sandbox, user)
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    raise problems.waking()
                await changes.wait(left)

    async def require_hope(self, sandbox: Sandbox, user: User) -> None:
        """Problem unless it will run. Only a person who opens a page wakes it: what asks by itself would for ever."""
        if sandbox.final or sandbox.wanted == Wanted.KILL:
            raise problems.over()
        if sandbox.status == S.CREATING or sandbox.wanted == Wanted.RUN:
            return
        if not self.navigates:
            raise problems.asleep()
        await output.in_thread(fleet.wake, sandbox, user)

    async def forward(self, into: e2b.Entrance) -> None:
        """Pass the request on and its answer back; a browser that goes away ends both."""
        first = await self.receive()
        if first["type"] == "http.disconnect":
            return
        sent = asyncio.Event()
        answer = asyncio.create_task(self.ask(into, first, sent))
        gone = asyncio.create_task(self.left(sent))
        try:
            await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.wait([answer, gone])

    async def left(self, sent: asyncio.Event) -> None:
        """Until the browser has gone. Its body is the server's, so this listens only after that."""
        await sent.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def ask(self, into: e2b.Entrance, first: Message, sent: asyncio.Event) -> None:
        """The server's answer, a piece at a time."""
        said = list(headers.inward(self.scope["headers"], into, origin=self.origin, client=self.client))
        body = self.body(first, sent) if first.get("body") or first.get("more_body") else None
        if body is None:
            sent.set()
        server = client(named=into.named)
        method, to = self.scope["method"], self.url(into)
        async with server.request(method, to, headers=said, data=body, allow_redirects=False) as answer:
            begin = await self.judged(answer)
            back = list(headers.outward(answer.raw_headers, into, self.to.port))
            self.begun = True
            await self.send({"type": "http.response.start", "status": answer.status, "headers": back})
            if begin:
                await self.send({"type": "http.response.body", "body": begin, "more_body": True})
            async for piece in answer.content.iter_any():
                await self.send({"type": "http.response.body", "body": piece, "more_body": True})
            await self.send({"type": "http.response.body", "body": b""})

    async def judged(self, answer: aiohttp.ClientResponse) -> bytes:
        """Bytes of an answer that is the server's own; Problem for the words of the provider's router."""
        if answer.status != 502 or answer.content_type != "application/json":
            return b""
        text = await answer.content.read(ROUTER_BYTES)
        if b'"sandboxId"' not in text:
            return text
        forget(self.to)
        raise problems.silent(self.to.port) if b"port is not open" in text else problems.asleep()

    async def body(self, first: Message, sent: asyncio.Event) -> AsyncIterator[bytes]:
        """The request's, as it comes."""
        message = first
        try:
            while message["type"] == "http.request":
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body"):
                    return
                message = await self.receive()
        finally:
            sent.set()

    def url(self, into: e2b.Entrance) -> URL:
        """The request's path and query at the server, byte for byte."""
        path = self.scope.get("raw_path") or self.scope["path"].encode()
        query = self.scope["query_string"]
        text = path.split(b"?")[0].decode("latin1") + (f"?{query.decode('latin1')}" if query else "")
        return URL(into.origin + text, encoded=True)

    @property
    def client(self) -> str:
        """The browser's address, as far as it is known."""
        before = self.header(b"x-forwarded-for") if settings.SECURE else ""
        return before or (self.scope.get("client") or ["unknown"])[0]

    async def join(self) -> None:
        """A WebSocket, joined to one of the server's."""
        await self.receive()
        try:
            if not self.header(b"origin"):
                raise problems.elsewhere()
            self.require_own_page()
            await self.converse(await self.way())
        except (Problem, e2b.ProviderError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.info("Preview socket %s: %r", self.to.host, error)
            await self.send({"type": "websocket.close", "code": 1013})

    async def converse(self, into: e2b.Entrance) -> None:
        """Pass frames both ways until one side closes, or the person may not look any more."""
        said = list(headers.inward(self.scope["headers"], into, origin=self.origin, client=self.client))
        asked = self.scope.get("subprotocols", [])
        call = client(named=into.named).ws_connect(
            self.url(into), headers=said, protocols=asked, max_msg_size=FRAME_BYTES
        )
        async with call as server:
            await self.send({"type": "websocket.accept", "subprotocol": server.protocol})
            tasks = [asyncio.create_task(work) for work in (self.up(server), self.down(server), self.stays_allowed())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            code = server.close_code or 1000
            with suppress(OSError):
                await self.send(
                    {"type": "websocket.close", "code": code if code in {1000, 1001} or code >= 3000 else 1011}
                )

    async def up(self, server: aiohttp.ClientWebSocketResponse) -> None:
        """What the browser says."""
        while (message := await self.receive())["type"] == "websocket.receive":
            if message.get("bytes") is not None:
                await server.send_bytes(message["bytes"])
            else:
                await server.send_str(message.get("text") or "")

    async def down(self, server: aiohttp.ClientWebSocketResponse) -> None:
        """What the server says."""
        async for frame in server:
            if frame.type == aiohttp.WSMsgType.TEXT:
                await self.send({"type": "websocket.send", "text": frame.data})
            elif frame.type == aiohttp.WSMsgType.BINARY:
                await self.send({"type": "websocket.send", "bytes": frame.data})

    async def stays_allowed(self) -> None:
        """Until the person may not look any more, or the machine doesn't run."""
        with suppress(Problem):
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                sandbox, _ = await self.allowed()
                if sandbox.status != S.RUNNING:
                    return


async def entrance(sandbox: Sandbox, port: int) -> e2b.Entrance:
    """The way to a port of a running machine, remembered for a minute. Raises e2b.ProviderError."""
    if known := WAYS.get((sandbox.pk, port)):
        return known  # type: ignore[no-any-return]
    provider = await output.in_thread(e2b.provider_of, sandbox.project)
    found = (await e2b.attach(provider, sandbox.provider_id)).entrance(port)
    WAYS.keep((sandbox.pk, port), found)
    return found


def forget(to: previews.Address) -> None:
    """Look again: what is known of it is not true any more."""
    WAYS.known.pop((to.sandbox, to.port), None)
    PERMITTED.known.clear()


def inner_path(to: str) -> str:
    """A path on the preview's own origin; the root for anything else."""
    plain = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isascii() and to.isprintable()
    return to if plain else "/"
