"""The whole stack on one machine: what `manage.py up` does, and how `demo` and `launch` find it or bring it up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections

from .. import leash, npm, postgres, registries, seed, signin
from ..supervisor import Supervisor
from . import checks, facts, leftovers
from .facts import Stack, UpError, running
from .programs import host_state, programs, sweep_sandboxes

__all__ = ["Options", "Stack", "UpError", "running", "stack", "up"]

HOST_PORT = 49980
READY_SECONDS = 90.0
WATCH_SECONDS = 0.5

type Say = Callable[[str], None]


class Stop:
    """Whether a signal asked us to stop.

    Its handler takes no lock, as an event's would: Ctrl-C comes twice, from the terminal and from `uv run`, and the
    second one interrupts the handling of the first.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def wait(self, seconds: float) -> bool:
        """Whether it was asked for, now or within that time."""
        if not self.asked:
            time.sleep(seconds)
        return self.asked


@dataclass(frozen=True)
class Options:
    """What `up` was asked for. Port 0 is any free one; `host_port` is the local sandbox host's, if it is free."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int | None = None
    sandbox_host: bool = True
    host_port: int = HOST_PORT


@contextmanager
def stack(say: Say) -> Iterator[Stack]:
    """The running stack, or one that runs as long as the block. Raises UpError."""
    if facts.is_locked():
        yield _ready(facts.is_locked)
        return
    say("Nothing runs yet: starting CodeCourier for this command.")
    facts.folder().mkdir(parents=True, exist_ok=True)
    with _started() as process:
        yield _ready(lambda: process.poll() is None)


def up(options: Options, say: Say) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP. Raises UpError, PostgresError or NpmError."""
    checks.require_linux()
    with facts.only_one(), _stop_signals() as stopping:
        leftovers.end(facts.read())
        known = _plan(options)
        link = _prepare(known.url, say)
        try:
            _run(options, known, stopping, link, say)
        finally:
            if known.host_env:
                sweep_sandboxes()
                Path(known.host_env).unlink(missing_ok=True)
                _farewell(say)
            facts.forget()


def _plan(options: Options) -> Stack:
    """Settle the addresses."""
    port = options.port or checks.free_port(options.host)
    checks.require_address(options.host, port)
    url = f"http://{_in_url(options.host)}:{port}"
    if not options.sandbox_host or settings.E2B_API_KEY:
        return Stack(url, os.getpid())
    host_env = host_state() / "env"
    host_env.unlink(missing_ok=True)
    return Stack(
        url, os.getpid(), f"http://127.0.0.1:{checks.free_port('127.0.0.1', options.host_port)}", str(host_env)
    )


def _in_url(host: str) -> str:
    """The listening address as a browser on this machine would write it."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  (read, not bound)
    return everywhere.get(host, f"[{host}]" if ":" in host else host)


def _prepare(url: str, say: Say) -> str:
    """Bring packages, database and first rows into being; returns the sign-in link."""
    if not npm.is_current(settings.BASE_DIR):
        say("Fetching the browser's packages ...")
        npm.ensure(settings.BASE_DIR)
    if settings.EMBEDDED_POSTGRES:
        say("Starting PostgreSQL ...")
        postgres.ensure(settings.STATE)
    checks.require_database()
    call_command("migrate", verbosity=0, interactive=False)
    link = signin.link(seed.seed(), settings.BASE_URL or url)
    connections.close_all()
    return link


def _run(options: Options, known: Stack, stopping: Stop, link: str, say: Say) -> None:
    """Start everything, announce it once it answers, look after it, and stop it in order."""
    planned = programs(known, options.host, int(known.url.rpartition(":")[2]), options.workers)
    width = max(len(program.name) for program in planned)
    with Supervisor(planned, lambda name, line: say(f"{name:{width}} | {line}")) as supervisor:
        _await_answers(supervisor, known, stopping)
        if known.ready:
            say(_welcome(known, link))
        while not stopping.wait(WATCH_SECONDS):
            _look_after(supervisor, known, say)
        say("Stopping ...")


def _await_answers(supervisor: Supervisor, known: Stack, stopping: Stop) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not known.ready and not stopping.wait(0.05):
        _record(supervisor, known)
        if time.monotonic() > deadline:
            raise UpError(
                f"CodeCourier did not answer at {known.url} within {READY_SECONDS:.0f} s; see the lines above."
            )
        known.ready = _answers(known)
    _record(supervisor, known)


def _look_after(supervisor: Supervisor, known: Stack, say: Say) -> None:
    """One round: the database lives, stack.json is true. The programs themselves are the supervisor's."""
    if settings.EMBEDDED_POSTGRES and not postgres.is_running(settings.STATE):
        say("PostgreSQL is gone; starting it again.")
        postgres.ensure(settings.STATE)
    _record(supervisor, known)


def _record(supervisor: Supervisor, known: Stack) -> None:
    """Keep stack.json true, and give up when a program has said that it can't run here."""
    if supervisor.refused:
        raise UpError(f"The {supervisor.refused} process can't run here, for the reason above.")
    before, known.pids = (known.ready, known.pids), supervisor.pids
    if before != (known.ready, known.pids) or facts.read() != known:
        facts.write(known)


def _answers(known: Stack) -> bool:
    """Whether the portal serves requests and the host, where there is one, has announced itself."""
    if known.host_env and not Path(known.host_env).exists():
        return False
    address = urlsplit(known.url)
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=5)) as portal:
        try:
            portal.request("GET", "/")
            portal.getresponse()
        except (OSError, HTTPException):
            return False
        return True


def _farewell(say: Say) -> None:
    """Say in the rows what ended with us: at the next start it would only be missing."""
    try:
        for farewell in registries.farewells:
            farewell()
    except DatabaseError as error:
        say(f"The database is away, so the next start finds the sandboxes gone: {str(error).strip()}")
    finally:
        connections.close_all()


def _welcome(known: Stack, link: str) -> str:
    return f"\nCodeCourier is ready at {known.url}\nSign in (this link works once): {link}\nCtrl-C stops it.\n"


@contextmanager
def _stop_signals() -> Iterator[Stop]:
    """What the signals set that ask us to stop."""
    stopping = Stop()
    before = {number: signal.signal(number, stopping) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _started() -> "Iterator[subprocess.Popen[bytes]]":
    """A stack of our own on a free port, its lines in STATE/run/up.log; it ends with us."""
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]
    command = [*leashed, sys.executable, str(settings.BASE_DIR / "manage.py"), "up", "--port", "0"]
    with _log().open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _ready(alive: Callable[[], bool]) -> Stack:
    """Wait until the stack answers. Raises UpError when it ends or takes too long."""
    deadline = time.monotonic() + 2 * READY_SECONDS
    while alive() and time.monotonic() < deadline:
        found = running()
        if found and found.ready:
            return found
        time.sleep(0.05)
    raise UpError(f"CodeCourier did not start. {_log()} ends with:\n{_log_tail()}")


def _log() -> Path:
    return facts.folder() / "up.log"


def _log_tail() -> str:
    return "\n".join(_log().read_text(errors="replace").splitlines()[-10:]) if _log().exists() else "(nothing)"
