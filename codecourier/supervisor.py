"""Keeping programs running: start them, pass their lines on, restart what crashes, stop all in order.

Each program leads a session of its own, so a Ctrl-C in the terminal reaches only us, and is told by the kernel to stop
when we die, even by kill -9 (`leash`). That signal is tied to the thread that started the program, which is why this
thread stays with it until its end. Imports no Django.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from . import leash

FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
STEADY_SECONDS = 30.0
GRACE_SECONDS = 10.0
REFUSED = 2  # the exit status of a program that can't run here at all and has said why


@dataclass(frozen=True)
class Program:
    """What to run. `swallow` sees each line first and returns True for one that must not be shown."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    swallow: Callable[[str], bool] = lambda line: False


class Keeper:
    """One program, kept running in a thread of its own until `stop`.

    `say(name, line)` gets its lines, `changed()` is called after each start.
    """

    def __init__(self, program: Program, say: Callable[[str, str], None], changed: Callable[[], None]) -> None:
        self.program = program
        self.refused = threading.Event()
        self._say, self._changed = say, changed
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=program.name, daemon=True)

    def start(self) -> None:
        """Start the program and return at once."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The running program's process, which leads its group."""
        return self._process.pid if self._process else None

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Ask the program to stop, and end it with all of its group when `grace` seconds have passed."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        self._thread.join(grace)
        if self._thread.is_alive():
            self._say(self.program.name, f"did not stop within {grace:.0f} s: killed")
            self._signal(signal.SIGKILL)
            self._thread.join()

    def _keep(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._run()
            if status == REFUSED:
                return self.refused.set()
            delay = FIRST_DELAY if time.monotonic() - began > STEADY_SECONDS else delay
            if not self._stopping.is_set():
                self._say(self.program.name, f"{_how(status)}; starting again in {delay:.1f} s")
                self._stopping.wait(delay)
            delay = min(delay * 2, LONGEST_DELAY)
        return None

    def _run(self) -> int:
        """Run the program once to its end and return its exit status (negative: a signal's number)."""
        process = self._process = _spawn(self.program)
        if self._stopping.is_set():  # `stop` came before there was a process to signal
            process.terminate()
        self._changed()
        reader = threading.Thread(target=self._pass_on, args=[process.stdout], daemon=True)
        reader.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(process.pid)  # before it is reaped, while its id can't be anybody else's
        reader.join()
        self._process = None
        return process.wait()

    def _pass_on(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip("\r\n")
                if not self.program.swallow(text):
                    self._say(self.program.name, text)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process:
            process.send_signal(number)


class Supervisor:
    """Several programs: started in the given order, stopped in the reverse one."""

    def __init__(
        self, programs: Sequence[Program], say: Callable[[str, str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        self.keepers = [Keeper(program, say, changed) for program in programs]

    def __enter__(self) -> "Supervisor":
        for keeper in self.keepers:
            keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        for keeper in reversed(self.keepers):
            keeper.stop()

    @property
    def refused(self) -> str | None:
        """The name of a program that has said that it can't run here."""
        return next((keeper.program.name for keeper in self.keepers if keeper.refused.is_set()), None)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by program, of those that run."""
        return {keeper.program.name: keeper.pid for keeper in self.keepers if keeper.pid}


def _spawn(program: Program) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *program.argv],
        cwd=program.cwd,
        env={**os.environ, **program.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _kill_group(leader: int) -> None:
    """End what a program left behind in its group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _how(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
