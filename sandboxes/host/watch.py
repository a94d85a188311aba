"""Watching sandboxes over time: samples for the metrics, limits that no kernel keeps for us."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from . import disk, metrics
from .fleet import Fleet
from .record import State
from .sandbox import Sandbox

logger = logging.getLogger(__name__)
WATCHDOG_SECONDS = 0.5
HOUR = 3600.0
LONGEST_LOG = 1 << 20


def services(fleet: Fleet) -> list[Coroutine[Any, Any, None]]:
    """What a host runs beside its listener; each goes on until it is cancelled."""
    chosen = [sample(fleet), forget(fleet)]
    if fleet.groups.kind != "v1":
        chosen.append(guard_memory(fleet))
    if not disk.images_work():
        chosen.append(guard_disk(fleet))
    return chosen


def running(fleet: Fleet) -> list[Sandbox]:
    return [one for one in fleet.sandboxes.values() if one.record.state is State.RUNNING]


async def sample(fleet: Fleet) -> None:
    while True:
        for sandbox in running(fleet):
            before = sandbox.samples[-1] if sandbox.samples else None
            taken = await asyncio.to_thread(metrics.take, sandbox.machine, before)
            if sandbox.record.state is State.RUNNING:
                sandbox.samples.append(taken)
                shorten_log(sandbox)
        await asyncio.sleep(fleet.settings.sample_seconds)


def shorten_log(sandbox: Sandbox) -> None:
    """A sandbox can write to its first process's log; it must not fill the host's disk with it."""
    log = sandbox.machine.log
    if log.stat().st_size > LONGEST_LOG:
        log.write_bytes(b"")


async def guard_memory(fleet: Fleet) -> None:
    """Without cgroup v1's event: end what went past its memory; where no kernel did, kill the largest in it."""
    while True:
        for sandbox in running(fleet):
            if await asyncio.to_thread(sandbox.machine.group.oom_kills):
                fleet.starve(sandbox)
                await asyncio.to_thread(sandbox.machine.group.relieve)
        await asyncio.sleep(WATCHDOG_SECONDS)


async def guard_disk(fleet: Fleet) -> None:
    """Without an image of its own: end what fills more than its disk."""
    while True:
        for sandbox in running(fleet):
            used = await asyncio.to_thread(disk.size_of, sandbox.machine.folder / "home")
            if used > sandbox.record.disk_mb << 20:
                fleet.spawn(fleet.finish(sandbox, "disk"))
        await asyncio.sleep(fleet.settings.sample_seconds)


async def forget(fleet: Fleet) -> None:
    while True:
        fleet.tombstones.forget_old()
        await asyncio.sleep(HOUR)
