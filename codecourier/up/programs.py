"""The programs of a stack: what runs, in which environment, and where the sandbox host's key goes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from ..supervisor import Program
from .facts import Stack, UpError, write_private

HOST_LINES = frozenset({"E2B_API_URL", "E2B_SANDBOX_URL", "E2B_API_KEY"})
SWEEP_SECONDS = 60.0


def programs(facts: Stack, host: str, port: int, workers: int | None) -> list[Program]:
    """All of them, in the order of starting; stopped the other way round, so that the sandbox host goes last."""
    size = {"WORKERS": str(workers)} if workers else {}
    found = [
        _program("relay", "manage.py", "relay"),
        _program("worker", "manage.py", "qcluster", **size),
        # Quiet, since its access log would hold the sign-in link.
        _program("web", "-m", "daphne", "-v", "0", "-b", host, "-p", str(port), "codecourier.asgi:application"),
    ]
    return [_sandbox_host(facts), *found] if facts.host_url else found


def host_state() -> Path:
    """The state folder of the local sandbox host."""
    return Path(settings.STATE) / "host"


def sweep_sandboxes() -> None:
    """End every local sandbox and remove what it had. Raises UpError when something stayed."""
    command = [sys.executable, "-m", "sandboxes.host", "sweep", "--state", str(host_state())]
    try:
        done = subprocess.run(
            command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=SWEEP_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UpError(f"Ending the local sandboxes took more than {SWEEP_SECONDS:.0f} s; run `up` again.") from error
    if done.returncode:
        raise UpError(f"Not every local sandbox could be ended: {(done.stderr or done.stdout).strip()}")


def _program(name: str, *arguments: str, **env: str) -> Program:
    own = {"PYTHONUNBUFFERED": "1", "CODECOURIER_PROCESS": name}
    return Program(name, [sys.executable, *arguments], {**own, **env}, settings.BASE_DIR)


def _sandbox_host(facts: Stack) -> Program:
    port = facts.host_url.rpartition(":")[2]
    private = [word for entry in settings.SANDBOX_ALLOW_PRIVATE for word in ("--allow-private", entry)]
    folders = ["--state", str(host_state()), "--tools", str(settings.TOOLS)]
    options = ["--port", port, *folders, "--lend", str(settings.STATE / "repositories"), "--kill-on-exit", *private]
    # Not by manage.py: it needs no Django, and starts in a quarter of the time without.
    plain = _program("host", "-m", "sandboxes.host", *options)
    return Program(plain.name, plain.argv, plain.env, plain.cwd, _keeping(Path(facts.host_env)))


def _keeping(path: Path) -> Callable[[str], bool]:
    """Take the host's first lines, which hold its key, off the screen and into a file that only we can read."""
    found: dict[str, str] = {}

    def swallow(line: str) -> bool:
        name, _, value = line.partition("=")
        if name not in HOST_LINES:
            return False
        found[name] = value
        if found.keys() == HOST_LINES:
            write_private(path, "".join(f"{name}={value}\n" for name, value in found.items()))
        return True

    return swallow
