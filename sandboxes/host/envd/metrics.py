"""`/metrics`: what the sandbox's processes use, in the fields of envd's answer."""

import os
import time
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _used() -> tuple[float, int]:
    """(CPU seconds so far with reaped children, resident bytes now) of all visible processes."""
    seconds, resident = 0.0, 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        seconds += sum(map(int, fields[11:15])) / _TICK
        resident += int(fields[21]) * _PAGE
    return seconds, resident


class Meter:
    """CPU use is the mean since the call before."""

    def __init__(self) -> None:
        self._at, self._seconds = time.monotonic(), 0.0

    def read(self, folder: str) -> dict[str, Any]:
        """Bytes and percent of one CPU; `folder` chooses the disk."""
        now = time.monotonic()
        seconds, resident = _used()
        percent = 100 * max(seconds - self._seconds, 0) / max(now - self._at, 0.001)
        self._at, self._seconds = now, seconds
        disk = os.statvfs(folder)
        return {
            "ts": int(time.time()),
            "cpu_count": os.cpu_count() or 1,
            "cpu_used_pct": round(percent, 2),
            "mem_used": resident,
            "mem_total": os.sysconf("SC_PHYS_PAGES") * _PAGE,
            "disk_used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "disk_total": disk.f_blocks * disk.f_frsize,
        }
