"""Started sandboxes without an owner, so that most creates need not wait for a boot."""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Callable, Iterable

from . import bwrap
from .cgroups import Groups
from .machine import Machine
from .record import Record, State, new_id
from .settings import HostError, Settings

logger = logging.getLogger(__name__)
RETRY_SECONDS = 10.0
BOOTS_AT_ONCE = 4
UIDS_FROM, UIDS_EACH, UID_BLOCKS = 200_000, 2_000, 1_000


class Uids:
    """Host user ids for sandboxes: a block per state folder, the lowest free one first."""

    def __init__(self, state: str, taken: Iterable[int] = ()) -> None:
        self.first = UIDS_FROM + zlib.crc32(state.encode()) % UID_BLOCKS * UIDS_EACH
        self.taken = set(taken)

    def take(self) -> int:
        """0 without root, where all sandboxes share the host's own uid."""
        if not bwrap.can_switch_users():
            return 0
        uid = next((n for n in range(self.first, self.first + UIDS_EACH) if n not in self.taken), 0)
        if not uid:
            raise HostError(f"All {UIDS_EACH} user ids for sandboxes are in use; end some sandboxes first.")
        self.taken.add(uid)
        return uid

    def release(self, uid: int) -> None:
        self.taken.discard(uid)


class Pool:
    """Keeps `settings.pool` machines ready. `discard` cleans up one that failed."""

    def __init__(self, settings: Settings, groups: Groups, uids: Uids, discard: Callable[[Machine], None]) -> None:
        self.settings = settings
        self.groups = groups
        self.uids = uids
        self.discard = discard
        self.filter_hex = bwrap.filter_hex()
        self.ready: list[Machine] = []
        self.waiting = 0
        self.boots = asyncio.Semaphore(BOOTS_AT_ONCE)
        self.wanted = asyncio.Event()
        self.booting: set[asyncio.Task[Machine]] = set()

    async def take(self) -> Machine:
        """A started machine: a ready one, else one booted now. Raises HostError when the boot fails."""
        while self.ready:
            machine = self.ready.pop()
            self.wanted.set()
            if machine.is_alive():
                return machine
            self.discard(machine)
        self.waiting += 1
        try:
            async with self.boots:
                return await self.boot()
        finally:
            self.waiting -= 1
            self.wanted.set()

    async def boot(self) -> Machine:
        """A machine, started by a task of its own: a boot broken off half-way could leave a process unknown."""
        task = asyncio.create_task(self.start())
        self.booting.add(task)
        task.add_done_callback(self.booting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self.drop)
            raise

    def drop(self, task: asyncio.Task[Machine]) -> None:
        """Nobody waits for this machine any more."""
        if not task.cancelled() and not task.exception():
            self.discard(task.result())

    async def start(self) -> Machine:
        record = Record(new_id(), uid=self.uids.take(), disk_mb=self.settings.disk_mb)
        folder = self.settings.sandboxes / record.id
        machine = Machine(self.settings, record, self.groups.group(record.id), folder)
        try:
            await machine.start(self.filter_hex)
        except BaseException:
            self.discard(machine)
            raise
        record.state = State.POOLED
        record.save(folder / "record.json")
        return machine

    async def fill(self) -> None:
        """Boot whenever one is missing and nobody waits for a boot; never ends."""
        while True:
            self.wanted.clear()
            while len(self.ready) < self.settings.pool and not self.waiting:
                await self.add()
            await self.wanted.wait()

    async def add(self) -> None:
        try:
            self.ready.append(await self.boot())
        except (HostError, OSError) as error:
            logger.error("the warm pool is not full: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wanted.wait(), RETRY_SECONDS)
                self.wanted.clear()
