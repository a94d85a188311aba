"""Processes of an earlier stack that was killed: the kernel has told them to stop, and here they are waited for."""

import os
import signal
import time
from pathlib import Path

from django.conf import settings

from .facts import Stack

GRACE_SECONDS = 10.0


def end(old: Stack | None) -> None:
    """Wait until nothing of the old stack runs, and end what doesn't stop by itself."""
    deadline = time.monotonic() + GRACE_SECONDS
    while left := _living(old):
        if time.monotonic() > deadline:
            for pid in left:
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)


def _living(old: Stack | None) -> list[int]:
    return [pid for name, pid in (old.pids if old else {}).items() if _is_ours(pid, name)]


def _is_ours(pid: int, name: str) -> bool:
    """Whether the process id still belongs to that program of this installation; a zombie has no environment."""
    mark = f"CODECOURIER_PROCESS={name}".encode()
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return mark in environment and Path(f"/proc/{pid}/cwd").readlink() == settings.BASE_DIR
    except OSError:
        return False
