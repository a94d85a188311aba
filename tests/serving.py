"""A web server of a test's own, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """What every one of them does: answer with JSON, and say nothing on the terminal."""

    def send_json(self, answer: Any, status: int = 200) -> None:
        """The whole answer."""
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", **shared: object) -> Iterator[str]:
    """Its URL, while it runs. `shared` are attributes of the handler's `self.server`."""
    server = ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    vars(server).update(shared)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
