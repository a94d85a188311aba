"""`manage.py up`, for real: a stack of its own on free ports, with its own database server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import LazySettings

from codecourier import postgres, up
from codecourier.up import checks
from tests import migrated
from tests.deadline import until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0


class Up:
    """A running `manage.py up` and the lines it has printed."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.lines: list[str] = []
        self.process = self.spawn()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        until(lambda: self.link or self.process.poll() is not None, START_SECONDS)
        assert self.link, "".join(self.lines)

    @property
    def env(self) -> dict[str, str]:
        """The product's own settings, on this state folder."""
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        return {**kept, "STATE": str(self.state), "WORKERS": "1", "DJANGO_SETTINGS_MODULE": "codecourier.settings"}

    def manage(self, *words: str) -> None:
        """Another command beside it."""
        subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=self.env, check=True)

    def spawn(self) -> "subprocess.Popen[str]":
        """`up` on free ports."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", "0", "--host-port", "0"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)

    @property
    def link(self) -> str:
        """The sign-in link, once it is printed."""
        return next((line.split(": ", 1)[1].strip() for line in list(self.lines) if line.startswith("Sign in")), "")

    @property
    def facts(self) -> up.Stack:
        """What stack.json says."""
        return up.Stack(**json.loads((self.state / "run" / "stack.json").read_text()))

    def processes(self) -> set[int]:
        """Every living process that was told of this state folder, PostgreSQL's apart: they know only their data."""
        mark = str(self.state).encode()
        return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _mentions(entry, mark)}


def _mentions(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes() or mark in (process / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture(scope="module")
def stack(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack for all tests of this module; the last of them stop it. Its tables are there: the demo begins without."""
    state = tmp_path_factory.mktemp("up")
    with django_db_blocker.unblock():
        migrated.fill(postgres.ensure(state))
    running = Up(state)
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
    running.reader.join(10)
    postgres.stop(state)
    subprocess.run(["rm", "-rf", postgres.status(state).data.parent], check=True)


@pytest.mark.stack
def test_the_link_signs_in_once(stack: Up) -> None:
    with httpx.Client(follow_redirects=True, trust_env=False, verify=False) as browser:
        page = browser.get(stack.link)
        if page.request.url.path == httpx.URL(stack.link).path:  # a page that asks to confirm, against link previews
            token = browser.cookies["csrftoken"]
            page = browser.post(stack.link, data={"csrfmiddlewaretoken": token}, headers={"Referer": stack.link})
        assert page.status_code == 200
        assert "sessionid" in browser.cookies
    with httpx.Client(follow_redirects=True, trust_env=False) as second:
        second.get(stack.link)
        assert "sessionid" not in second.cookies


@pytest.mark.stack
def test_a_second_one_says_where_the_first_is(stack: Up, settings: LazySettings) -> None:
    settings.STATE = stack.state
    where = re.escape(f"already running at {stack.facts.url} (process {stack.process.pid})")
    with pytest.raises(up.UpError, match=where):
        up.up(up.Options(port=0), print)
    with up.stack(print) as found:
        assert found == stack.facts


@pytest.mark.stack
def test_keys_are_in_private_files_and_never_on_the_screen(stack: Up) -> None:
    key_file = Path(stack.facts.host_env)
    lines = dict(line.split("=", 1) for line in key_file.read_text().splitlines())
    assert httpx.get(f"{lines['E2B_API_URL']}/health", trust_env=False).status_code < 500
    assert key_file.stat().st_mode & 0o077 == (stack.state / "run" / "stack.json").stat().st_mode & 0o077 == 0
    assert lines["E2B_API_KEY"] not in "".join(stack.lines)
    assert "".join(stack.lines).count(stack.link) == 1


@pytest.mark.stack
@pytest.mark.parametrize("name", ["host", "relay", "worker", "web"])
def test_a_killed_process_is_started_again(stack: Up, name: str) -> None:
    first = stack.facts.pids[name]
    os.kill(first, signal.SIGKILL)
    until(lambda: stack.facts.pids.get(name) not in (None, first))
    assert any("killed by SIGKILL; starting again" in line for line in stack.lines if line.startswith(name))


@pytest.mark.stack
def test_a_killed_database_is_started_again(stack: Up) -> None:
    first = postgres.status(stack.state).pid
    assert first
    os.kill(first, signal.SIGKILL)
    until(lambda: postgres.status(stack.state).pid not in (None, first))
    until(lambda: _answers(stack.facts.url), START_SECONDS)


@pytest.mark.stack
def test_when_it_is_killed_its_processes_end_and_it_can_be_started_again(stack: Up) -> None:
    stack.process.kill()
    stack.process.wait()
    until(lambda: not stack.processes(), 60)
    stack.reader.join(10)
    again = Up(stack.state)
    stack.process, stack.lines, stack.reader = again.process, again.lines, again.reader
    assert _answers(again.facts.url)


LAUNCH = """
from codecourier.models import Project
from sandboxes import fleet
from sandboxes.models import Template
project = Project.objects.create(name="Left", slug="left")
fleet.launch(project, None, template=Template.objects.get(slug="script"), prompt="echo hi; sleep 300")
"""


@pytest.mark.stack
def test_ctrl_c_leaves_no_process_and_says_so_of_each_sandbox(stack: Up) -> None:
    stack.manage("shell", "-c", LAUNCH)
    with psycopg.connect(postgres.url(stack.state), autocommit=True) as database:
        turn = "SELECT 1 FROM sandboxes_turn WHERE status = 'running'"
        until(lambda: database.execute(turn).fetchone(), 60)
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(60) == 0
        found = database.execute("SELECT status, reason, released_at IS NULL FROM sandboxes_sandbox").fetchall()
        assert found == [("killed", "stopped", False)]
        assert database.execute("SELECT status, reason FROM sandboxes_turn").fetchall() == [("interrupted", "stopped")]
    assert stack.processes() == set()
    assert postgres.is_running(stack.state)
    assert not (stack.state / "run" / "stack.json").exists()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, follow_redirects=True, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


# Says when it listens, and ends when it is told to by other means than signals.
LISTEN = """
import sys
from codecourier.up import _stop_signals
with _stop_signals() as stopping:
    print("listening", flush=True)
    sys.stdin.readline()
    assert stopping.wait(0)
    print("asked", flush=True)
    sys.stdin.readline()
"""


def test_a_signal_that_comes_while_another_is_handled_holds_nothing_up() -> None:
    # The terminal tells both of them of Ctrl-C, and uv passes on what it is told.
    argv = [sys.executable, "manage.py", "shell", "-v", "0", "-c", LISTEN]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdin
        assert listener.stdout
        assert listener.stdout.readline() == "listening\n"
        for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] * 3000:
            listener.send_signal(number)
        try:
            said, _ = listener.communicate("\n\n", timeout=30)
        finally:
            listener.kill()
        assert said == "asked\n"


def test_a_busy_port_is_named_with_the_option_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(up.UpError, match=rf"Port {port} on 127\.0\.0\.1 is in use .* --port {port + 1}"):
            checks.require_address("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(up.UpError, match=r"Can't listen on 192\.0\.2\.1 port 8000"):
        checks.is_free("192.0.2.1", 8000)


def test_listening_for_other_machines_asks_for_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLOWED_HOSTS", raising=False)
    with pytest.raises(up.UpError, match="Set ALLOWED_HOSTS"):
        checks.require_address("0.0.0.0", checks.free_port("0.0.0.0"))


def test_another_system_than_linux_is_told_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(up.UpError, match="runs on Linux only"):
        checks.require_linux()


def test_an_unwritable_state_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {**os.environ, "STATE": str(tmp_path / "file" / "state"), "DJANGO_SETTINGS_MODULE": "codecourier.settings"}
    done = subprocess.run(
        [sys.executable, "manage.py", "up"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "file/state can't be used" in done.stderr
    assert "Traceback" not in done.stderr
