"""The product's real processes, for tests that go through the front door: web, worker, relay and local sandbox host.

They have a database server of their own, so that it can be killed too, and tests make a project of their own in it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.conf import settings

from codecourier import postgres
from codecourier.models import Membership, Project, User
from learnings.models import LearningSettings
from sandboxes import fleet, stock
from sandboxes.models import Sandbox, Template
from tests import migrated
from tests.deadline import until

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0
# Small, so that a test can fill it.
DISK_MB = 512


def wait_for[T](look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """The first true answer of `look`; AssertionError with `what` when none comes in time."""
    found = until(look, seconds, what)
    assert found is not None
    return found


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def http_status(url: str) -> int:
    """What a local server answers with; httpx.TransportError when it does not."""
    # Without the certificates, whose reading costs more than the answer.
    return httpx.get(url, trust_env=False, verify=False, timeout=5).status_code


class Stack:
    """Processes by name; each can be killed and started again."""

    def __init__(self, state: Path, database_url: str, reach: str = "", **env: str) -> None:
        self.state = state
        self.reach = reach  # HOST:PORT on loopback that sandboxes may speak to
        self.host_port, self.web_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env = os.environ | {
            "TEST_STATE": str(state),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONUNBUFFERED": "1",
            "WORKERS": "2",
            **env,
        }
        (state / "host").mkdir(parents=True, exist_ok=True)
        # This process enqueues tasks that the workers have to accept, so they share the key that signs them.
        (state / "secret_key").write_text(settings.SECRET_KEY)
        (state / "log").mkdir(exist_ok=True)

    def argv(self, name: str) -> list[str]:
        """How a process is started."""
        kind = name.rstrip("0123456789")
        return {
            "web": [sys.executable, "-m", "daphne", "-p", str(self.web_port), "codecourier.asgi:application"],
            "worker": [sys.executable, "manage.py", "qcluster"],
            "relay": [sys.executable, "manage.py", "relay"],
            "host": [sys.executable, "-m", "sandboxes.host", *self.host_options()],
        }[kind]

    def host_options(self) -> list[str]:
        """Where the host listens and keeps its state."""
        folders = ["--state", str(self.state / "host"), "--lend", str(self.state / "repositories")]
        private = ["--allow-private", self.reach] if self.reach else []
        return ["--port", str(self.host_port), *folders, "--disk-mb", str(DISK_MB), *private]

    def start(self, *names: str) -> None:
        """Start processes; the host's first lines go where the gateway reads them."""
        for name in names:
            env = self.env | {"CODECOURIER_PROCESS": name.rstrip("0123456789")}
            with (self.state / "log" / name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.argv(name), cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
                )
        if "host" in names:
            wait_for(self._host_announced, "the sandbox host's address")
        for name in names:
            if name.startswith("worker"):
                wait_for(partial(self._works, name), "the worker to be ready")
        if "web" in names:
            wait_for(self.answers, "the portal to answer")

    def _host_announced(self) -> bool:
        text = (self.state / "log" / "host").read_text()
        lines = [line for line in text.splitlines() if line.startswith("E2B_")]
        if len(lines) < 3:
            return False
        (self.state / "host" / "env").write_text("\n".join(lines[-3:]) + "\n")
        try:
            return http_status(f"http://127.0.0.1:{self.host_port}/health") < 500
        except httpx.TransportError:
            return False

    def _works(self, name: str) -> bool:
        """Whether a worker has all its processes: before, it ends with the database, for its supervisor to start it."""
        inside = psutil.Process(self.processes[name].pid).children(recursive=True)
        return len(inside) > int(self.env["WORKERS"])

    def answers(self) -> bool:
        """Whether the portal serves pages."""
        try:
            return http_status(self.url) < 500
        except httpx.TransportError:
            return False

    def kill(self, name: str, *, alone: bool = False) -> None:
        """kill -9, with everything the process had started for itself, or of the process `alone`."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()

    def kill_postgres(self) -> None:
        """kill -9 of the database server with all its backends."""
        pid = postgres.status(self.state).pid
        assert pid, "there is no database to kill"
        server = psutil.Process(pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def stop(self) -> None:
        """End all, and whatever sandboxes are left."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()
        sweep = [sys.executable, "-m", "sandboxes.host", "sweep", "--state", str(self.state / "host")]
        subprocess.run(sweep, cwd=ROOT, check=True, env=self.env, stdout=subprocess.DEVNULL)

    def log(self, name: str) -> str:
        """What a process said."""
        return (self.state / "log" / name).read_text(errors="replace")

    def project(self, **fields: str) -> tuple[Project, User]:
        """A new project and its owner, whose password is `open sesame`."""
        stock.templates()
        mark = uuid.uuid4().hex[:8]
        user = User.objects.create_user(f"{mark}@example.com", "open sesame", name="Olga Owner")
        project = Project.objects.create(name=f"Project {mark}", slug=f"p-{mark}", **fields)
        Membership.objects.create(project=project, user=user, role="owner")
        # Sessions that read what ended would be machines that no test waits for; those that want one ask for it.
        LearningSettings.objects.create(project=project, when=LearningSettings.When.NEVER)
        return project, user

    def launch(self, project: Project, prompt: str, **fields: Any) -> Sandbox:
        """A script sandbox."""
        template = Template.objects.get(slug="script")
        return fleet.launch(project, None, template=template, prompt=prompt, **fields)


@contextmanager
def own_database(state: Path) -> Iterator[str]:
    """A PostgreSQL server of the stack's own, durable as in production; this process uses it meanwhile."""
    url = postgres.ensure(state)
    try:
        migrated.fill(url)
        with migrated.using(url):
            yield url
    finally:
        postgres.stop(state)
        # As root it lies outside of the state folder, and nobody would look for it there.
        shutil.rmtree(postgres.status(state).data.parent)


@contextmanager
def running(state: Path, reach: str = "", **env: str) -> Iterator[Stack]:
    """The whole stack on a database of its own, all of it gone afterwards."""
    with own_database(state) as url:
        stack = Stack(state, url, reach, **env)
        try:
            stack.start("host", "worker", "relay", "web")
            yield stack
        finally:
            stack.stop()
