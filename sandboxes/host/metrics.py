"""What a sandbox uses, sampled now and then."""

import time
from dataclasses import dataclass
from typing import Any

from . import disk, rootfs
from .machine import Machine
from .payloads import timestamp


@dataclass(frozen=True)
class Sample:
    """One moment: seconds since the epoch, CPU seconds so far, bytes."""

    at: float
    cpu_seconds: float
    cpu_percent: float
    memory: int
    cache: int
    disk: int
    disk_total: int


def take(machine: Machine, before: Sample | None) -> Sample:
    """Measure now; the CPU share is that since the sample before, one core being 100."""
    group, now = machine.group, time.time()
    seconds = group.cpu_seconds()
    percent = 0.0
    if before and now > before.at:
        percent = max(0.0, 100 * (seconds - before.cpu_seconds) / (now - before.at))
    used, total = disk_use(machine)
    return Sample(now, seconds, round(percent, 2), group.memory_used(), group.memory_cache(), used, total)


def disk_use(machine: Machine) -> tuple[int, int]:
    total = machine.record.disk_mb << 20
    if machine.record.mounted:
        used, size = disk.usage(machine.record.init[0], rootfs.HOME)
        return used, size or total
    return disk.size_of(machine.folder / "home"), total


def describe(sample: Sample, cpu: int, memory_mb: int) -> dict[str, Any]:
    """One entry of E2B's metrics answer."""
    return {
        "timestamp": timestamp(sample.at),
        "timestampUnix": int(sample.at),
        "cpuCount": cpu,
        "cpuUsedPct": round(sample.cpu_percent / max(cpu, 1), 2),
        "memUsed": sample.memory,
        "memTotal": memory_mb << 20,
        "memCache": sample.cache,
        "diskUsed": sample.disk,
        "diskTotal": sample.disk_total,
    }
