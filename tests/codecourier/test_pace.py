"""An answer goes at its reader's pace: nothing piles up in a real Daphne, and a half answer shows."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deadline import until
from tests.stack import ROOT, free_port

PIECE = 64 * 1024
# What the kernel's buffers of both ends, Twisted's and one piece may hold together.
MOST = 16 * 1024 * 1024
APPLICATION = f"""
from codecourier import pace
sent = 0

async def endless(scope, receive, send):
    global sent
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        while True:
            await send({{"type": "websocket.send", "bytes": bytes({PIECE})}})
            sent += {PIECE}
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    if scope["path"] == "/sent":
        await send({{"type": "http.response.body", "body": str(sent).encode()}})
        return
    for number in range(10_000):
        if scope["path"] == "/broken" and number == 3:
            raise ValueError("half-way")
        await send({{"type": "http.response.body", "body": bytes({PIECE}), "more_body": True}})
        sent += {PIECE}

async def application(scope, receive, send):
    await pace.run(endless, scope, receive, send)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Daphne with an application that sends as fast as it may."""
    (tmp_path / "endless.py").write_text(APPLICATION)
    port = free_port()
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    argv = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "endless:application"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
    try:
        until(lambda: sent(f"127.0.0.1:{port}") == 0, 60)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def sent(address: str) -> int:
    """Bytes that the application has handed over, -1 before it answers."""
    try:
        return int(httpx.get(f"http://{address}/sent", trust_env=False).text)
    except httpx.TransportError:
        return -1


def stands_still(address: str) -> int:
    """Once it doesn't grow any more between two looks."""
    last = [-1]

    def same() -> bool:
        before, last[0] = last[0], sent(address)
        return 0 < last[0] == before

    until(same)
    return last[0]


UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"  # noqa: E501


@pytest.mark.parametrize("upgrade", ["", UPGRADE], ids=["answer", "socket"])
def test_nothing_piles_up_for_who_does_not_read(upgrade: str, server: str):
    host, port = server.split(":")
    with socket.create_connection((host, int(port))) as reader:
        reader.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n{upgrade}\r\n".encode())
        held = stands_still(server)
        assert held < MOST
        read = 0
        while read < 4 * MOST:
            read += len(reader.recv(1024 * 1024))
        until(lambda: sent(server) > held)


def test_an_answer_that_fails_half_way_is_broken_off(server: str):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{server}/broken", trust_env=False)
    assert sent(server) == 3 * PIECE
