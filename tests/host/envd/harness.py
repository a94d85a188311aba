"""A real envd without any isolation, a TCP door to its unix socket for the SDK, and plain HTTP to it."""

import asyncio
import base64
import contextlib
import getpass
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from e2b import AsyncSandbox, Sandbox
from e2b.connection_config import ConnectionConfig
from packaging.version import Version

from sandboxes.host import envd

TOKEN = "envd-token"
SECRET = "control-secret"
ME = getpass.getuser()
DEADLINE = 20.0
MAIN = Path(envd.__file__).with_name("__main__.py")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait on a condition that only the outside world can signal; fails with `what` past the deadline."""
    end = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < end, f"never came true: {what}"
        select.select([], [], [], 0.01)
    return result


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("sandbox", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(self._path)


def _with(prelude: str) -> list[str]:
    imports = "from envd import daemon, output, processes, watch_rpc"
    code = f"import sys; sys.path.append({str(MAIN.parent.parent)!r}); {imports}; {prelude}"
    code += "; sys.exit(daemon.main(sys.argv[1:]))"
    return [sys.executable, "-I", "-c", code]


class Daemon:
    """One envd process with its own home."""

    def __init__(self, folder: Path, *options: str, prelude: str = "", wrapper: tuple[str, ...] = ()) -> None:
        """`prelude` is Python that changes the package's constants, for limits that would take too long to reach."""
        self.socket = str(folder / "envd.sock")
        self.home = folder / "home"
        self.home.mkdir()
        self.streams: list[Stream] = []
        self.process = subprocess.Popen(
            [
                *wrapper,
                *(_with(prelude) if prelude else [sys.executable, "-I", str(MAIN)]),
                "--socket",
                self.socket,
                *options,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(f"{SECRET}\n".encode())
        self.process.stdin.close()
        until(lambda: Path(self.socket).exists() or self.process.poll() is not None, "envd listens")

    def stop(self) -> str:
        """What it wrote to stderr."""
        self.close_streams()
        self.process.terminate()
        assert self.process.stderr is not None
        text = self.process.stderr.read().decode()
        self.process.wait(DEADLINE)
        self.process.stderr.close()
        return text

    def close_streams(self) -> None:
        while self.streams:
            self.streams.pop().close()

    def connection(self) -> UnixConnection:
        return UnixConnection(self.socket)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers); header names are given with underscores."""
        with contextlib.closing(self.connection()) as link:
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = link.getresponse()
            return response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}

    def init(self, **changes: Any) -> int:
        value: dict[str, Any] = {
            "sandbox_id": "sbx",
            "access_token": TOKEN,
            "default_user": ME,
            "default_workdir": None,
            "envs": {},
        }
        body = json.dumps(value | changes)
        return self.request("POST", "/control/init", body, x_control_token=SECRET)[0]

    def rpc(self, name: str, message: Any, **headers: str) -> tuple[int, Any]:
        """A unary call's (status, JSON)."""
        headers = {"content_type": "application/json", "x_access_token": TOKEN} | headers
        status, body, _ = self.request("POST", f"/{name}", json.dumps(message), **headers)
        return status, json.loads(body)

    def stream(self, name: str, message: Any, **headers: str) -> "Stream":
        stream = Stream(self.connection(), name, message, headers)
        self.streams.append(stream)
        return stream

    def start(self, command: str, **more: Any) -> "Stream":
        headers = more.pop("headers", {})
        message = {"process": {"cmd": "/bin/bash", "args": ["-c", command]}, "stdin": False} | more
        return self.stream("process.Process/Start", message, **headers)


class Stream:
    """A server stream read message by message, so that a test decides how fast."""

    def __init__(self, link: UnixConnection, name: str, message: Any, headers: dict[str, str]) -> None:
        self.link = link
        payload = json.dumps(message).encode()
        fields = {"Content-Type": "application/connect+json", "X-Access-Token": TOKEN}
        fields |= {key.replace("_", "-"): value for key, value in headers.items()}
        link.request("POST", f"/{name}", struct.pack(">BI", 0, len(payload)) + payload, fields)
        self.response = link.getresponse()
        self.error: dict[str, str] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Messages up to the stream's end, whose error is kept."""
        while True:
            flags, size = struct.unpack(">BI", self.response.read(5))
            message = json.loads(self.response.read(size))
            if flags & 2:
                self.error = message.get("error")
                return
            yield message

    def next(self) -> dict[str, Any]:
        return next(iter(self))

    def pid(self) -> int:
        pid: int = self.next()["event"]["start"]["pid"]
        return pid

    def output(self, kind: str = "stdout") -> bytes:
        """All that is left of one kind."""
        return b"".join(base64.b64decode(m["event"]["data"].get(kind, "")) for m in self if "data" in m["event"])

    def close(self) -> None:
        self.response.close()
        self.link.close()


class Door:
    """Forwards 127.0.0.1:port to a unix socket, as the host's router does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._forward, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._path)
        pumps = [asyncio.ensure_future(_pump(reader, up_writer)), asyncio.ensure_future(_pump(up_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            up_writer.close()
            writer.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def options(self) -> dict[str, Any]:
        """What the SDK's sandbox objects are built from."""
        headers = {"X-Access-Token": TOKEN, "E2b-Sandbox-Id": "sbx", "E2b-Sandbox-Port": "49983"}
        config = ConnectionConfig(
            api_key="e2b_" + "0" * 40, sandbox_url=f"http://127.0.0.1:{self.port}", extra_sandbox_headers=headers
        )
        return {
            "sandbox_id": "sbx",
            "envd_version": Version(envd.ENVD_VERSION),
            "envd_access_token": TOKEN,
            "sandbox_domain": "localhost",
            "connection_config": config,
        }

    def sandbox(self) -> Sandbox:
        return Sandbox(**self.options())

    def async_sandbox(self) -> AsyncSandbox:
        return AsyncSandbox(**self.options())


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
