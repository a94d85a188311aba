"""Commands and terminals: start, feed, signal, wait, and remember for a while how they ended."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import pty
from .connect import RpcError
from .output import STALL_SECONDS, Source, Subscriber, data_event, event

REMEMBER_SECONDS = 30.0
PTY_HANGUP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run. `size` is (rows, cols) for a terminal, `config` the caller's own words for List."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    config: dict[str, Any]
    tag: str | None = None
    size: tuple[int, int] | None = None
    stdin: bool = False
    seconds: float | None = None


@dataclass(slots=True)
class _Ends:
    """The daemon's ends of a process's descriptors."""

    outputs: list[tuple[int, str]] = field(default_factory=list)
    input: int | None = None


def _spawn(spec: Spec) -> tuple[int, _Ends]:
    """Start in a session of its own, so that a kill reaches all of it."""
    if spec.size is not None:
        return _spawn_in_terminal(spec, spec.size)
    stdin = subprocess.PIPE if spec.stdin else subprocess.DEVNULL
    child = _popen(spec, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ends = _Ends([(_detach(child.stdout), "stdout"), (_detach(child.stderr), "stderr")])
    ends.input = _detach(child.stdin) if child.stdin else None
    return child.pid, ends


def _spawn_in_terminal(spec: Spec, size: tuple[int, int]) -> tuple[int, _Ends]:
    master, slave = pty.open_pair(*size)
    try:
        # preexec_fn forks with Python code in the child; that code is one ioctl.
        child = _popen(spec, stdin=slave, stdout=slave, stderr=slave, preexec_fn=pty.take_terminal)
    except RpcError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return child.pid, _Ends([(master, "pty")], master)


def _popen(spec: Spec, **options: Any) -> subprocess.Popen[bytes]:
    try:
        child = subprocess.Popen(spec.argv, cwd=spec.cwd, env=spec.env, bufsize=0, start_new_session=True, **options)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise RpcError("invalid_argument", f"error starting process '{' '.join(spec.argv)}': {error}") from None
    child.returncode = 0  # the reaper waits for it, not this object
    return child


def _detach(stream: Any) -> int:
    fd = os.dup(stream.fileno())
    stream.close()
    return fd


def exit_event(status: int) -> dict[str, Any]:
    """How it ended, in the words of Go's os.ProcessState, which envd passes on."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        text = f"signal: {(signal.strsignal(number) or str(number)).lower()}"
        return {"exitCode": -1, "exited": False, "status": text, "error": text}
    code = os.WEXITSTATUS(status)
    text = f"exit status {code}"
    result: dict[str, Any] = {"exitCode": code, "exited": True, "status": text}
    return result | ({"error": text} if code else {})


def _session_members(leader: int) -> Iterator[int]:
    """Processes of the session that `leader` opened (field 6 of /proc/PID/stat, see proc(5))."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended while we looked
            if int(fields[3]) == leader:
                yield int(folder.name)


class Process:
    """One command or terminal, from start until it is forgotten."""

    def __init__(self, spec: Spec, on_gone: Callable[["Process"], None]) -> None:
        self.spec = spec
        self.pid, ends = _spawn(spec)
        self.reaped = asyncio.Event()
        self.end: dict[str, Any] | None = None
        self.timed_out = False
        self._final: dict[str, Any] = {}
        self.is_terminal = spec.size is not None
        self._input = ends.input
        self._input_lock = asyncio.Lock()
        self._waiting_writer: asyncio.Future[None] | None = None
        self._subscribers: list[Subscriber] = []
        self._owner: Subscriber | None = None
        self._on_gone = on_gone
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._sources = [Source(fd, kind, self._publish, self._source_ended) for fd, kind in ends.outputs]
        if self._input is not None:
            os.set_blocking(self._input, False)
        self._begin()

    def _begin(self) -> None:
        for source in self._sources:
            source.resume()
        if self.spec.seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self.spec.seconds, self._time_out)

    # Output

    def subscribe(self, owner: bool = False) -> Subscriber:
        """A stream's queue. The owner, the call that started it, gets an error for its end after a kill by timeout."""
        subscriber = Subscriber(self._make_room)
        if owner:
            self._owner = subscriber
        if self.end is None:
            self._subscribers.append(subscriber)
        else:
            subscriber.put(event("end", self.end))
            subscriber.end()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            self._make_room()

    def _publish(self, kind: str, data: bytes) -> None:
        if not self._subscribers:
            return
        encoded = data_event(kind, data)
        for subscriber in self._subscribers:
            subscriber.put(encoded)
        if any(subscriber.full for subscriber in self._subscribers) and not self.reaped.is_set():
            self._hold()

    def _hold(self) -> None:
        for source in self._sources:
            source.pause()
        if self._stall is None:
            self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS, self._cut_stalled)

    def _make_room(self) -> None:
        if any(subscriber.full for subscriber in self._subscribers):
            return
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        for source in self._sources:
            source.resume()

    def _cut_stalled(self) -> None:
        for subscriber in [one for one in self._subscribers if one.full]:
            subscriber.cut()
            self._subscribers.remove(subscriber)
        self._make_room()

    # Input

    async def write(self, kind: str, data: bytes) -> None:
        """Feed `stdin` or `pty`; returns when the kernel has taken it all."""
        if (kind == "pty") != self.is_terminal:
            raise RpcError(
                "failed_precondition",
                f"this process has {'a terminal: send pty' if self.is_terminal else 'no terminal: send stdin'} input",
            )
        async with self._input_lock:
            view = memoryview(data)
            while view:
                view = view[await self._write_some(view) :]

    async def _write_some(self, view: memoryview) -> int:
        if self._input is None:
            raise RpcError("failed_precondition", "stdin is not enabled for this process, or was closed")
        try:
            return os.write(self._input, view)
        except BlockingIOError:
            await self._until_writable(self._input)
            return 0
        except OSError as error:
            raise RpcError("failed_precondition", f"the process no longer reads its input: {error.strerror}") from None

    async def _until_writable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self._waiting_writer = loop.create_future()
        loop.add_writer(fd, _settle, self._waiting_writer)
        try:
            await self._waiting_writer
        finally:
            # After the exit `_close_input` has done this, and the number may belong to another file by now.
            if self._input is not None:
                loop.remove_writer(fd)

    def close_stdin(self) -> None:
        if self.is_terminal:
            raise RpcError("failed_precondition", "a terminal's input cannot be closed, send Ctrl+D (0x04) instead")
        self._close_input()

    def _close_input(self) -> None:
        if self._input is None:
            return
        asyncio.get_running_loop().remove_writer(self._input)
        if not self.is_terminal:  # a terminal's master is closed by its source
            os.close(self._input)
        self._input = None
        if self._waiting_writer is not None:
            _settle(self._waiting_writer)

    def resize(self, rows: int, cols: int) -> None:
        if not self.is_terminal or self._input is None:
            raise RpcError("failed_precondition", "this process has no terminal to resize")
        pty.resize(self._input, rows, cols)

    # End

    def signal(self, number: int) -> None:
        """SIGKILL reaches the whole session, any other signal the process group."""
        if self.reaped.is_set():
            return
        if number == signal.SIGKILL:
            for pid in _session_members(self.pid):
                _send(os.kill, pid, number)
        _send(os.killpg, self.pid, number)

    def _time_out(self) -> None:
        self.timed_out = True
        self.signal(signal.SIGKILL)

    def reap(self, status: int) -> None:
        """It has exited with this wait status: pass on what it left, then the end."""
        self.reaped.set()
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        self._close_input()
        for source in self._sources:
            source.drain()
            source.resume()
        self._after_reap(exit_event(status))

    def _after_reap(self, end: dict[str, Any]) -> None:
        """A terminal's last bytes may still be on their way inside the kernel; its hang-up marks their end."""
        self._final = end
        if self.is_terminal and not all(source.ended for source in self._sources):
            self._timer = asyncio.get_running_loop().call_later(PTY_HANGUP_SECONDS, self._finish)
        else:
            self._finish()

    def _source_ended(self) -> None:
        if self.is_terminal:
            self._close_input()
            if self.reaped.is_set() and self.end is None and self._timer is not None:
                self._timer.cancel()
                self._finish()

    def _end_for(self, subscriber: Subscriber, end: dict[str, Any]) -> None:
        if self.timed_out and subscriber is self._owner:
            subscriber.end(RpcError("deadline_exceeded", "the command ran longer than its timeout and was killed"))
        else:
            subscriber.put(event("end", end))
            subscriber.end()

    def _finish(self) -> None:
        self.end = self._final
        for subscriber in self._subscribers:
            self._end_for(subscriber, self.end)
        self._subscribers.clear()
        self._on_gone(self)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _send(how: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        how(target, number)
    except ProcessLookupError:
        return  # it ended first, which is what was wanted


class Table:
    """All processes by pid. Reaps every child, also orphans that fall to the daemon as the sandbox's first process."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Process] = {}

    def watch_children(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap_all)

    def start(self, spec: Spec) -> Process:
        process = Process(spec, self._forget_later)
        self._by_pid[process.pid] = process
        return process

    def running(self) -> list[Process]:
        return [process for process in self._by_pid.values() if not process.reaped.is_set()]

    def find(self, selector: Any, finished: bool = False) -> Process:
        """By `{"pid": n}` or `{"tag": text}`; one that has ended only when `finished`."""
        selector = selector if isinstance(selector, dict) else {}
        for process in self._by_pid.values():
            if (finished or not process.reaped.is_set()) and _matches(process, selector):
                return process
        raise RpcError("not_found", f"no process with {_describe(selector)} is running")

    def reap_all(self) -> None:
        """One SIGCHLD may stand for many children."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = self._by_pid.get(pid)
            if process is not None and not process.reaped.is_set():
                process.reap(status)

    async def stop(self) -> None:
        """Kill all that runs and wait until it is reaped; no signal may arrive once the event loop closes."""
        running = self.running()
        for process in running:
            process.signal(signal.SIGKILL)
        for process in running:
            await process.reaped.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def _forget_later(self, process: Process) -> None:
        asyncio.get_running_loop().call_later(REMEMBER_SECONDS, self._forget, process)

    def _forget(self, process: Process) -> None:
        if self._by_pid.get(process.pid) is process:
            del self._by_pid[process.pid]


def _matches(process: Process, selector: dict[str, Any]) -> bool:
    if "pid" in selector:
        return str(process.pid) == str(selector["pid"])
    return "tag" in selector and process.spec.tag == selector["tag"]


def _describe(selector: dict[str, Any]) -> str:
    return f"pid {selector['pid']}" if "pid" in selector else f"tag {selector.get('tag')!r}"
