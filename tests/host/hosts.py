"""A real host process for tests, and what it leaves on the machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import e2b

from sandboxes.host.fleet import group_name
from sandboxes.host.settings import Settings
from tests.deadline import until

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


def eventually(seen: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true value of `seen`; fails when there is none in time."""
    return until(seen, seconds)


class HostProcess:
    """`python -m sandboxes.host` on a free port; `url` and `key` are what it printed."""

    def __init__(self, state: Path, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.state = state
        self.options = options
        self.prefix = prefix
        self.process: subprocess.Popen[str] | None = None
        self.url = self.key = ""

    def command(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "sandboxes.host", *words, "--state", str(self.state)]

    def start(self) -> "HostProcess":
        self.log = (self.state.parent / f"{self.state.name}.log").open("ab")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        self.process = subprocess.Popen(
            self.command(*self.options), stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT, env=environment
        )
        assert self.process.stdout is not None
        printed = dict(self.process.stdout.readline().strip().partition("=")[::2] for _ in range(3))
        self.url, self.key = printed["E2B_API_URL"], printed["E2B_API_KEY"]
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        self.process.stdout.close()
        self.log.close()

    def sweep(self) -> str:
        return subprocess.run(self.command("sweep"), capture_output=True, text=True, cwd=ROOT, check=True).stdout

    def sdk(self) -> e2b.E2B:
        return e2b.E2B(api_key=self.key, api_url=self.url, sandbox_url=self.url)

    def create(self, template: str = "script", **more: Any) -> Any:
        return self.sdk().Sandbox.create(template, **more)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One REST call: status and decoded JSON (None without a body)."""
        data = None if body is None else json.dumps(body).encode()
        given = {"X-API-KEY": self.key} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                status, text = refused.code, refused.read()
        return status, json.loads(text) if text else None

    def reason(self, sandbox_id: str) -> str:
        """Why a sandbox ended, empty while it hasn't."""
        status, facts = self.call("GET", f"/sandboxes/{sandbox_id}/tombstone")
        return str(facts["reason"]) if status == 200 else ""

    def record(self, sandbox_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "sandboxes" / sandbox_id / "record.json").read_text())
        return found

    def leftovers(self) -> list[str]:
        """Folders, cgroups, loop devices and processes that belong to this host's sandboxes."""
        name = group_name(Settings(self.state))
        found = [str(path) for path in (self.state / "sandboxes").iterdir()]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/codecourier/{name}/*") if path.is_dir()]
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                found += [text for text in [backing.read_text()] if str(self.state) in text]
        return found + list(self.processes())

    def processes(self) -> Iterator[str]:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.state / "sandboxes").encode() in path.read_bytes():
                    yield str(path)


def pooled(host: HostProcess) -> set[str]:
    """The ids of started sandboxes that nobody owns."""
    found = set()
    for path in (host.state / "sandboxes").glob("*/record.json"):
        # One that is just being removed is none any more.
        with contextlib.suppress(FileNotFoundError):
            if host.record(path.parent.name)["state"] == "pooled":
                found.add(path.parent.name)
    return found
