"""What /proc says about the processes of a sandbox, seen from the host."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)); empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """Clock ticks after boot at which the process began, 0 when gone or a zombie.

    With the pid it names one process for as long as the machine is up.
    """
    fields = stat_fields(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def namespace(pid: int) -> str:
    """The identity of the pid namespace of a process, empty when it can't be read."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def everyone() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def members(init: int) -> list[int]:
    """Every process in the same pid namespace as `init`; empty when `init` is gone."""
    wanted = namespace(init)
    return [pid for pid in everyone() if namespace(pid) == wanted] if wanted else []


def mentioning(text: str) -> list[int]:
    """Processes other than this one whose command line contains `text`."""
    found = []
    for pid in everyone():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def resident_bytes(pids: Iterable[int]) -> int:
    total = 0
    for pid in pids:
        fields = stat_fields(pid)
        total += int(fields[21]) * PAGE if fields else 0
    return total


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time, with that of children already waited for."""
    total = 0
    for pid in pids:
        total += sum(int(field) for field in stat_fields(pid)[11:15])
    return total / TICKS


def is_stopped(pid: int) -> bool:
    fields = stat_fields(pid)
    return not fields or fields[0] in "TtZX"


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process; one that is gone already is fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
