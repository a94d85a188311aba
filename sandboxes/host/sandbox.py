"""One sandbox that the host looks after: its record, its machine and what hangs on it."""

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import rootfs
from .egress import Client, Egress
from .errors import Refused, gone
from .gateway import Caller
from .machine import Machine
from .metrics import Sample
from .record import Record, State
from .settings import HostError

HISTORY = 720
# Known to the courier (sandboxes/courier/courier.py).
MARK = "out-of-memory"
# Sockets in the run folder, through which programs in the sandbox reach the outside.
DOORS = {"egress.sock": Client, "gateway.sock": Caller}


@dataclass
class Sandbox:
    """`lock` orders pause, resume and the end; `connections` are cut when traffic must stop."""

    record: Record
    machine: Machine
    egress: Egress
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connections: set[asyncio.BaseTransport] = field(default_factory=set)
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=HISTORY))
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    starving: bool = False

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def file(self) -> Path:
        return self.machine.folder / "record.json"

    def save(self) -> None:
        self.record.save(self.file)

    async def open_doors(self) -> None:
        """Let the sandbox out, as far as its rules allow."""
        await self.egress.listen(self.machine.run_folder, DOORS)

    async def introduce(self, envs: Mapping[str, str]) -> None:
        """Tell the daemon whose it is now; raises Refused (500) when it does not agree."""
        identity = {
            "sandbox_id": self.id,
            "access_token": self.record.access_token,
            "envs": rootfs.environment() | {"E2B_SANDBOX": "true", "E2B_SANDBOX_ID": self.id} | dict(envs),
            "default_user": rootfs.USER,
            "default_workdir": rootfs.HOME,
            "features": {},
        }
        status, answer = await self.machine.ask("POST", "/control/init", json.dumps(identity).encode())
        if status >= 300:
            raise Refused(
                500, f"the sandbox's daemon refused its identity: {status} {answer[:200].decode(errors='replace')}"
            )

    async def protect(self, path: str) -> None:
        """Make a folder read-only until the end. Raises Refused: 409 unless it runs, 500 when the kernel refuses."""
        async with self.lock:
            self.require(State.RUNNING, "is paused")
            try:
                await self.machine.protect(path)
            except (OSError, HostError) as error:
                raise Refused(500, str(error)) from None

    async def lend(self, source: Path, path: str) -> None:
        """Show a folder of the host's until the end. Raises Refused as `protect` does."""
        async with self.lock:
            self.require(State.RUNNING, "is paused")
            try:
                await self.machine.lend(source, path)
            except (OSError, HostError) as error:
                raise Refused(500, str(error)) from None

    def starve(self) -> None:
        """Its memory was not enough: what runs in it is told by a file beside the daemon's socket."""
        self.starving = True
        # The folder is the sandbox's own to write in: whatever it may have put there is not followed.
        with contextlib.suppress(OSError):
            os.close(os.open(self.machine.run_folder / MARK, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))

    async def pause(self) -> None:
        """Stop every process where it is. New traffic is refused first, open streams are cut last.

        Raises Refused 409 when it is paused already.
        """
        async with self.lock:
            self.require(State.RUNNING, "is already paused")
            self.record.state = State.PAUSED
            try:
                await asyncio.to_thread(self.machine.group.freeze)
            except OSError as error:
                if self.record.state is State.DYING:
                    raise gone(self.id) from None
                self.unpause()
                await asyncio.to_thread(self.machine.group.thaw)
                raise Refused(500, f"the sandbox could not be paused: {error}") from None
            if self.record.state is not State.PAUSED:
                raise gone(self.id)
            self.save()
            self.cut()

    async def resume(self, seconds: int) -> None:
        """Let the processes go on for `seconds`; one that runs already is left as it is."""
        async with self.lock:
            if self.record.state is State.DYING:
                raise gone(self.id)
            if self.record.state is not State.PAUSED:
                return
            await asyncio.to_thread(self.machine.group.thaw)
            self.unpause()
            self.record.end_at = time.time() + seconds
            self.save()

    def unpause(self) -> None:
        """Running again, unless its end has begun meanwhile."""
        if self.record.state is State.PAUSED:
            self.record.state = State.RUNNING

    def require(self, state: State, otherwise: str) -> None:
        if self.record.state is State.DYING:
            raise gone(self.id)
        if self.record.state is not state:
            raise Refused(409, f"sandbox {self.id!r} {otherwise}")

    def cut(self) -> None:
        """Close every connection into the sandbox at once."""
        for transport in list(self.connections):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        self.connections.clear()
