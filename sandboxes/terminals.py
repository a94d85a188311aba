"""Interactive terminals: shells in a machine, each watched by any number of browsers. Nothing of them is stored.

A shell belongs to its machine and ends with it. This process holds its stream, with the last stretch of what it
printed, while somebody watches and for ten minutes after; then it ends the shell. A browser that comes back in that
time sees what it had; one that reaches another web process goes on with the same shell on an empty screen.
"""

import asyncio
from collections import deque
from contextlib import suppress
from weakref import WeakKeyDictionary

from django.core import signing

from . import e2b, output
from .models import Sandbox

FOLDER = f"{e2b.HOME}/project"
RING_BYTES, WINDOW_BYTES, PIECE_BYTES = 512 * 1024, 256 * 1024, 32 * 1024
LINGER_SECONDS, END_SECONDS = 600.0, 2.0
MOST = 12
SALT = "sandboxes.terminal"


class TooMany(Exception):
    """This machine has as many terminals as it may; `str()` says what to do."""


class Viewer:
    """One browser's place in a shell's output, in bytes since the shell was opened here."""

    def __init__(self, at: int) -> None:
        self.at = self.acknowledged = at
        self.woken = asyncio.Event()


class Scroll:
    """The last stretch of what a shell printed, and who watches."""

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.first = self.last = 0
        self.viewers: set[Viewer] = set()
        self.eased = asyncio.Event()

    async def take(self, data: bytes) -> None:
        """More of it. The shell prints on only while the quickest viewer keeps up."""
        self.pieces.append(bytes(data))
        self.last += len(data)
        while self.last - self.first > RING_BYTES and len(self.pieces) > 1:
            self.first += len(self.pieces.popleft())
        self.wake()
        while self.viewers and self.last - max(viewer.acknowledged for viewer in self.viewers) > WINDOW_BYTES:
            self.eased.clear()
            await self.eased.wait()

    def wake(self) -> None:
        """Everybody who watches."""
        for viewer in self.viewers:
            viewer.woken.set()

    def acknowledge(self, viewer: Viewer, place: int) -> None:
        """A browser has shown all up to a place."""
        viewer.acknowledged = max(viewer.acknowledged, min(place, viewer.at))
        viewer.woken.set()
        self.eased.set()

    def after(self, at: int) -> tuple[int, bytes]:
        """(place, what follows it): up to PIECE_BYTES, from the oldest byte that is kept if `at` is gone."""
        place = max(at, self.first)
        skip, found, size = place - self.first, list[bytes](), 0
        for piece in self.pieces:
            if skip < len(piece):
                found.append(piece[skip:])
                size += len(found[-1])
            skip = max(0, skip - len(piece))
            if size >= PIECE_BYTES:
                break
        return place, b"".join(found)[:PIECE_BYTES]


class Shell:
    """One shell of a sandbox, from when this process has its stream."""

    def __init__(self, sandbox: int, terminal: e2b.Terminal, scroll: Scroll) -> None:
        self.sandbox, self.terminal, self.scroll = sandbox, terminal, scroll
        self.over: bool | None = None  # True when it has ended, False when its stream broke off
        _shells()[sandbox, terminal.pid] = self
        self.task = asyncio.create_task(self.listen(), name=f"terminal-{sandbox}-{terminal.pid}")
        # Until somebody watches, so that none is ever forgotten.
        self.lingering: asyncio.Task[None] | None = asyncio.create_task(self.linger())

    @property
    def handle(self) -> str:
        """What a browser keeps to come back to this shell; signed, so that it names no other process."""
        return signing.dumps([self.sandbox, self.terminal.pid], salt=SALT)

    async def listen(self) -> None:
        """Until the shell ends or its stream does."""
        try:
            self.over = await self.terminal.wait()
        finally:
            self.stay()
            _shells().pop((self.sandbox, self.terminal.pid), None)
            self.scroll.wake()

    def join(self) -> Viewer:
        """Somebody watches, from the oldest byte that is kept."""
        self.stay()
        viewer = Viewer(self.scroll.first)
        self.scroll.viewers.add(viewer)
        return viewer

    def stay(self) -> None:
        """Its time doesn't run any more."""
        if self.lingering:
            self.lingering.cancel()
            self.lingering = None

    def part(self, viewer: Viewer) -> None:
        """Somebody doesn't watch any more; with the last one the shell's time begins to run."""
        self.scroll.viewers.discard(viewer)
        self.scroll.eased.set()
        if not self.scroll.viewers and self.over is None and self.lingering is None:
            self.lingering = asyncio.create_task(self.linger())

    async def linger(self) -> None:
        """End it unless somebody comes back."""
        await asyncio.sleep(LINGER_SECONDS)
        # From here on it can't be called off: a half-ended shell would be neither here nor gone.
        self.lingering = None
        await self.end()

    async def type(self, data: bytes) -> None:
        """Give it input. Raises e2b.ProviderError unless it has just ended."""
        try:
            await self.terminal.send(data)
        except e2b.ProviderError:
            # Its end is on the way, and is what the browser is told.
            await asyncio.wait([self.task], timeout=END_SECONDS)
            if self.over is None:
                raise

    async def resize(self, size: tuple[int, int]) -> None:
        """Another size, as (columns, rows); one that has just ended needs none."""
        with suppress(e2b.ProviderError):
            await self.terminal.resize(size)

    async def end(self) -> None:
        """Kill the shell; where its machine can't be reached it ends with the machine."""
        with suppress(e2b.ProviderError):
            await self.terminal.end()
            await asyncio.wait([self.task], timeout=END_SECONDS)
        await self.leave()

    async def leave(self) -> None:
        """Hear no more of it: its machine sleeps or is gone."""
        if self.over is None:
            self.over = False
            await self.terminal.leave()
            await asyncio.wait([self.task])


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, int], Shell]] = WeakKeyDictionary()


def _shells() -> dict[tuple[int, int], Shell]:
    return _by_loop.setdefault(asyncio.get_running_loop(), {})


async def open_shell(sandbox: Sandbox, size: tuple[int, int]) -> Shell:
    """A new shell in the project folder of a running sandbox. Raises TooMany, e2b.ProviderError."""
    if sum(pk == sandbox.pk for pk, _ in _shells()) >= MOST:
        raise TooMany(f"This sandbox has {MOST} terminals open already. Close one of them first.")
    machine, scroll = await attach(sandbox), Scroll()
    return Shell(sandbox.pk, await machine.open_terminal(size, FOLDER, scroll.take), scroll)


async def rejoin(sandbox: Sandbox, handle: str) -> Shell | None:
    """The shell that a browser had before, None when it has ended. Raises e2b.ProviderError."""
    try:
        pk, pid = signing.loads(handle, salt=SALT)
    except signing.BadSignature:
        return None
    if pk != sandbox.pk:
        return None
    if known := _shells().get((pk, pid)):
        return known
    machine, scroll = await attach(sandbox), Scroll()
    terminal = await machine.rejoin_terminal(pid, scroll.take)
    if terminal is None:
        return None
    if known := _shells().get((pk, pid)):
        # Another window came back at the same time.
        await terminal.leave()
        return known
    return Shell(pk, terminal, scroll)


async def attach(sandbox: Sandbox) -> e2b.AsyncMachine:
    """The machine of a row that is running and is to run: connecting would wake a paused one."""
    provider = await output.in_thread(e2b.provider_of, sandbox.project)
    return await e2b.attach(provider, sandbox.provider_id)
