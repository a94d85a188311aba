"""A model endpoint for tests of the gateway: on plain HTTP and with TLS, in this process, saying back what it got."""

import asyncio
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Endpoint:
    """`ports` are (http, https), `connections` those that asked; `left` is set when a client went in mid-stream."""

    def __init__(self) -> None:
        self.ports = (0, 0)
        self.connections: set[int] = set()
        self.left = asyncio.Event()

    @property
    def plain(self) -> str:
        """Its address as the gateway is asked for it."""
        return f"/http/127.0.0.1:{self.ports[0]}"

    @property
    def secure(self) -> str:
        """The same with TLS."""
        return f"/https/localhost:{self.ports[1]}"

    async def echo(self, request: web.Request) -> web.Response:
        """Head and body as they arrived, the names of headers in lower case."""
        self.connections.add(id(request.transport))
        headers = [[name.lower(), value] for name, value in request.headers.items()]
        body = (await request.read()).decode("latin-1")
        said = {"method": request.method, "path": request.path_qs, "headers": headers, "body": body}
        return web.json_response(text=f"{json.dumps(said)}\n")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events of a number and the time in ns: `?count=` of them, `pause=` seconds apart."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number in range(int(request.query.get("count", "1000000"))):
                await response.write(f"data: {number} {time.monotonic_ns()}\n\n".encode())
                await asyncio.sleep(float(request.query.get("pause", "0.01")))
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket that echoes; 426 for others."""
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request):
            return web.Response(status=426)
        await socket.prepare(request)
        await socket.send_str(request.headers.get("x-api-key", ""))
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    async def refuse_upgrade(self, request: web.Request) -> web.Response:
        """What a server without WebSockets does."""
        return web.Response(status=404, text="none here")

    async def hang_up(self, request: web.Request) -> web.Response:
        """Ends the connection without a word."""
        assert request.transport
        request.transport.close()
        return web.Response()

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/stream", self.stream)
        app.router.add_get("/socket", self.socket)
        app.router.add_get("/no-socket", self.refuse_upgrade)
        app.router.add_get("/hang-up", self.hang_up)
        app.router.add_route("*", "/{rest:.*}", self.echo)
        return app


@asynccontextmanager
async def serving(certificate: Path) -> AsyncIterator[Endpoint]:
    """On two free ports of this loop, until the end of the block."""
    endpoint = Endpoint()
    runner = web.AppRunner(endpoint.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    for one in (None, context):
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=one).start()
    endpoint.ports = (runner.addresses[0][1], runner.addresses[1][1])
    try:
        yield endpoint
    finally:
        await runner.cleanup()


@contextmanager
def in_thread(certificate: Path) -> Iterator[Endpoint]:
    """The same with a loop of its own."""
    loop, stopping, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    found: list[Endpoint] = []

    async def run() -> None:
        async with serving(certificate) as endpoint:
            found.append(endpoint)
            started.set()
            await stopping.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10), "the endpoint did not start"
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


def make_certificate(path: Path) -> Path:
    """Key and certificate for localhost, by an authority that nobody knows: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()) + certificate.public_bytes(pem))
    return path
