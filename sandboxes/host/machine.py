"""The processes and folders of one sandbox: start, reach, kill, clean up."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from . import bwrap, disk, processes, rootfs
from .cgroups import Group
from .record import Record, write_atomically
from .settings import HostError, Settings

KILL_SECONDS = 10.0
POLL_SECONDS = 0.004
ANSWER_LIMIT = 1 << 20


class Unreachable(Exception):
    """The daemon of a sandbox does not answer; the text says what was seen."""


@dataclass
class Machine:
    """One running namespace with its folder `folder` and its cgroup `group`."""

    settings: Settings
    record: Record
    group: Group
    folder: Path
    outer: asyncio.subprocess.Process | None = None
    socket_fd: int = -1
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def run_folder(self) -> Path:
        """Seen inside as /run/envd: the daemon's socket and the egress proxy's."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    async def start(self, filter_hex: str) -> None:
        """Make the folder, start bubblewrap, wait for the daemon.

        Raises HostError with the end of the log when it does not come up.
        """
        self.record.control_secret = secrets.token_hex(32)
        await self.make_folder()
        self.group.create()
        self.group.limit(self.settings.default_cpu, self.settings.default_memory_mb, self.settings.pids)
        try:
            async with asyncio.timeout(self.settings.boot_seconds):
                await self.launch(filter_hex)
                await self.answer()
        except (TimeoutError, Unreachable, OSError) as error:
            raise HostError(f"A sandbox did not start: {self.last_words() or error}") from None

    async def make_folder(self) -> None:
        self.folder.mkdir(parents=True, mode=0o700)
        self.run_folder.mkdir(mode=0o755)
        if self.record.uid:
            os.chown(self.run_folder, self.record.uid, self.record.uid)
        self.record.mounted = disk.images_work()
        if self.record.mounted:
            (self.folder / "disk").mkdir()
            await disk.make_image(self.folder / "disk.img", self.settings.disk_mb)
        else:
            (self.folder / "home").mkdir(mode=0o755)
            if self.record.uid:
                os.chown(self.folder / "home", self.record.uid, self.record.uid)

    def specification(self, filter_hex: str, info_fd: int) -> str:
        sources = rootfs.sources(self.settings.state / "root") | {"run": str(self.run_folder)}
        if self.settings.tools:
            sources["tools"] = str(self.settings.tools)
        if not self.record.mounted:
            sources["home"] = str(self.folder / "home")
        return json.dumps({
            "uid": self.record.uid,
            "cgroups": self.group.folders(),
            "sources": sources,
            "image": str(self.folder / "disk.img") if self.record.mounted else "",
            "mountpoint": str(self.folder / "disk"),
            "seccomp": filter_hex,
            "command": bwrap.command(self.settings, info_fd),
        })  # fmt: skip

    async def launch(self, filter_hex: str) -> None:
        """Start the launcher and learn the pid of the namespace's first process."""
        reader, writer = os.pipe()
        specification = self.folder / "launch.json"
        write_atomically(specification, self.specification(filter_hex, writer))
        try:
            with self.log.open("ab") as log:
                self.outer = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-S", str(bwrap.launcher()), str(specification),
                    stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writer,),
                )  # fmt: skip
        finally:
            os.close(writer)
        secret_line = cast(asyncio.StreamWriter, self.outer.stdin)
        secret_line.write(f"{self.record.control_secret}\n".encode())
        secret_line.close()
        self.learn(self.outer.pid, await read_info(reader))

    def learn(self, outer: int, info: bytes) -> None:
        """Take the pids from what bubblewrap wrote; raises Unreachable when it wrote nothing."""
        if not info:
            raise Unreachable("bubblewrap ended before it made the sandbox")
        init = int(json.loads(info)["child-pid"])
        self.record.outer = (outer, processes.start_time(outer))
        self.record.init = (init, processes.start_time(init))
        self.record.save(self.folder / "record.json")
        self.watch()

    def watch(self) -> None:
        """Set `dead` when the namespace's first process ends, also one that we did not start."""
        self.group.adopt(self.record.init[0])
        try:
            handle = os.pidfd_open(self.record.init[0])
        except ProcessLookupError:
            self.dead.set()
            return
        if not self.is_alive():
            os.close(handle)
            self.dead.set()
            return
        asyncio.get_running_loop().add_reader(handle, self.ended, handle)

    def ended(self, handle: int) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        self.dead.set()

    def is_alive(self) -> bool:
        pid, started = self.record.init
        return pid > 0 and started > 0 and processes.start_time(pid) == started

    async def answer(self) -> None:
        """Wait until the daemon serves; raises Unreachable when it ended before."""
        while True:
            with contextlib.suppress(OSError, Unreachable):
                self.pin_socket()
                if (await self.ask("GET", "/health"))[0] < 300:
                    return self.close_folder()
            if self.dead.is_set():
                raise Unreachable("the daemon ended at once")
            await asyncio.sleep(POLL_SECONDS)

    def pin_socket(self) -> None:
        """Hold on to the daemon's socket itself, so that nothing in the sandbox can put a link in its place.

        Raises FileNotFoundError before the daemon has made it, Unreachable for anything but a socket.
        """
        if self.socket_fd >= 0:
            return
        handle = os.open(self.run_folder / "envd.sock", os.O_PATH | os.O_NOFOLLOW)
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            os.close(handle)
            raise Unreachable("the daemon's socket is not a socket")
        self.socket_fd = handle

    def close_folder(self) -> None:
        """As root: the sandbox may use the sockets, no longer add or replace files beside them."""
        if self.record.uid:
            os.chown(self.run_folder, 0, 0)

    async def protect(self, path: str) -> None:
        """Make a folder inside read-only for all that runs there. Raises HostError with why it can't be."""
        await self.help("protect.py", path)

    async def lend(self, source: Path, path: str) -> None:
        """Show a folder of the host's in place of one inside, read-only. Raises HostError with why it can't be."""
        await self.help("lend.py", str(source), path)

    async def help(self, script: str, *words: str) -> None:
        """Run one of our scripts on the mounts of this sandbox."""
        pid = str(self.record.init[0])
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name(script)), pid, *words]
        helper = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await helper.communicate()
        if helper.returncode:
            raise HostError(said.decode(errors="replace").strip()[-300:] or f"{script} could not be done")

    @property
    def socket_path(self) -> str:
        """Short whatever the state folder's length: a socket's path has at most 107 bytes."""
        return f"/proc/self/fd/{self.socket_fd}"

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request to the daemon's control side: status and body.

        Raises OSError when nothing listens, Unreachable for an answer that isn't HTTP.
        """
        reader, writer = await asyncio.open_unix_connection(self.socket_path)
        try:
            writer.write(self.head(method, path, f"Content-Length: {len(body)}\r\nConnection: close") + body)
            answer = await reader.read(ANSWER_LIMIT)
            while more := await reader.read(ANSWER_LIMIT):
                answer += more
        finally:
            writer.close()
        return parse_answer(answer)

    def head(self, method: str, path: str, more: str) -> bytes:
        """The head of a control request; `more` are header lines without the last line end."""
        start = f"{method} {path} HTTP/1.1\r\nHost: envd\r\nContent-Type: application/json"
        return f"{start}\r\nX-Control-Token: {self.record.control_secret}\r\n{more}\r\n\r\n".encode()

    def last_words(self) -> str:
        """The last lines the sandbox's first processes wrote, for an error message."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            return " / ".join(lines[-3:])
        return ""

    async def kill(self) -> None:
        """End every process; returns when the kernel has ended them.

        Raises TimeoutError when something is left after `KILL_SECONDS`.
        """
        if self.is_alive():
            processes.send([self.record.init[0]], signal.SIGKILL)
        async with asyncio.timeout(KILL_SECONDS):
            while left := self.left():
                processes.send(left, signal.SIGKILL)
                # Again each time: a pause that was on its way may have frozen it anew.
                self.group.thaw()
                await asyncio.sleep(POLL_SECONDS)
            if self.outer:
                await self.outer.wait()

    def left(self) -> list[int]:
        """Processes still there: those of the group and, until it ends by itself, bubblewrap's own."""
        pid, started = self.record.outer
        own = [pid] if started and processes.start_time(pid) == started else []
        if self.outer and self.outer.returncode is None and not own:
            own = [self.outer.pid]
        if self.group.kind == "none" and not self.record.init[0]:
            own += processes.mentioning(str(self.folder))
        return own + [pid for pid in self.group.pids() if processes.start_time(pid)]

    async def remove(self) -> None:
        """Give back cgroup, mount and folder of a dead machine. Raises OSError when one is busy."""
        if self.socket_fd >= 0:
            os.close(self.socket_fd)
            self.socket_fd = -1
        await asyncio.to_thread(self.group.remove)
        await asyncio.to_thread(disk.delete, self.folder)


async def read_info(descriptor: int) -> bytes:
    """The one JSON object that bubblewrap writes to a pipe; nothing when it ended before."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return await reader.readuntil(b"}")
    except asyncio.IncompleteReadError:
        return b""
    finally:
        transport.close()


def parse_answer(answer: bytes) -> tuple[int, bytes]:
    head, blank, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if not blank or len(words) < 2 or not words[1].isdigit():
        raise Unreachable("the daemon did not answer in HTTP")
    return int(words[1]), body
