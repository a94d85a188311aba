"""Traffic into sandboxes: by header, by host name, by signature, and what is kept out."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.host.hosts import HostProcess, eventually

ECHO = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        size = int(self.headers["Content-Length"])
        body = f"{self.path}\\n{self.headers}".encode() + self.rfile.read(size)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""
# One echo over a WebSocket (RFC 6455), on the standard library: the sandbox has nothing else.
WEBSOCKET = """
import base64, hashlib, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        lines = []
        while (line := self.rfile.readline().strip()):
            lines.append(line.decode())
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        key = headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        answer += ["Sec-WebSocket-Accept: " + accept, "", ""]
        self.wfile.write("\\r\\n".join(answer).encode())
        head = self.rfile.read(2)
        if len(head) == 2:
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([0x81, len(text)]) + text[::-1])
            self.rfile.read(6)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 9000), Handler).serve_forever()
"""


def request(
    host: HostProcess, name: str, method: str = "GET", path: str = "/", body: str = "", **headers: str
) -> tuple[int, str]:
    """One request with the host name `name`."""
    address = urlsplit(host.url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    given = {"Host": name} | {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, path, body or None, given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def serve(sandbox: Any, host: HostProcess, name: str = "") -> str:
    """Start the echo server in the sandbox; the host name that leads to it."""
    sandbox.files.write("echo.py", ECHO)
    sandbox.commands.run("python3 echo.py", background=True)
    name = sandbox.get_host(8000)
    probe = "python3 -c \"import socket; socket.create_connection(('127.0.0.1', 8000)).close()\""
    eventually(lambda: sandbox.commands.run(f"{probe} 2>/dev/null && echo up || true").stdout)
    return str(name)


@pytest.fixture(scope="module")
def echo(host: HostProcess) -> Iterator[tuple[Any, str]]:
    made = host.create()
    yield made, serve(made, host)
    made.kill()


def test_get_host_reaches_a_server_in_the_sandbox(host: HostProcess, echo: tuple[Any, str]) -> None:
    status, text = request(host, echo[1], "POST", "/a?b=c", "x" * 200_000)
    assert status == 200
    assert text.startswith("/a?b=c\n")
    assert text.endswith("x" * 200_000)


def test_no_header_of_the_router_reaches_that_server(host: HostProcess, echo: tuple[Any, str]) -> None:
    sandbox, _ = echo
    headers = {
        "E2b_Sandbox_Id": sandbox.sandbox_id,
        "E2b_Sandbox_Port": "8000",
        "X_Control_Token": "guess",
        "X_Mine": "kept",
    }
    status, text = request(host, "example.com", "POST", "/", "body", **headers)
    assert status == 200
    assert "x-mine: kept" in text.lower()
    assert "host: example.com" in text.lower()
    assert "e2b-" not in text.lower()
    assert "control" not in text.lower()


def test_a_closed_port_and_an_unknown_sandbox_are_told_apart(host: HostProcess, echo: tuple[Any, str]) -> None:
    status, text = request(host, echo[0].get_host(8001))
    assert status == 502
    assert "port is not open" in text
    status, text = request(host, "8000-inothing.localhost")
    assert status == 502
    assert "was not found" in text


def test_the_daemons_control_routes_are_closed(host: HostProcess, echo: tuple[Any, str]) -> None:
    sandbox, _ = echo
    secret = host.record(sandbox.sandbox_id)["control_secret"]
    for path in ("/control/ports", "//control/ports", "/%63ontrol/ports", "/control%2Fports"):
        status, text = request(host, "x", path=path, E2b_Sandbox_Id=sandbox.sandbox_id, X_Control_Token=secret)
        assert status in (401, 403, 404), (path, text)


def test_private_traffic_needs_its_token(host: HostProcess) -> None:
    made = host.create(network={"allow_public_traffic": False, "mask_request_host": "inner:${PORT}"})
    name = serve(made, host)
    assert request(host, name, "POST", "/", "x")[0] == 403
    assert request(host, name, "POST", "/", "x", e2b_traffic_access_token="wrong")[0] == 403
    status, text = request(host, name, "POST", "/", "x", e2b_traffic_access_token=made.traffic_access_token)
    assert status == 200
    assert "host: inner:8000" in text.lower()
    assert made.traffic_access_token not in text
    made.kill()


async def test_websockets_pass(host: HostProcess, sandbox: Any) -> None:
    sandbox.files.write("ws.py", WEBSOCKET)
    sandbox.commands.run("python3 ws.py", background=True)
    name = sandbox.get_host(9000)
    eventually(
        lambda: "9000" in sandbox.commands.run("cat /proc/net/tcp | grep -c :2328 > n && echo 9000 || true").stdout
    )
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{host.url}/ws", headers={"Host": name}) as live:
        await live.send_str("hello")
        assert await live.receive_str(timeout=10) == "olleh"
        await live.close()


def test_signed_addresses_need_no_header(host: HostProcess, sandbox: Any) -> None:
    sandbox.files.write("a b.txt", "signed")
    with urllib.request.urlopen(sandbox.download_url("a b.txt", use_signature_expiration=60), timeout=10) as answer:
        assert answer.read() == b"signed"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(sandbox.download_url("a b.txt").replace("signature=v1_", "signature=v1_x"), timeout=10)
    assert refused.value.code == 401
    refused.value.close()


def test_bytes_that_are_no_http_get_an_answer(host: HostProcess) -> None:
    address = urlsplit(host.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"GET /x y HTTP/1.1\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"request line" in answer


def test_a_large_output_arrives_whole(sandbox: Any) -> None:
    result = sandbox.commands.run("head -c 30000000 /dev/zero | tr '\\0' x")
    assert len(result.stdout) == 30_000_000
