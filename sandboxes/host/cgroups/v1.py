"""cgroup version 1: one folder per controller.

Files and units: Documentation/admin-guide/cgroup-v1/ of the kernel.
"""

import contextlib
import os
from pathlib import Path

from .files import mounts, read_field, read_number, read_pids, remove_folder, wait_for

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer")
PERIOD_US = 100_000


def find_v1(name: str) -> dict[str, Path] | None:
    """Our folder below each controller; None unless all are mounted and writable."""
    points = {
        controller: point / "codecourier" / name
        for point, kind, options in mounts()
        if kind == "cgroup"
        for controller in CONTROLLERS
        if controller in options
    }
    if len(points) < len(CONTROLLERS):
        return None
    writable = all(os.access(folder.parents[1], os.W_OK) for folder in points.values())
    return points if writable else None


class Version1:
    kind = "v1"

    def __init__(self, by_controller: dict[str, Path]) -> None:
        self.by_controller = by_controller
        self.memory = by_controller["memory"]
        self.frozen = by_controller["freezer"]

    def folders(self) -> list[str]:
        return sorted({str(folder) for folder in self.by_controller.values()})

    def create(self) -> None:
        for folder in self.by_controller.values():
            folder.mkdir(parents=True, exist_ok=True)

    def adopt(self, init: int) -> None:
        """Nothing to learn: membership is the kernel's."""

    def limit(self, cpu: int, memory_mb: int, pids: int) -> None:
        self.limit_memory(memory_mb << 20)
        (self.by_controller["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self.by_controller["cpu"] / "cpu.cfs_quota_us").write_text(str(cpu * PERIOD_US))
        (self.by_controller["pids"] / "pids.max").write_text(str(pids))

    def limit_memory(self, size: int) -> None:
        """Memory, and memory with swap where counted: the kernel wants the second >= the first."""
        both = self.memory / "memory.memsw.limit_in_bytes"
        names = [self.memory / "memory.limit_in_bytes"]
        if both.exists():
            names.insert(0 if read_number(both) < size else 1, both)
        for path in names:
            path.write_text(str(size))

    def freeze(self) -> None:
        """Stop every process; raises OSError when the kernel doesn't in time."""
        state = self.frozen / "freezer.state"
        state.write_text("FROZEN")
        wait_for(lambda: state.read_text().strip() == "FROZEN", "freeze the sandbox")

    def thaw(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.frozen / "freezer.state").write_text("THAWED")

    def pids(self) -> list[int]:
        return read_pids(self.memory)

    def oom_kills(self) -> int:
        return read_field(self.memory / "memory.oom_control", "oom_kill")

    def oom_event(self) -> int:
        """A descriptor that becomes readable when the limit was hit (memory.rst, section 10)."""
        event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        with (self.memory / "memory.oom_control").open() as control:
            (self.memory / "cgroup.event_control").write_text(f"{event} {control.fileno()}")
        return event

    def relieve(self) -> None:
        """The kernel has done it."""

    def memory_used(self) -> int:
        return max(0, read_number(self.memory / "memory.usage_in_bytes") - self.memory_cache())

    def memory_cache(self) -> int:
        stat = self.memory / "memory.stat"
        return read_field(stat, "total_cache") - read_field(stat, "total_shmem")

    def cpu_seconds(self) -> float:
        return read_number(self.by_controller["cpuacct"] / "cpuacct.usage") / 1e9

    def remove(self) -> None:
        for folder in self.by_controller.values():
            remove_folder(folder)
