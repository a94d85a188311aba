"""The courier: runs one command as a job inside a machine and keeps every byte that it prints.

Standard library only, any Python from 3.8, meant for `python3 -I -S courier.py VERB ...`:

    start ID                                  run jobs/ID/spec.json once, detached, and return at once
    stop ID [--grace S] [--reason WORD]       TERM, then KILL after the grace time
    status [ID]                               JSON of one job, or one line for each
    recover ID                                give a job whose supervisor died its exit record
    follow ID [--offset N] [--pace MS] [--follower NAME]

The home is `--home`, else COURIER_HOME, else ~/.courier. A job is the folder `jobs/ID` with
`spec.json` (see Job.spec), `spool`, `meta.json`, `control` (a FIFO that only a living supervisor
holds open: nobody reads it = the supervisor is dead) and `lock`.

The spool is append-only, whole JSON lines:
    {"seq":1,"t":0,"stream":"stdout","data":"<base64>"}    seq gapless from 1, t = ms since start, never falling
    {"tick":312}                                           quiet for 250 ms: later records have t >= 312
    {"seq":2,"t":900,"exit":{"code":0,"signal":null,"reason":null,...}}             always the last
`follow` prints these lines unchanged, so a reader's next offset is what it had plus the length of
every line with its newline. Only `{"heartbeat":t,"offset":N}` lines (every 5 s) are not in the
spool and don't count.

What is killed when a command ends: its session. With "background": "kill" also every descendant
that left the session; with "keep" (dev servers outlive a turn) only those that were still in the
command's process tree when it was stopped, so a running tool dies and a daemon lives.
"""
# No pathlib, contextlib or typing here: each would cost every start 5 to 15 ms.
# ruff: noqa: PTH105, PTH108, PTH109, PTH110, PTH111, PTH112, PTH116, PTH118, PTH123, PTH202, PTH208
# ruff: noqa: S606, SIM105, SIM905

from __future__ import annotations

import binascii
import errno
import fcntl
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import termios
import time

try:
    import ctypes
except ImportError:  # a Python without libffi: no subreaper, and followers poll
    ctypes = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

RECORD = 32 * 1024  # bytes of one stream in a record
COALESCE_S = 0.02
TICK_S = 0.25
DRAIN_S = 0.5  # for pipes that a background child holds open after the command
LEFTOVER_S = 2.0  # from TERM to KILL for such children
MEMORY_GRACE_S = 1.0  # the machine will not live long
PAUSE_S = 2.0  # a longer step of the clock means that the machine was frozen
RESERVE = 64 * 1024  # kept free on disk for the exit record
CHUNK = 1024 * 1024
HEARTBEAT_S = 5.0
ALLOWED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")  # in a job id
MARK = "CODECOURIER_JOB"  # in the environment of every command, so that recovery knows its own
# Written by a host whose machines share one kernel, so that its own counters of such kills say too much.
OUT_OF_MEMORY = "/run/envd/out-of-memory"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
MESSAGES = {
    "deadline": "The command ran longer than its limit of {deadline_s:g} s and was stopped.",
    "silence": "The command printed nothing for {silence_s:g} s and was stopped.",
    "output": "The command printed more than its limit of {spool_limit} bytes and was stopped.",
    "disk": "The disk of the machine is full: the command was stopped and its last output is lost.",
    "memory": "The command was killed because the machine ran out of memory.",
    "supervisor_lost": "The courier of this command was killed or its machine restarted; its exit status is unknown.",
}


class Refusal(Exception):
    """A request that can't be done; the text says why and what to do."""


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


# --- processes ---------------------------------------------------------------------------------


def processes() -> dict[int, tuple[int, int, int]]:
    """Every living process: pid -> (parent, session, start time in clock ticks), from /proc."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in (b"Z", b"X"):
                found[int(name)] = (int(fields[1]), int(fields[3]), int(fields[19]))
    return found


def with_descendants(roots: set[int], living: dict[int, tuple[int, int, int]]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in living.items():
        children.setdefault(parent, []).append(pid)
    reached, todo = set(roots), list(roots)
    while todo:
        new = [child for child in children.get(todo.pop(), ()) if child not in reached]
        reached.update(new)
        todo.extend(new)
    return reached


def send(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # gone meanwhile, or another user's: not ours to end


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends: prctl(PR_SET_CHILD_SUBREAPER)."""
    if ctypes:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def oom_kills() -> int:
    """Kills for want of memory, in our cgroups (v2, v1) or else in the whole machine."""
    places = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
    for line in read_text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places.append(f"/sys/fs/cgroup{path}/memory.events")
        elif controllers == "memory":
            places.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    counters = [read_counter(place) for place in places]
    seen = [counter for counter in counters if counter is not None]
    return sum(seen) if seen else read_counter("/proc/vmstat") or 0


def read_counter(path: str) -> int | None:
    for line in read_text(path).splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def read_text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def fault(spec: dict[str, Any]) -> str | None:
    """What is wrong with a request, as the end of a sentence."""
    argv, env, pty = spec.get("argv"), spec["env"], spec["pty"]
    numbers = [spec[name] for name in ("deadline_s", "silence_s", "grace_s", "spool_limit")]
    if not isinstance(argv, list) or not argv or not all(is_word(word) for word in argv):
        return "needs argv, a list of words without NUL"
    if not isinstance(env, dict) or not all(is_word(word) for pair in env.items() for word in pair):
        return "needs env as names and values that are words without NUL"
    if pty is not None and not (isinstance(pty, list) and [type(side) for side in pty] == [int, int]):
        return "needs pty as [columns, rows]"
    if not all(number is None or (type(number) in (int, float) and number >= 0) for number in numbers):
        return "has a limit that is not a number of 0 or more"
    return None if spec["background"] in ("keep", "kill") else "needs background as 'keep' or 'kill'"


def is_word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


# --- a job and its files -----------------------------------------------------------------------


class Job:
    def __init__(self, home: str, name: str) -> None:
        if not 0 < len(name) <= 100 or name[0] == "." or set(name) - ALLOWED:
            raise Refusal(f"{name!r} is not a job id: use 1 to 100 letters, digits, '.', '_' or '-'.")
        self.name = name
        self.path = os.path.join(home, "jobs", name)
        if not os.path.isdir(self.path):
            raise Refusal(f"There is no job {name} in {home}.")
        # Whole, since another courier on the same machine may have a job of that name.
        self.mark = os.path.realpath(self.path)

    def file(self, leaf: str) -> str:
        return os.path.join(self.path, leaf)

    def spec(self) -> dict[str, Any]:
        """The request, with defaults filled in; raises Refusal with what is wrong with it."""
        spec: dict[str, Any] = dict.fromkeys(("cwd", "stdin", "stdin_file", "pty"))
        spec.update(dict.fromkeys(("deadline_s", "silence_s", "spool_limit")), env={}, grace_s=5, background="keep")
        try:
            with open(self.file("spec.json"), encoding="utf-8") as file:
                spec.update(json.load(file))
        except (OSError, ValueError, TypeError) as error:
            raise Refusal(f"The job {self.name} has no readable spec.json: {error}.") from error
        problem = fault(spec)
        if problem:
            raise Refusal(f"spec.json of job {self.name} {problem}.")
        return spec

    def lock(self) -> int | None:
        """The job's lock, held until its last holder ends; None while another process has it."""
        handle = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def tell(self, message: dict[str, Any] | None = None) -> bool:
        """Send to the supervisor (None: only ask whether it is alive); False when it is dead."""
        try:
            handle = os.open(self.file("control"), os.O_WRONLY | os.O_NONBLOCK)
        except (FileNotFoundError, OSError):
            return False
        try:
            if message is not None:
                os.write(handle, dump(message))
        except BlockingIOError:
            pass  # thousands of requests wait there already
        finally:
            os.close(handle)
        return True

    def meta(self) -> dict[str, Any]:
        """{"pid", "supervisor", "t0" (monotonic s), "background"}, or {} before the command runs."""
        try:
            value = json.loads(read_text(self.file("meta.json")) or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def last(self) -> dict[str, Any]:
        """The last whole record of the spool; {} when there is none."""
        try:
            with open(self.file("spool"), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4 * RECORD))
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return {}
        for line in reversed(lines):
            if line.startswith(b'{"seq":'):
                try:
                    return dict(json.loads(line))
                except ValueError:
                    continue  # not ours: the command can write here too
        return {}

    def status(self) -> dict[str, Any]:
        last, meta = self.last(), self.meta()
        alive = self.tell()
        if not last.get("exit"):
            last = last if alive else self.last()  # it may have ended between the two looks
        started = alive or os.path.exists(self.file("spool"))
        state = "exited" if last.get("exit") else "running" if alive else "lost" if started else "new"
        size = os.path.getsize(self.file("spool")) if os.path.exists(self.file("spool")) else 0
        answer: dict[str, Any] = {"job": self.name, "state": state, "pid": meta.get("pid"), "supervisor": alive}
        answer.update(seq=last.get("seq", 0), bytes=size, exit=last.get("exit"))
        return answer

    def recover(self) -> dict[str, Any]:
        """Kill what a dead supervisor left and write its exit record; harmless at any other time."""
        lock = None if self.tell() or not os.path.exists(self.file("spool")) else self.lock()
        if lock is not None:
            try:
                if not self.last().get("exit"):
                    self.kill_marked()
                    self.close_spool()
            finally:
                os.close(lock)
        return self.status()

    def kill_marked(self) -> None:
        """KILL by the mark in the environment, which no reused pid has, and their session."""
        meta = self.meta()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            living = processes()
            marked = {pid for pid in living if self.is_marked(pid)}
            ours = {pid for pid in marked if living[pid][1] == meta.get("pid")}
            if ours:
                ours.update(pid for pid in living if living[pid][1] == meta["pid"])
            victims = ours if meta.get("background") == "keep" else ours | marked
            victims -= {os.getpid(), os.getppid()}
            if not victims:
                return
            send(victims, signal.SIGKILL)
            time.sleep(0.01)

    def is_marked(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"{MARK}={self.mark}".encode() in file.read().split(b"\0")
        except OSError:
            return False

    def close_spool(self) -> None:
        last = self.last()
        with open(self.file("spool"), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * RECORD))
            tail = file.read()
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)  # a torn line was never followed
        unlink(self.file("reserve"))
        verdict: dict[str, Any] = dict.fromkeys(("code", "signal"))
        verdict.update(reason="supervisor_lost", message=MESSAGES["supervisor_lost"])
        verdict.update(seconds=last.get("t", 0) / 1000, cpu_s=None, max_rss_kb=None, bytes={})
        with open(self.file("spool"), "ab", buffering=0) as file:
            file.write(dump({"seq": last.get("seq", 0) + 1, "t": last.get("t", 0), "exit": verdict}))


def unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# --- the supervisor ----------------------------------------------------------------------------


class Stream:
    """One output of the command and what was read from it but not yet written to the spool."""

    def __init__(self, name: str) -> None:
        self.name, self.held, self.flushed, self.total = name, bytearray(), 0.0, 0


class Supervisor:
    """Runs the command of one job and writes its spool; one thread, one poll loop."""

    def __init__(self, job: Job, spec: dict[str, Any], spool: int, control: int) -> None:
        self.job, self.spec, self.spool, self.control = job, spec, spool, control
        self.keep = spec["background"] == "keep"
        self.t0 = self.looked = time.monotonic()
        self.active = self.spoke_at = self.kill_at = 0.0  # running time: pauses don't count
        self.seq, self.size, self.lost = 0, 0, 0
        self.quiet_since: float | None = None  # time of a record that no tick followed yet
        self.pid: int | None = None
        self.status: int | None = None
        self.reason: str | None = None
        self.message: str | None = None
        self.full = False
        self.streams: dict[int, Stream] = {}
        self.totals: dict[str, Stream] = {}
        self.victims: set[tuple[int, int]] = set()  # (pid, start time) of the tree of a stopped command
        self.poll = select.poll()

    def run(self, ready: int) -> None:
        adopt_orphans()
        self.listen()
        oom_before = oom_kills()
        self.spawn()
        self.announce(ready)
        self.pump(lambda: self.status is not None or self.pid is None)
        self.pump(lambda: not self.streams, DRAIN_S)
        self.clear_leftovers()
        self.pump(lambda: not self.streams, DRAIN_S)
        self.conclude(oom_kills() > oom_before or os.path.exists(OUT_OF_MEMORY))
        self.sink()

    def listen(self) -> None:
        """Signals become bytes in a pipe, so that poll() wakes; TERM to the supervisor is a stop."""
        self.wake, write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_terminate)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(self.control, select.POLLIN)

    def on_terminate(self, *_: object) -> None:
        self.job.tell({"reason": "stopped", "grace": self.spec["grace_s"]})

    # starting the command

    def spawn(self) -> None:
        failed, report = os.pipe()
        ends = [report]
        try:
            ends.append(self.open_stdin())
            ends.extend(self.open_outputs())
            self.pid = os.fork()
            if self.pid == 0:
                self.become(ends[1], ends[2], ends[3], report)
        except (OSError, ValueError, TypeError, struct.error) as error:
            self.refuse(str(error))
        finally:
            for handle in set(ends):
                os.close(handle)
        problem = os.read(failed, 4096).decode("utf-8", "replace")
        os.close(failed)
        if problem:
            os.waitpid(self.pid or 0, 0)
            self.pid = None
            self.refuse(problem)

    def refuse(self, problem: str) -> None:
        self.reason, self.message = "spawn", f"The command could not be started: {problem}."

    def open_stdin(self) -> int:
        """A file: nothing here has to be fed, and the end of the text is the end of stdin."""
        if self.spec["stdin_file"] is not None:
            return os.open(self.spec["stdin_file"], os.O_RDONLY)
        if self.spec["stdin"] is None:
            return os.open(os.devnull, os.O_RDONLY)
        path = self.job.file("stdin")
        with open(path, "wb") as file:
            file.write(self.spec["stdin"].encode("utf-8", "surrogatepass"))
        handle = os.open(path, os.O_RDONLY)
        os.unlink(path)
        return handle

    def open_outputs(self) -> tuple[int, int]:
        """The command's ends for stdout and stderr; ours are put under watch."""
        if self.spec["pty"]:
            master, slave = os.openpty()
            columns, rows = self.spec["pty"]
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            self.follow(master, "pty")
            return slave, slave
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        self.follow(out, "stdout")
        self.follow(err, "stderr")
        return out_end, err_end

    def follow(self, handle: int, name: str) -> None:
        self.streams[handle] = self.totals[name] = Stream(name)
        self.poll.register(handle, select.POLLIN)

    def become(self, given: int, out: int, err: int, report: int) -> NoReturn:
        """In the child: turn into the command, or report one sentence and end."""
        try:
            os.setsid()
            if self.spec["pty"]:
                fcntl.ioctl(out, termios.TIOCSCTTY, 0)
            plain = self.spec["stdin"] is None and self.spec["stdin_file"] is None
            os.dup2(out if self.spec["pty"] and plain else given, 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            self.reset_signals()
            prefer_for_oom_kill()
            os.execvpe(self.spec["argv"][0], self.spec["argv"], self.enter())
        except BaseException as error:
            os.write(report, self.describe(error).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(127)

    def describe(self, error: BaseException) -> str:
        if not isinstance(error, OSError):
            return str(error)
        about = self.spec["cwd"] if error.filename == self.spec["cwd"] else self.spec["argv"][0]
        return f"{about}: {error.strerror}"

    def enter(self) -> dict[str, str]:
        """Go to the working folder; the environment of the command."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("COURIER_")}
        if self.spec["cwd"] is not None:
            os.chdir(self.spec["cwd"])
            env["PWD"] = os.getcwd()  # OpenCode believes PWD over the real folder
        env.update(self.spec["env"])
        env[MARK] = self.job.mark
        return env

    def reset_signals(self) -> None:
        """Python ignores PIPE and XFSZ, a background shell INT and QUIT: commands want the defaults."""
        signal.set_wakeup_fd(-1)
        for name in "HUP INT QUIT PIPE TERM CHLD XFSZ USR1 USR2 TSTP TTIN TTOU".split():
            signal.signal(getattr(signal, "SIG" + name), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def announce(self, ready: int) -> None:
        meta = {"pid": self.pid, "supervisor": os.getpid(), "t0": self.t0, "background": self.spec["background"]}
        try:
            with open(self.job.file("meta.json.new"), "wb") as file:
                file.write(dump(meta))
            os.replace(self.job.file("meta.json.new"), self.job.file("meta.json"))
        except OSError as error:
            self.fail(error)
        os.write(ready, dump({"pid": self.pid, "supervisor": os.getpid()}))
        os.close(ready)

    # the loop

    def pump(self, done: Callable[[], bool], limit: float | None = None) -> None:
        until = None if limit is None else self.active + limit
        while not done() and (until is None or self.active < until):
            self.step(1.0 if until is None else 0.02)

    def step(self, longest: float) -> None:
        for handle, _ in self.poll.poll(milliseconds(self.patience(longest)) + 1):
            if handle in self.streams:
                self.read(handle)
            elif handle == self.control:
                self.obey()
            else:
                drain(self.wake)
                self.reap()
        self.look_at_clock()
        self.flush(self.looked - COALESCE_S)
        self.tick()
        self.watch()

    def patience(self, longest: float) -> float:
        """Seconds until something is due; at most `longest`, a watchdog's step."""
        due = [stream.flushed + COALESCE_S for stream in self.streams.values() if stream.held]
        if self.quiet_since is not None:
            due.append(self.quiet_since + TICK_S)
        return max(0.0, min([longest, self.limit()] + [moment - time.monotonic() for moment in due]))

    def limit(self) -> float:
        """Seconds of running time until watch() has something to do."""
        if self.reason:
            return self.kill_at - self.active
        deadline, silence = self.spec["deadline_s"] or 1e9, self.spec["silence_s"] or 1e9
        return float(min(deadline - self.active, self.spoke_at + silence - self.active))

    def look_at_clock(self) -> None:
        now = time.monotonic()
        self.active += min(now - self.looked, PAUSE_S)
        self.looked = now

    def read(self, handle: int) -> None:
        stream = self.streams[handle]
        try:
            data = os.read(handle, RECORD - len(stream.held))
        except OSError:  # EIO: every process has closed the terminal
            data = b""
        stream.held += data
        stream.total += len(data)
        if data:
            self.spoke_at = self.active
            self.flush_stream(stream, time.monotonic() - COALESCE_S)
        else:
            self.poll.unregister(handle)
            self.flush_stream(self.streams.pop(handle))
            if stream.name != "pty":  # closing a terminal would HUP a command that is just exiting
                os.close(handle)

    def flush(self, before: float | None = None) -> None:
        for stream in self.streams.values():
            self.flush_stream(stream, before)

    def flush_stream(self, stream: Stream, before: float | None = None) -> None:
        """Write what is held if it is a full record, or if the last one was written before then."""
        if stream.held and (before is None or stream.flushed <= before or len(stream.held) >= RECORD):
            data = binascii.b2a_base64(stream.held, newline=False)
            if not self.append(b'"stream":"%s","data":"%s"' % (stream.name.encode(), data)):
                self.lost += len(stream.held)
            stream.held.clear()
            stream.flushed = time.monotonic()

    def tick(self) -> None:
        if self.quiet_since is not None and time.monotonic() >= self.quiet_since + TICK_S:
            self.quiet_since = None
            if not self.full:
                self.write(b'{"tick":%d}\n' % milliseconds(time.monotonic() - self.t0))

    def append(self, fields: bytes) -> bool:
        """One record; False when it could not be kept, and then nothing after it is kept either."""
        now = time.monotonic()
        line = b'{"seq":%d,"t":%d,%s}\n' % (self.seq + 1, milliseconds(now - self.t0), fields)
        if self.full or not self.write(line):
            return False
        self.seq += 1
        self.quiet_since = now
        return True

    def write(self, line: bytes) -> bool:
        try:
            written = os.write(self.spool, line)
            if written < len(line):
                os.ftruncate(self.spool, self.size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.fail(error)
            return False
        self.size += len(line)
        return True

    def fail(self, error: OSError) -> None:
        self.full = True
        self.stop("disk" if error.errno in FULL else "spool")
        self.message = self.message or f"The output could not be stored in the machine: {error}."

    # the end of the command

    def reap(self) -> None:
        """Collect the command's status, and every orphan that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status

    def watch(self) -> None:
        """Deadline, silence, size and memory limits; the KILL after a TERM that didn't help."""
        if self.status is not None or self.pid is None:
            return
        if not self.reason and os.path.exists(OUT_OF_MEMORY):
            self.stop("memory", MEMORY_GRACE_S)
        spec = self.spec
        if self.reason:
            if self.active >= self.kill_at:
                self.kill_at = self.active + 0.2
                self.kill()
        elif spec["deadline_s"] and self.active >= spec["deadline_s"]:
            self.stop("deadline")
        elif spec["silence_s"] and self.active - self.spoke_at >= spec["silence_s"]:
            self.stop("silence")
        elif spec["spool_limit"] and sum(s.total for s in self.totals.values()) > spec["spool_limit"]:
            self.stop("output")

    def obey(self) -> None:
        for line in drain(self.control).splitlines():
            try:
                request = json.loads(line)
                self.stop(str(request["reason"])[:40], max(0.0, float(request["grace"])))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # not written by `stop`: the command can open this FIFO too

    def stop(self, reason: str, grace: float | None = None) -> None:
        """TERM to the group now, KILL later; a second stop may only bring the KILL nearer."""
        kill_at = self.active + (self.spec["grace_s"] if grace is None else grace)
        self.kill_at = min(self.kill_at, kill_at) if self.reason else kill_at
        if not self.reason:
            self.reason = reason
            self.message = MESSAGES[reason].format(**self.spec) if reason in MESSAGES else None
        if self.pid and self.status is None:
            self.remember_tree()
            self.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        self.remember_tree()
        self.signal_group(signal.SIGKILL)
        send(self.leftovers(), signal.SIGKILL)

    def signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid or 0, number)
        except (ProcessLookupError, PermissionError):
            pass  # all ended, or all became another user's

    def remember_tree(self) -> None:
        living = processes()
        tree = with_descendants({self.pid or 0}, living) - {self.pid or 0}
        self.victims.update((pid, living[pid][2]) for pid in tree if pid in living)

    def leftovers(self) -> set[int]:
        """What has to end with the command (see the module's text), the command itself included."""
        if self.pid is None:
            return set()
        living = processes()
        session = {pid for pid, (_, sid, _) in living.items() if sid == self.pid}
        if not self.keep:
            return session | (with_descendants({os.getpid()}, living) - {os.getpid()})
        known = {pid for pid, start in self.victims if pid in living and living[pid][2] == start}
        return session | with_descendants(known, living)

    def clear_leftovers(self) -> None:
        send(self.leftovers(), signal.SIGTERM)
        self.pump(lambda: not self.leftovers(), LEFTOVER_S)
        self.pump(self.killed_all, 2 * LEFTOVER_S)

    def killed_all(self) -> bool:
        left = self.leftovers()
        send(left, signal.SIGKILL)
        return not left

    def conclude(self, out_of_memory: bool) -> None:
        self.flush()
        while not self.append(b'"exit":' + dump(self.verdict(out_of_memory)).rstrip()):
            unlink(self.job.file("reserve"))  # room for this record, now that the command is dead
            self.full = False
            time.sleep(0.2)
        unlink(self.job.file("reserve"))
        os.close(self.spool)
        self.poll.unregister(self.control)
        os.close(self.control)

    def verdict(self, out_of_memory: bool) -> dict[str, Any]:
        """The exit record; max_rss_kb is the largest process's and never below a small Python's."""
        status, usage = self.status, resource.getrusage(resource.RUSAGE_CHILDREN)
        number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None
        if self.reason is None and out_of_memory and (number == signal.SIGKILL or code == 128 + signal.SIGKILL):
            self.reason, self.message = "memory", MESSAGES["memory"]
        totals = {name: stream.total for name, stream in self.totals.items()}
        if self.lost:
            totals["lost"] = self.lost
        verdict: dict[str, Any] = {"code": code, "signal": number, "reason": self.reason, "message": self.message}
        verdict.update(seconds=round(self.active, 3), cpu_s=round(usage.ru_utime + usage.ru_stime, 3))
        verdict.update(max_rss_kb=usage.ru_maxrss, bytes=totals)
        return verdict

    def sink(self) -> None:
        """Hold the pipes of daemons that were left alive: a closed one would end them at their next line."""
        while self.streams:
            for handle, _ in self.poll.poll():
                if handle == self.wake:
                    drain(self.wake)
                    self.reap()
                elif not drain(handle):
                    self.poll.unregister(handle)
                    os.close(handle)
                    del self.streams[handle]


def prefer_for_oom_kill() -> None:
    """When memory runs out the kernel shall take the command, not its supervisor."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("300")
    except OSError:
        pass  # it already has a higher one, or there is no /proc: nothing is lost but the preference


def drain(handle: int) -> bytes:
    try:
        return os.read(handle, 2 * RECORD)
    except OSError:  # nothing there, or a terminal that every process has closed
        return b""


# --- following ---------------------------------------------------------------------------------


class Follower:
    """Copies a spool to stdout as it grows; ends after the exit record or when a newer one starts."""

    def __init__(self, job: Job, offset: int, pace: float, name: str) -> None:
        self.job, self.offset, self.pace = job, offset, pace
        self.spool = os.open(job.file("spool"), os.O_RDONLY)
        self.t0 = job.meta().get("t0")
        self.beat_at = time.monotonic() + HEARTBEAT_S
        self.mine = self.replace_older(name)
        self.notices = watch_folder(job.path)
        self.poll = select.poll()
        self.poll.register(1, 0)  # reports only that the reader has gone
        if self.notices is not None:
            self.poll.register(self.notices, select.POLLIN)
        if stat.S_ISFIFO(os.fstat(1).st_mode) or stat.S_ISSOCK(os.fstat(1).st_mode):
            os.set_blocking(1, False)

    def replace_older(self, name: str) -> int:
        """Put our own file in place of the last follower's; it sees that and ends. Works on a full disk."""
        path = self.job.file(f"follower.{os.getpid()}")
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            os.write(handle, name.encode())
        except OSError:
            pass  # full disk: the name is only for people
        os.replace(path, self.job.file("follower"))
        return os.fstat(handle).st_ino  # the handle stays open, so the number stays ours

    def run(self) -> None:
        while self.is_newest():
            data = os.pread(self.spool, CHUNK, self.offset)
            whole = data[: data.rfind(b"\n") + 1]
            if whole:
                self.emit(whole)
                self.offset += len(whole)
                if is_exit(whole):
                    return
                if len(data) < CHUNK:
                    time.sleep(self.pace)
            else:
                self.check(len(data))
                self.wait()
            self.beat()

    def is_newest(self) -> bool:
        return os.stat(self.job.file("follower")).st_ino == self.mine

    def check(self, torn: int) -> None:
        """Nothing new: is the spool still ours, and is its writer still there?"""
        if torn == CHUNK or os.fstat(self.spool).st_size < self.offset:
            raise Refusal(f"The spool of job {self.job.name} was changed by something else near byte {self.offset}.")
        if not self.job.tell():
            self.job.recover()

    def wait(self) -> None:
        """Until the folder changes, at most 1 s (then the supervisor is looked at again)."""
        for handle, event in self.poll.poll(1000 if self.notices is not None else 30):
            if handle == 1 and event & (select.POLLERR | select.POLLNVAL | select.POLLHUP):
                raise BrokenPipeError
            if handle == self.notices:
                drain(handle)

    def beat(self) -> None:
        now = time.monotonic()
        if now >= self.beat_at:
            self.beat_at = now + HEARTBEAT_S
            self.emit(dump({"heartbeat": milliseconds(now - self.t0) if self.t0 else 0, "offset": self.offset}))

    def emit(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:
                self.wait_for_reader()

    def wait_for_reader(self) -> None:
        """A reader that has stopped reading must not keep us when a newer follower is there."""
        room = select.poll()
        room.register(1, select.POLLOUT)
        if not room.poll(500) and not self.is_newest():
            raise BrokenPipeError


def is_exit(lines: bytes) -> bool:
    return b'"exit":{' in lines[lines.rfind(b"\n", 0, -1) + 1 :][:80]


def watch_folder(path: str) -> int | None:
    """An inotify handle for writes to and renames into the folder; None where there is no inotify."""
    if not ctypes:
        return None
    libc = ctypes.CDLL(None)
    handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0 or libc.inotify_add_watch(handle, os.fsencode(path), 0x2 | 0x80) < 0:  # IN_MODIFY, IN_MOVED_TO
        return None
    return int(handle)


# --- the verbs ---------------------------------------------------------------------------------


def start(home: str, names: list[str], options: dict[str, str]) -> dict[str, Any]:
    job = Job(home, names[0])
    spec = job.spec()
    lock = job.lock()
    if lock is None or os.path.exists(job.file("control")):
        return dict(job.status(), started=False)
    spool, control = create_files(job)
    ready, write = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        clear_files(job)
        raise Refusal(f"No process can be started in this machine: {error}.") from error
    if child == 0:
        detach(job)
        Supervisor(job, spec, spool, control).run(write)
        os._exit(0)
    os.close(write)
    answer = json.loads(os.read(ready, 4096) or "{}")
    return {"job": job.name, "state": "running", "pid": answer.get("pid"), "supervisor": child, "started": True}


def create_files(job: Job) -> tuple[int, int]:
    """(spool, control) of a job that never ran; leaves nothing behind when the disk refuses."""
    try:
        os.mkfifo(job.file("control"), 0o600)
        control = os.open(job.file("control"), os.O_RDWR | os.O_NONBLOCK)
        reserve = os.open(job.file("reserve"), os.O_WRONLY | os.O_CREAT, 0o600)
        os.posix_fallocate(reserve, 0, RESERVE)
        os.close(reserve)
        return os.open(job.file("spool"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), control
    except OSError as error:
        clear_files(job)
        raise Refusal(f"The job's files can't be made in {job.path}: {error.strerror}. Free some space.") from error


def clear_files(job: Job) -> None:
    for leaf in ("spool", "reserve", "control"):
        unlink(job.file(leaf))


def detach(job: Job) -> None:
    """Leave the session and stdio of `start`; faults of the supervisor itself go to a file."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(job.file("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for handle, number in ((null, 0), (null, 1), (log, 2)):
        os.dup2(handle, number)


def stop(home: str, names: list[str], options: dict[str, str]) -> dict[str, Any]:
    job = Job(home, names[0])
    grace = float(options.get("grace", job.spec()["grace_s"]))
    told = job.tell({"reason": options.get("reason", "stopped"), "grace": grace})
    answer = job.status()
    return dict(answer, state="stopping" if told and answer["state"] == "running" else answer["state"])


def status(home: str, names: list[str], options: dict[str, str]) -> list[dict[str, Any]]:
    folder = os.path.join(home, "jobs")
    known = os.listdir(folder) if os.path.isdir(folder) else []
    return [Job(home, name).status() for name in names or sorted(known)]


def recover(home: str, names: list[str], options: dict[str, str]) -> dict[str, Any]:
    return Job(home, names[0]).recover()


def follow(home: str, names: list[str], options: dict[str, str]) -> None:
    job = Job(home, names[0])
    if not os.path.exists(job.file("spool")):
        raise Refusal(f"The job {job.name} was never started.")
    offset, pace = int(options.get("offset", 0)), float(options.get("pace", 0)) / 1000
    try:
        Follower(job, offset, pace, options.get("follower", "")).run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone: a quiet end


VERBS: dict[str, Callable[..., Any]] = {
    "start": start,
    "stop": stop,
    "status": status,
    "recover": recover,
    "follow": follow,
}
OPTIONS = ("home", "offset", "pace", "follower", "grace", "reason")


def read_line(words: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """Verb, names and options; by hand, because argparse costs a third of the time of a start."""
    names, options, rest = [], {}, iter(words)
    for word in rest:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            if key not in OPTIONS:
                raise Refusal(f"Unknown option --{key}; there are {', '.join(OPTIONS)}.")
            options[key] = value or next(rest, "")
        else:
            names.append(word)
    verb = names.pop(0) if names else ""
    if verb not in VERBS or len(names) > 1 or (not names and verb != "status"):
        raise Refusal("Usage: courier.py start|stop|recover|follow ID, or status [ID].")
    return verb, names, options


def main(words: list[str]) -> int:
    try:
        verb, names, options = read_line(words)
        home = options.get("home") or os.environ.get("COURIER_HOME") or os.path.expanduser("~/.courier")
        answers = VERBS[verb](home, names, options)
    except (Refusal, ValueError) as error:
        sys.stdout.buffer.write(dump({"error": str(error)}))
        return 2
    for answer in answers if isinstance(answers, list) else [answers] if answers else []:
        sys.stdout.buffer.write(dump(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
