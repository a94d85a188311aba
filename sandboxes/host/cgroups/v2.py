"""cgroup version 2: one folder for everything.

Files and units: Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

import contextlib
from pathlib import Path

from .files import mounts, read_field, read_number, read_pids, remove_folder, wait_for

CONTROLLERS = ("cpu", "memory", "pids")
PERIOD_US = 100_000


def find_v2(name: str) -> Path | None:
    """Our folder below the unified tree; None unless all controllers can be used there."""
    points = [point for point, kind, _ in mounts() if kind == "cgroup2"]
    try:
        return delegate(points[0], name) if points else None
    except OSError:
        return None


def delegate(point: Path, name: str) -> Path | None:
    """Switch the controllers on from the top down to our folder."""
    if not set(CONTROLLERS) <= set((point / "cgroup.controllers").read_text().split()):
        return None
    folder = point / "codecourier" / name
    wanted = " ".join(f"+{controller}" for controller in CONTROLLERS)
    (point / "cgroup.subtree_control").write_text(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder.parent, folder):
        (parent / "cgroup.subtree_control").write_text(wanted)
    return folder


class Version2:
    kind = "v2"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def folders(self) -> list[str]:
        return [str(self.folder)]

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def adopt(self, init: int) -> None:
        """Nothing to learn: membership is the kernel's."""

    def limit(self, cpu: int, memory_mb: int, pids: int) -> None:
        (self.folder / "memory.max").write_text(str(memory_mb << 20))
        if (self.folder / "memory.swap.max").exists():
            (self.folder / "memory.swap.max").write_text("0")
        (self.folder / "memory.oom.group").write_text("1")
        (self.folder / "cpu.max").write_text(f"{cpu * PERIOD_US} {PERIOD_US}")
        (self.folder / "pids.max").write_text(str(pids))

    def freeze(self) -> None:
        """Stop every process; raises OSError when the kernel doesn't in time."""
        (self.folder / "cgroup.freeze").write_text("1")
        wait_for(lambda: read_field(self.folder / "cgroup.events", "frozen") == 1, "freeze the sandbox")

    def thaw(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "cgroup.freeze").write_text("0")

    def pids(self) -> list[int]:
        return read_pids(self.folder)

    def oom_kills(self) -> int:
        return read_field(self.folder / "memory.events", "oom_kill")

    def oom_event(self) -> int:
        """No descriptor: the watchdog reads `oom_kills` instead."""
        return -1

    def relieve(self) -> None:
        """The kernel has done it."""

    def memory_used(self) -> int:
        return max(0, read_number(self.folder / "memory.current") - self.memory_cache())

    def memory_cache(self) -> int:
        stat = self.folder / "memory.stat"
        return read_field(stat, "file") - read_field(stat, "shmem")

    def cpu_seconds(self) -> float:
        return read_field(self.folder / "cpu.stat", "usage_usec") / 1e6

    def remove(self) -> None:
        remove_folder(self.folder)
