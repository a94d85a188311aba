"""Keeping programs running, with real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from codecourier.supervisor import Program, Supervisor
from tests.deadline import until

ROOT = Path(__file__).resolve().parents[2]


class Screen:
    """What was said, by program."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, name: str, line: str) -> None:
        """Keep a line."""
        self.lines.append((name, line))

    def shows(self, name: str, part: str) -> bool:
        """Whether the program has said something that contains `part`."""
        return any(name == who and part in line for who, line in self.lines)


def program(name: str, source: str, **more: Any) -> Program:
    """A Python program of a few lines that waits after them."""
    return Program(name, [sys.executable, "-u", "-c", f"{source}\nimport signal; signal.pause()"], **more)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie doesn't)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_program_is_started_again_and_that_is_said() -> None:
    screen = Screen()
    with Supervisor([program("web", "print('up')")], screen.say) as supervisor:
        until(lambda: screen.shows("web", "up"))
        first = supervisor.pids["web"]
        os.kill(first, signal.SIGKILL)
        until(lambda: screen.lines.count(("web", "up")) == 2)
        assert supervisor.pids["web"] != first
        assert ("web", "killed by SIGKILL; starting again in 0.2 s") in screen.lines


def test_a_program_that_keeps_failing_is_started_at_growing_intervals() -> None:
    screen = Screen()
    with Supervisor([Program("worker", [sys.executable, "-c", "raise SystemExit(3)"])], screen.say):
        until(lambda: screen.shows("worker", "ended with exit status 3; starting again in 0.4 s"))


def test_a_program_that_cannot_run_here_is_not_started_again() -> None:
    screen = Screen()
    source = "print('No user namespaces.'); raise SystemExit(2)"
    with Supervisor([Program("host", [sys.executable, "-c", source])], screen.say) as supervisor:
        until(lambda: supervisor.refused == "host")
    assert screen.lines == [("host", "No user namespaces.")]


def test_lines_pass_in_order_except_those_that_are_swallowed() -> None:
    screen = Screen()
    source = "print('KEY=secret'); print('one'); import sys; print('two', file=sys.stderr)"
    talker = program("host", source, swallow=lambda line: line.startswith("KEY="))
    with Supervisor([talker], screen.say):
        until(lambda: screen.shows("host", "two"))
    assert screen.lines == [("host", "one"), ("host", "two")]


def test_programs_stop_in_the_reverse_order() -> None:
    screen = Screen()
    polite = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (print('bye'), exit()))\nprint('up')"
    with Supervisor([program("host", polite), program("web", polite)], screen.say):
        until(lambda: screen.shows("host", "up") and screen.shows("web", "up"))
    assert [name for name, line in screen.lines if line == "bye"] == ["web", "host"]


def test_what_a_program_leaves_in_its_group_ends_with_it() -> None:
    screen = Screen()
    source = "import os\nif os.fork() == 0: signal.signal(15, 1)\nos.write(1, b'%d\\n' % os.getpid())"
    with Supervisor([program("worker", f"import signal\n{source}")], screen.say):
        until(lambda: len(screen.lines) == 2)
    until(lambda: not any(alive(int(line)) for _, line in screen.lines))  # a kill is sent, not awaited


def test_a_program_that_ignores_the_request_is_killed() -> None:
    screen = Screen()
    with Supervisor([program("relay", "import signal\nsignal.signal(15, 1)\nprint('deaf')")], screen.say) as supervisor:
        until(lambda: screen.shows("relay", "deaf"))
        supervisor.keepers[0].stop(grace=0.2)
        assert supervisor.pids == {}
    assert screen.shows("relay", "did not stop within")


def test_programs_end_when_their_supervisor_is_killed() -> None:
    source = (
        "import sys, signal; from codecourier.supervisor import *\n"
        "sleeper = Program('child', [sys.executable, '-uc', 'import os, signal; print(os.getpid()); signal.pause()'])\n"
        "with Supervisor([sleeper], lambda name, line: print(line, flush=True)): signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        child = int(supervisor.stdout.readline())
        assert alive(child)
        supervisor.kill()
        until(lambda: not alive(child))
