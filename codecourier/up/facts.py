"""What is known of a running stack, on disk: `STATE/run/stack.json` (mode 0600), and the lock its owner holds."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.conf import settings


class UpError(Exception):
    """The stack can't run here; the message says why and what to do."""


@dataclass
class Stack:
    """Where the portal (`url`) and the local sandbox host answer, the host's key file, and the processes by name.

    `ready` means that both have answered since the start. Without a local host its two fields are empty.
    """

    url: str
    pid: int
    host_url: str = ""
    host_env: str = ""
    ready: bool = False
    pids: dict[str, int] = field(default_factory=dict)


def running() -> Stack | None:
    """The stack that runs on this STATE now; None while there is none, or one that has not said where it is yet."""
    return read() if is_locked() else None


def is_locked() -> bool:
    """Whether a process runs the stack, or is about to."""
    try:
        with _lock_path().open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the right to run the stack on this STATE. Raises UpError while another process has it."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        lock = _lock_path().open("wb")
    except OSError as error:
        raise UpError(
            f"The state folder {settings.STATE} can't be written ({error.strerror}). Make it writable, or set STATE."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UpError(_already()) from error
        yield


def read() -> Stack | None:
    """What stack.json says, whether or not it still runs."""
    try:
        return Stack(**json.loads(_path().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(stack: Stack) -> None:
    """Put down the facts, all at once."""
    write_private(_path(), json.dumps(asdict(stack), indent=1) + "\n")


def forget() -> None:
    """The stack has ended."""
    _path().unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only we can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def folder() -> Path:
    """Where a running stack keeps what it needs only while it runs."""
    return Path(settings.STATE) / "run"


def _already() -> str:
    found = read()
    where = f" at {found.url} (process {found.pid})" if found else ""
    return f"CodeCourier is already running{where}. Use that one, stop it with Ctrl-C, or set STATE to another folder."


def _path() -> Path:
    return folder() / "stack.json"


def _lock_path() -> Path:
    return folder() / "up.lock"
