"""One daemon for all tests of this folder (each test has its own files), and a fresh one for those that change it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2b import AsyncSandbox, Sandbox

from tests.host.envd.harness import Daemon, Door


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("envd"))
    assert daemon.init(envs={"FROM_SANDBOX": "sandbox", "BOTH": "sandbox"}) == 204
    yield daemon
    assert daemon.stop() == "", "envd wrote a traceback"


@pytest.fixture
def daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    yield shared_daemon
    shared_daemon.close_streams()


@pytest.fixture(scope="session")
def door(shared_daemon: Daemon) -> Iterator[Door]:
    door = Door(shared_daemon.socket)
    yield door
    door.close()


@pytest.fixture
def sandbox(door: Door) -> Sandbox:
    return door.sandbox()


@pytest.fixture
def async_sandbox(door: Door) -> AsyncSandbox:
    return door.async_sandbox()


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """`start_daemon(*options, prelude="")` gives a daemon of the test's own, not initialised."""
    started: list[Daemon] = []

    def start(*options: str, prelude: str = "", wrapper: tuple[str, ...] = ()) -> Daemon:
        folder = tmp_path / f"daemon{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, *options, prelude=prelude, wrapper=wrapper))
        return started[-1]

    yield start
    for daemon in started:
        if daemon.process.returncode is None:
            assert daemon.stop() == ""
