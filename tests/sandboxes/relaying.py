"""A relay in this process with a real courier in a folder, for tests that need no machine around them."""

import asyncio
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from codecourier.models import Project
from codecourier.redact import Redactor, redact_spool
from sandboxes import courier, e2b
from sandboxes.models import Job, Output, Sandbox, Template
from sandboxes.relay import Relay


@dataclass
class Folder:
    """A home with a courier in it; it is reached as a machine is, and can be cut off or gone."""

    home: Path
    gone: bool = False
    followers: list[asyncio.subprocess.Process] = field(default_factory=list)
    starting: set[asyncio.Task[asyncio.subprocess.Process]] = field(default_factory=set)

    @property
    def courier(self) -> Path:
        """Where the courier keeps its jobs."""
        return self.home / ".courier"

    async def run(self, verb: str, job: Job) -> dict[str, Any]:
        """One short verb of the courier."""
        process = await self.spawn(courier.command(verb, str(job.pk)))
        output, _ = await process.communicate()
        return dict(json.loads(output))

    async def spawn(self, command: str) -> asyncio.subprocess.Process:
        """A shell line with this folder as its home."""
        env = os.environ | {"HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        return await asyncio.create_subprocess_exec(
            "bash", "-c", command, env=env, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )

    async def start(self, sandbox: Sandbox, script: str, **spec: Any) -> Job:
        """A running job of the sandbox."""
        job = await Job.objects.acreate(sandbox=sandbox, kind=Job.Kind.TURN, status=Job.Status.RUNNING)
        folder = self.courier / "jobs" / str(job.pk)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps({"argv": ["bash", "-c", script], "background": "kill", **spec}))
        assert (await self.run("start", job))["started"]
        return job

    async def follow(self, command: str, on_data: Callable[[str], Awaitable[None]]) -> None:
        """As e2b.AsyncMachine.follow."""
        start = asyncio.create_task(self.spawn(command))
        self.starting.add(start)
        # Shielded: a relay that is cancelled just now must not leave a process that nobody waits for.
        process = await asyncio.shield(start)
        self.followers.append(process)
        try:
            assert process.stdout
            while chunk := await process.stdout.read(65536):
                await on_data(chunk.decode("ascii"))
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    async def close(self) -> None:
        """End every follower and read its pipe to the end, so that nothing is left to the garbage collector."""
        for process in await asyncio.gather(*self.starting):
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def spool(self, job: Job) -> list[bytes]:
        """The lines of a job's spool."""
        return (self.courier / "jobs" / str(job.pk) / "spool").read_bytes().splitlines()

    def sweep(self) -> None:
        """End whatever supervisor is left."""
        for meta in self.courier.glob("jobs/*/meta.json"):
            for key in ("pid", "supervisor"):
                try:
                    os.killpg(json.loads(meta.read_text())[key], signal.SIGKILL)
                except (ProcessLookupError, PermissionError, ValueError, KeyError):
                    continue


def folder(home: Path, patch: pytest.MonkeyPatch) -> Folder:
    """A machine that every relay of this process attaches to."""
    made = Folder(home)
    made.courier.mkdir()
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to(sys.executable)
    shutil.copy(Path(courier.__file__).with_name("courier.py"), made.courier / "courier.py")

    async def attach(provider: e2b.Provider, machine: str) -> Folder:
        if made.gone:
            raise e2b.Gone("Could not reach the machine: it is gone.")
        return made

    patch.setattr(e2b, "attach", attach)
    patch.setattr(e2b, "provider_of", lambda project: e2b.Provider(e2b.LOCAL, "key"))
    return made


def running_sandbox(project: Project, template: Template) -> Sandbox:
    """A row of a machine that runs; no worker looks at it."""
    return Sandbox.objects.create(
        project=project,
        template=template,
        tool="script",
        status=Sandbox.Status.RUNNING,
        running_since=timezone.now(),
        provider=e2b.LOCAL,
        provider_id="folder",
    )


@asynccontextmanager
async def relaying() -> AsyncIterator[Relay]:
    """A relay that runs as long as the block."""
    relay, others = Relay(), sweepers()
    task = asyncio.create_task(relay.run())
    await asyncio.sleep(0)
    mine = sweepers() - others
    try:
        yield relay
    finally:
        relay.stopping.set()
        await task
        # A relay does not wait for a chore to end; the next test's tables must not get what it writes.
        for thread in mine:
            await asyncio.to_thread(thread.join)


def sweepers() -> set[threading.Thread]:
    """The threads of relays that sweep."""
    return {thread for thread in threading.enumerate() if thread.name == "sweep"}


async def until(look: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
    """Ask until the answer is true; TimeoutError when it isn't in time."""
    async with asyncio.timeout(seconds):
        while True:
            if await look():
                return
            await asyncio.sleep(0.01)


async def printed_something(job: Job) -> None:
    """Until the first row is there."""
    await until(Output.objects.filter(job=job).aexists)


async def ended(job: Job, seconds: float = 60) -> Job:
    """The job once it is over."""

    async def over() -> bool:
        await job.arefresh_from_db()
        return job.final

    await until(over, seconds)
    return job


async def stored(job: Job) -> dict[str, bytes]:
    """What is stored of a job, by stream; its numbering must be gapless."""
    found, expected = dict[str, bytes](), 1
    async for row in Output.objects.filter(job=job).order_by("seq"):
        assert row.seq == expected, f"seq {row.seq} follows {expected - 1}"
        expected += 1
        name = Output.Stream(row.stream).label
        found[name] = found.get(name, b"") + bytes(row.data)
    return found


def truth(machine: Folder, job: Job, secrets: dict[str, str] | None = None) -> dict[str, bytes]:
    """What must be stored: redact(spool)."""
    return redact_spool(machine.spool(job), Redactor(secrets or {}))
