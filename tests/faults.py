"""A proxy before a real sandbox host that answers as a provider on a bad day does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.serving import Quiet, serving


@dataclass
class Fault:
    """What happens to the next `times` requests of a method whose path holds `path`.

    `status` is answered instead of asking the host; with `lose`, the host does it and its answer is lost;
    with `hang`, nothing is answered until `Faults.release` is set.
    """

    method: str
    path: str
    status: int = 0
    lose: bool = False
    hang: bool = False
    times: int = 1_000_000


@dataclass
class Faults:
    """The proxy's address, what it is to spoil, and what it was asked."""

    url: str
    target: str
    client: httpx.Client
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def add(self, method: str, path: str, **kind: object) -> Fault:
        """Spoil requests from now on."""
        fault = Fault(method, path, **kind)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def match(self, method: str, path: str) -> Fault | None:
        """The fault of this request, one of its times used up."""
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and fault.path in path:
                fault.times -= 1
                return fault
        return None


@contextmanager
def proxy(target: str, handler: "type[Handler] | None" = None) -> Iterator[Faults]:
    """The proxy, running; everything that hangs is released at its end."""
    # No certificates, whose reading costs more than an answer; no connection is kept, for the host may be started anew.
    alone = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(trust_env=False, verify=False, timeout=60, limits=alone) as client:
        faults = Faults("", target, client)
        with serving(handler or Handler, faults=faults) as faults.url:
            try:
                yield faults
            finally:
                faults.release.set()


class Handler(Quiet):
    """Asks the host what the SDK asked, unless a fault says otherwise."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        faults: Faults = self.server.faults  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        faults.asked.append((self.command, self.path))
        fault = faults.match(self.command, self.path)
        if fault and fault.hang:
            faults.release.wait()
            self.close_connection = True
            return
        if fault and fault.status:
            self.reply(fault.status, b'{"code": %d, "message": "a bad day"}' % fault.status)
            return
        answer = self.ask(faults, body)
        if fault and fault.lose:
            self.close_connection = True
            return
        self.reply(answer.status_code, answer.content, answer.headers.get("x-next-token"))

    def ask(self, faults: Faults, body: bytes) -> httpx.Response:
        """The host's own answer."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        return faults.client.request(self.command, faults.target + self.path, content=body, headers=headers)

    def reply(self, status: int, body: bytes, next_token: str | None = None) -> None:
        """Answer with JSON."""
        self.send_response(status)
        if next_token:
            self.send_header("x-next-token", next_token)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any
