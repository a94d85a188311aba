"""Without a writable cgroup: count from /proc, stop by signal, let a watchdog judge.

`RLIMIT_NPROC`, set by the sandbox's first process, bounds the number of processes.
"""

import contextlib
import os
import signal
import time

from .. import processes

STOP_SECONDS = 5.0


class Bare:
    kind = "none"

    def __init__(self) -> None:
        self.init = 0
        self.memory = 0
        self.excesses = 0

    def folders(self) -> list[str]:
        return []

    def create(self) -> None:
        """Nothing to make."""

    def adopt(self, init: int) -> None:
        self.init = init

    def limit(self, cpu: int, memory_mb: int, pids: int) -> None:
        """Remember the memory for the watchdog; pin the processes to `cpu` cores."""
        self.memory = memory_mb << 20
        cores = sorted(os.sched_getaffinity(0))[:cpu]
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setaffinity(pid, cores)

    def freeze(self) -> None:
        """Stop everything, again and again until nothing was forked in between.

        Raises TimeoutError when processes go on appearing.
        """
        deadline = time.monotonic() + STOP_SECONDS
        while moving := [pid for pid in self.pids() if not processes.is_stopped(pid)]:
            processes.send(moving, signal.SIGSTOP)
            if time.monotonic() > deadline:
                raise TimeoutError("the sandbox's processes cannot be stopped")
            time.sleep(0.002)

    def thaw(self) -> None:
        processes.send(self.pids(), signal.SIGCONT)

    def pids(self) -> list[int]:
        return processes.members(self.init) if self.init else []

    def oom_kills(self) -> int:
        """How often the watchdog found more resident memory than allowed."""
        if self.memory and self.memory_used() > self.memory:
            self.excesses += 1
        return self.excesses

    def oom_event(self) -> int:
        """No descriptor: the watchdog reads `oom_kills` instead."""
        return -1

    def relieve(self) -> None:
        """Kill the largest process while there is more than allowed, as a kernel would."""
        if self.memory and self.memory_used() > self.memory:
            pids = [pid for pid in self.pids() if pid != self.init]
            processes.send(sorted(pids, key=lambda pid: processes.resident_bytes([pid]))[-1:], signal.SIGKILL)

    def memory_used(self) -> int:
        return processes.resident_bytes(self.pids())

    def memory_cache(self) -> int:
        return 0

    def cpu_seconds(self) -> float:
        return processes.cpu_seconds(self.pids())

    def remove(self) -> None:
        """Nothing to remove."""
