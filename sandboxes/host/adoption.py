"""Taking over what an earlier host process left: living sandboxes are kept, the rest is removed."""

import asyncio
import logging

from .egress import Egress
from .fleet import Fleet
from .machine import Machine
from .record import Record, State
from .sandbox import Sandbox
from .settings import Settings

logger = logging.getLogger(__name__)
KEPT = (State.RUNNING, State.PAUSED)


def found(fleet: Fleet) -> list[Machine]:
    """One machine per folder or cgroup that is there, whoever made it."""
    folders = {path.name for path in fleet.settings.sandboxes.iterdir() if path.is_dir()}
    return [known(fleet, name) for name in sorted(folders | fleet.groups.names())]


def known(fleet: Fleet, name: str) -> Machine:
    """What the record says; a dying stranger where there is none to read."""
    folder = fleet.settings.sandboxes / name
    try:
        record = Record.load(folder / "record.json")
    except (OSError, ValueError, TypeError):
        record = Record(name, state=State.DYING)
    group = fleet.groups.group(name)
    group.adopt(record.init[0])
    return Machine(fleet.settings, record, group, folder)


async def take_over(fleet: Fleet) -> None:
    """Adopt every living sandbox and remove the others; returns when that is done."""
    machines = found(fleet)
    fleet.uids.taken.update(machine.record.uid for machine in machines)
    await asyncio.gather(*(take_one(fleet, machine) for machine in machines))


async def take_one(fleet: Fleet, machine: Machine) -> None:
    if machine.record.state not in KEPT or not machine.is_alive():
        return await bury(fleet, machine)
    try:
        await adopt(fleet, machine)
    except Exception:
        logger.exception("sandbox %s could not be taken over", machine.record.id)
        await bury(fleet, machine)


async def adopt(fleet: Fleet, machine: Machine) -> None:
    """Watch its processes, open its sockets again. Its time may be up: the reaper sees that."""
    machine.pin_socket()
    machine.watch()
    sandbox = Sandbox(machine.record, machine, Egress(machine.record.network, fleet.openings))
    await sandbox.open_doors()
    fleet.enter(sandbox)
    if machine.group.oom_kills():
        fleet.spawn(fleet.finish(sandbox, "memory"))


async def bury(fleet: Fleet, machine: Machine) -> None:
    """A tombstone for one that somebody owned, then nothing is left of it."""
    record = machine.record
    if record.state in KEPT:
        record.reason = "memory" if machine.group.oom_kills() else "crashed"
        fleet.tombstones.write(record, machine.group.oom_kills())
    await fleet.clean(machine)


async def sweep(settings: Settings, envd_version: str) -> int:
    """End and remove everything of a state folder; returns how many sandboxes there were."""
    fleet = Fleet(settings, envd_version)
    machines = found(fleet)
    for machine in machines:
        machine.record.state = State.DYING
    await asyncio.gather(*(bury(fleet, machine) for machine in machines))
    await fleet.settle()
    return len(machines)
