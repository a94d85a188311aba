"""Reading and removing cgroup folders, the same in both versions."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

REACTION_SECONDS = 5.0


def read_number(path: Path) -> int:
    """One number; 0 when the file is gone or says `max`."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def read_field(path: Path, name: str) -> int:
    """The number after `name` in a file of `name value` lines; 0 when absent."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


def read_pids(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def mounts() -> list[tuple[Path, str, set[str]]]:
    """Mount point, type and options of everything mounted (proc(5), /proc/PID/mounts)."""
    rows = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [(Path(row[1]), row[2], set(row[3].split(","))) for row in rows]


def wait_for(reached: Callable[[], bool], what: str) -> None:
    """Look every few milliseconds; raises TimeoutError when `REACTION_SECONDS` have passed."""
    deadline = time.monotonic() + REACTION_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the kernel did not {what} within {REACTION_SECONDS} s")
        time.sleep(0.002)


def remove_folder(folder: Path) -> None:
    """Remove an empty group. The kernel refuses for a moment after its last process died.

    Raises OSError when it is still refused after `REACTION_SECONDS`.
    """
    deadline = time.monotonic() + REACTION_SECONDS
    while True:
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
