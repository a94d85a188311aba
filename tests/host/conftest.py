"""One host for most tests, with a small server of the machine's own that sandboxes may reach."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.hosts import HostProcess, eventually
from tests.serving import Quiet, serving


class Greeter(Quiet):
    """Answers every GET with the headers it got."""

    def do_GET(self) -> None:
        text = f"hello from outside\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture(scope="session")
def outside() -> Iterator[int]:
    """The port of a web server on this machine's loopback address, listed as reachable."""
    with serving(Greeter) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory, outside: int) -> Iterator[HostProcess]:
    """A running host with a warm pool; nothing may be left when it has stopped."""
    state: Path = tmp_path_factory.mktemp("host") / "state"
    options = (
        "--sample-seconds",
        "0.2",
        "--disk-mb",
        "300",
        "--memory-grace",
        "0.5",
        "--kill-on-exit",
        "--allow-private",
        f"127.0.0.1:{outside}",
    )
    running = HostProcess(state, *options).start()
    yield running
    running.stop()
    eventually(lambda: not running.leftovers())


@pytest.fixture
def sandbox(host: HostProcess) -> Iterator[Any]:
    """A sandbox of that host, killed after the test."""
    made = host.create()
    yield made
    made.kill()


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[HostProcess]:
    """A host that a test may kill; not started yet, and swept at the end."""
    running = HostProcess(tmp_path / "state", "--pool", "0", "--disk-mb", "300")
    yield running
    if running.process and running.process.poll() is None:
        running.stop()
    running.sweep()
    eventually(lambda: not running.leftovers())
