"""All sandboxes of one host: made, found, timed, ended."""

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from .cgroups import Groups
from .egress import Egress
from .errors import Refused, gone
from .machine import Machine, Unreachable
from .payloads import Order
from .policy import Opening
from .pool import Pool, Uids
from .record import Network, Record, State
from .sandbox import Sandbox
from .settings import HostError, Settings
from .tombstones import Tombstones

logger = logging.getLogger(__name__)


class Fleet:
    """`sandboxes` holds what callers can reach; ended ones leave it before anything else happens."""

    def __init__(self, settings: Settings, envd_version: str) -> None:
        self.settings = settings
        self.envd_version = envd_version
        self.openings = tuple(Opening.parse(text) for text in settings.allow_private)
        self.sandboxes: dict[str, Sandbox] = {}
        self.groups = Groups(group_name(settings))
        self.uids = Uids(str(settings.state))
        self.pool = Pool(settings, self.groups, self.uids, self.discard)
        self.tombstones = Tombstones(settings.tombstones)
        self.creating: dict[str, asyncio.Future[Sandbox]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.cleaning: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.domain = "localhost"

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.finished)
        return task

    def finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a background step failed", exc_info=error)

    # Making

    async def create(self, order: Order, key: str) -> Sandbox:
        """A new sandbox, or the one that an earlier request with the same key made.

        Raises Refused: 409 for a key used for another request, 500 when nothing starts.
        """
        if not key:
            return await self.make(order, "")
        if earlier := self.made_with(key):
            return same_request(earlier, order)
        if running := self.creating.get(key):
            return same_request(await asyncio.shield(running), order)
        future = self.creating[key] = asyncio.ensure_future(self.make(order, key))
        future.add_done_callback(lambda _: self.creating.pop(key, None))
        # A caller that hangs up must not end the work that its retry will ask for.
        return await asyncio.shield(future)

    def made_with(self, key: str) -> Sandbox | None:
        return next((one for one in self.sandboxes.values() if one.record.idempotency_key == key), None)

    async def make(self, order: Order, key: str) -> Sandbox:
        try:
            machine = await self.pool.take()
        except HostError as error:
            raise Refused(500, str(error)) from None
        fill_in(machine.record, order, key, self.envd_version)
        sandbox = Sandbox(machine.record, machine, Egress(order.network, self.openings))
        try:
            machine.group.limit(order.cpu, order.memory_mb, self.settings.pids)
            await sandbox.open_doors()
            await sandbox.introduce(order.envs)
        except (OSError, Unreachable, Refused) as error:
            sandbox.egress.close()
            self.discard(machine)
            raise Refused(500, f"the sandbox could not be set up: {error}") from None
        machine.record.started_at = time.time()
        machine.record.end_at = machine.record.started_at + order.timeout
        self.enter(sandbox)
        return sandbox

    def enter(self, sandbox: Sandbox) -> None:
        """Make it reachable and look after its end."""
        sandbox.record.state = State.PAUSED if sandbox.record.state is State.PAUSED else State.RUNNING
        sandbox.save()
        self.sandboxes[sandbox.id] = sandbox
        self.spawn(self.notice_death(sandbox))
        self.notice_memory(sandbox)
        self.changed.set()

    # Finding

    async def find(self, sandbox_id: str) -> Sandbox:
        """Raises Refused 404; one whose time is up this moment is ended or paused first."""
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox and sandbox.record.expired():
            await self.expire(sandbox)
            sandbox = self.sandboxes.get(sandbox_id)
        if not sandbox:
            raise gone(sandbox_id)
        return sandbox

    def all(self) -> list[Sandbox]:
        return [one for one in self.sandboxes.values() if not (one.record.expired() and not one.record.auto_pause)]

    # Time

    def set_timeout(self, sandbox: Sandbox, seconds: int, shorten: bool) -> None:
        """End it `seconds` from now; without `shorten` an end later than that stays."""
        wanted = time.time() + seconds
        sandbox.record.end_at = wanted if shorten else max(wanted, sandbox.record.end_at)
        sandbox.save()
        self.changed.set()

    async def resume(self, sandbox: Sandbox, seconds: int) -> bool:
        """Wake a paused one, or extend a running one; whether it was paused."""
        was_paused = sandbox.record.state is State.PAUSED
        if was_paused:
            await sandbox.resume(seconds)
            self.changed.set()
        else:
            self.set_timeout(sandbox, seconds, shorten=False)
        return was_paused

    async def expire(self, sandbox: Sandbox) -> None:
        if not sandbox.record.auto_pause:
            return await self.finish(sandbox, "timeout")
        try:
            await sandbox.pause()
        except Refused as refused:
            if refused.code not in (404, 409):
                logger.error("%s could not be paused at its end: %s", sandbox.id, refused.message)
                await self.finish(sandbox, "timeout")

    async def reap(self) -> None:
        """End sandboxes when their time is up; sleeps exactly until the next one. Never ends."""
        while True:
            self.changed.clear()
            for sandbox in [one for one in self.sandboxes.values() if one.record.expired()]:
                self.spawn(self.expire(sandbox))
            ends = [one.record.end_at for one in self.sandboxes.values() if one.record.state is State.RUNNING]
            future = [end for end in ends if end > time.time()]
            await wait_for(self.changed, min(future) - time.time() if future else None)

    # Ending

    async def finish(self, sandbox: Sandbox, reason: str) -> None:
        """Kill and clean up. Unreachable first, then its streams are cut; returns when no process is left."""
        if sandbox.record.state is State.DYING:
            await sandbox.gone.wait()
            return
        sandbox.record.state, sandbox.record.reason = State.DYING, reason
        self.sandboxes.pop(sandbox.id, None)
        self.tombstones.write(sandbox.record, sandbox.machine.group.oom_kills())
        sandbox.save()
        sandbox.cut()
        sandbox.egress.close()
        try:
            await sandbox.machine.kill()
        finally:
            sandbox.gone.set()
            self.discard(sandbox.machine)

    def discard(self, machine: Machine) -> None:
        """Give back all of a machine in the background."""
        task = self.spawn(self.clean(machine))
        self.cleaning.add(task)
        task.add_done_callback(self.cleaning.discard)

    async def clean(self, machine: Machine) -> None:
        await machine.kill()
        await machine.remove()
        self.uids.release(machine.record.uid)

    async def notice_death(self, sandbox: Sandbox) -> None:
        """When the processes end by themselves, the sandbox has ended too."""
        await sandbox.machine.dead.wait()
        if sandbox.record.state is not State.DYING:
            await self.finish(sandbox, "memory" if sandbox.machine.group.oom_kills() else "crashed")

    def notice_memory(self, sandbox: Sandbox) -> None:
        """Hear of it when the kernel has killed something in it because its memory limit was hit."""
        event = sandbox.machine.group.oom_event()
        if event >= 0:
            asyncio.get_running_loop().add_reader(event, self.over_memory, sandbox, event)
            self.spawn(self.forget_event(sandbox, event))

    def over_memory(self, sandbox: Sandbox, event: int) -> None:
        asyncio.get_running_loop().remove_reader(event)
        self.starve(sandbox)

    def starve(self, sandbox: Sandbox) -> None:
        """Its memory was not enough: it ends, but not before its owner could save the work."""
        if sandbox.record.state is not State.DYING and not sandbox.starving:
            sandbox.starve()
            self.spawn(self.end_starved(sandbox))

    async def end_starved(self, sandbox: Sandbox) -> None:
        await wait_for(sandbox.gone, self.settings.memory_grace)
        if sandbox.record.state is not State.DYING:
            await self.finish(sandbox, "memory")

    async def forget_event(self, sandbox: Sandbox, event: int) -> None:
        await sandbox.gone.wait()
        asyncio.get_running_loop().remove_reader(event)
        os.close(event)

    async def end_all(self, reason: str) -> None:
        await asyncio.gather(*(self.finish(one, reason) for one in list(self.sandboxes.values())))

    async def settle(self) -> None:
        """Remove what nobody owns and finish every clean-up that has begun. Callers' sandboxes go on running."""
        await asyncio.gather(*self.pool.booting, return_exceptions=True)
        while self.pool.ready:
            self.discard(self.pool.ready.pop())
        while self.cleaning:
            done, _ = await asyncio.wait(self.cleaning)
            # Not left to their callbacks: where all are done already, waiting lets nothing else run.
            self.cleaning -= done
        for task in list(self.tasks):
            task.cancel()
        self.groups.close()


def group_name(settings: Settings) -> str:
    """Keeps the cgroups of hosts with different state folders apart, the same after a restart."""
    return hashlib.sha256(str(settings.state).encode()).hexdigest()[:12]


async def wait_for(event: asyncio.Event, seconds: float | None) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def same_request(sandbox: Sandbox, order: Order) -> Sandbox:
    if sandbox.record.request_digest != order.digest:
        raise Refused(409, "this Idempotency-Key was used for a different request; use a new key")
    return sandbox


def fill_in(record: Record, order: Order, key: str, envd_version: str) -> None:
    """Turn an ownerless machine's record into the sandbox that was asked for."""
    record.template, record.cpu, record.memory_mb = order.template, order.cpu, order.memory_mb
    record.metadata, record.network = order.metadata, order.network
    record.auto_pause, record.auto_resume = order.auto_pause, order.auto_resume
    record.idempotency_key, record.request_digest = key, order.digest
    record.envd_version, record.access_token = envd_version, secrets.token_hex(32)
    record.traffic_token = "" if order.network.allow_public_traffic else secrets.token_hex(32)


def replace_network(sandbox: Sandbox, network: Network) -> None:
    """All egress rules at once; what concerns traffic into the sandbox stays."""
    old = sandbox.record.network
    network.allow_public_traffic, network.mask_request_host = old.allow_public_traffic, old.mask_request_host
    sandbox.record.network = sandbox.egress.network = network
    sandbox.save()
