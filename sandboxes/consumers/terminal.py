"""One browser at one shell: bytes both ways, bounded both ways.

Binary frames are what is typed and what is printed. Text frames are JSON. From the browser: `{"size": [columns,
rows]}`, `{"ack": bytes printed so far}`, `{"end": true}`. To it: `{"say": sentence}` while it waits for the machine,
`{"shell": handle, "replay": bytes}` first of all output (what is replayed must not be answered by the terminal),
`{"took": bytes typed so far}`, `{"over": sentence}` before a close that is meant.
Daphne holds whatever it is given: at most 256 KiB are under way to a browser, and at most 1 MiB wait to be typed.
"""

import asyncio
import json
import logging
import time
from typing import Any, NoReturn

from django.http import Http404
from django.shortcuts import get_object_or_404

from codecourier import hub
from codecourier.consumers import GONE, Closed, ProjectConsumer
from codecourier.models import User
from sandboxes import e2b, fleet, terminals
from sandboxes.models import Sandbox, Wanted
from sandboxes.output import in_thread

logger = logging.getLogger(__name__)

# Close codes that static/js/terminal.js knows, beside those of every page.
ASLEEP, ENDED, MACHINE_GONE, LATER, FLOOD = 4410, 4411, 4412, 1013, 1009
TYPED_BYTES, TYPE_BYTES, TOOK_BYTES = 1024 * 1024, 32 * 1024, 16 * 1024
# Whether the person may still type is asked this often; a browser that takes nothing for so long is dropped.
CHECK_SECONDS, DEAD_SECONDS, TOUCH_SECONDS = 20.0, 60.0, 10.0
COLUMNS, ROWS = (2, 500), (1, 300)
S = Sandbox.Status


class TerminalConsumer(ProjectConsumer):
    """One viewer, who can type."""

    async def connect(self) -> None:
        """As every page's socket, with nothing typed yet."""
        self.typed = bytearray()
        self.typing = asyncio.Event()
        self.took = self.told = self.began_at = 0
        self.touched_at = -TOUCH_SECONDS
        self.shell: terminals.Shell | None = None
        self.viewer_of_shell: terminals.Viewer | None = None
        self.size = (80, 24)
        await super().connect()

    async def follow(self) -> None:
        """Wait for the machine, open or find the shell, then pass bytes on until one side ends."""
        try:
            await self.converse()
        except* Closed as group:
            await self.close(first(group).args[0])
        except* Http404:
            await self.close(GONE)
        except* (e2b.ProviderError, terminals.TooMany) as group:
            await self.send(json.dumps({"over": str(first(group))}))
            await self.close(LATER)
        except* Exception:
            logger.exception("The terminal at %s failed", self.scope["path"])
            await self.close(1011)

    async def converse(self) -> None:
        """The whole life of this socket."""
        self.size = size_of([self.params.get("columns"), self.params.get("rows")]) or self.size
        async with hub.subscribe(f"sandbox:{self.pk}") as changes:
            sandbox = await self.awake(changes)
            shell = await self.find(sandbox)
            viewer = self.viewer_of_shell = shell.join()
            try:
                await self.begin(shell, viewer)
                async with asyncio.TaskGroup() as work:
                    work.create_task(self.print(shell, viewer))
                    work.create_task(self.type(shell))
                    work.create_task(self.guard(changes))
            finally:
                shell.part(viewer)

    @property
    def pk(self) -> int:
        """The sandbox of the socket's URL."""
        return int(self.scope["url_route"]["kwargs"]["pk"])

    def look_at(self) -> tuple[Sandbox, User]:
        """The sandbox as it is now and who asks; Http404 or Closed unless this person may see it."""
        user = self.viewer()
        rows = Sandbox.objects.select_related("project")
        return get_object_or_404(rows, project=self.project(user), pk=self.pk), user

    async def awake(self, changes: hub.Subscription) -> Sandbox:
        """The sandbox once it runs; one that sleeps is woken if the person asked for that, else Closed."""
        said = ""
        while True:
            sandbox, user = await in_thread(self.look_at)
            if sandbox.status == S.RUNNING and sandbox.wanted == Wanted.RUN:
                return sandbox
            if sandbox.final or sandbox.wanted == Wanted.KILL:
                await self.finish("The machine of this sandbox is gone, and its terminals with it.", MACHINE_GONE)
            sentence = await self.rouse(sandbox, user)
            if sentence != said:
                said = sentence
                await self.send(json.dumps({"say": sentence}))
            await changes.wait(CHECK_SECONDS)

    async def rouse(self, sandbox: Sandbox, user: User) -> str:
        """What is done so that it will run, in words."""
        if sandbox.status == S.CREATING:
            return "The machine is being made. The terminal opens when it runs."
        if "wake" not in self.params:
            await self.finish("The sandbox sleeps. Press a key to wake it.", ASLEEP)
        if sandbox.wanted != Wanted.RUN:
            await in_thread(fleet.wake, sandbox, user)
        return "Waking the machine…"

    async def find(self, sandbox: Sandbox) -> terminals.Shell:
        """The shell that this browser had, or a new one."""
        if handle := self.params.get("shell"):
            shell = await terminals.rejoin(sandbox, handle)
            if shell is None:
                await self.finish("This shell has ended.", ENDED)
        else:
            shell = await terminals.open_shell(sandbox, self.size)
        self.shell = shell
        return shell

    async def begin(self, shell: terminals.Shell, viewer: terminals.Viewer) -> None:
        """Tell which shell it is. One that was found on an empty screen is asked to draw itself anew."""
        self.began_at = viewer.at
        await self.send(json.dumps({"shell": shell.handle, "replay": shell.scroll.last - viewer.at}))
        if "shell" in self.params and shell.scroll.last == viewer.at:
            await shell.resize((self.size[0], max(1, self.size[1] - 1)))
        await shell.resize(self.size)
        await self.touch()

    async def print(self, shell: terminals.Shell, viewer: terminals.Viewer) -> None:
        """What the shell prints, as fast as the browser takes it."""
        eased_at = time.monotonic()
        while True:
            viewer.woken.clear()
            if viewer.at - viewer.acknowledged <= terminals.WINDOW_BYTES:
                eased_at = time.monotonic()
                place, data = shell.scroll.after(viewer.at)
                if data:
                    # The browser counts what it gets: what was dropped before it came to that is left out.
                    self.began_at += place - viewer.at
                    viewer.at = place + len(data)
                    await self.send(bytes_data=data)
                    continue
                if shell.over is not None:
                    await self.leave_off(shell.over)
            elif time.monotonic() - eased_at >= DEAD_SECONDS:
                raise Closed(LATER)
            await pause(viewer.woken, CHECK_SECONDS)

    async def leave_off(self, ended: bool) -> None:
        """The shell is over, or its stream broke off: then the browser comes back for it."""
        if ended:
            await self.finish("This shell has ended.", ENDED)
        raise Closed(LATER)

    async def type(self, shell: terminals.Shell) -> None:
        """What was typed, in order; what comes meanwhile goes together."""
        while True:
            await self.typing.wait()
            self.typing.clear()
            while self.typed:
                data = bytes(self.typed[:TYPE_BYTES])
                del self.typed[:TYPE_BYTES]
                await shell.type(data)
                self.took += len(data)
                if self.took - self.told >= TOOK_BYTES or not self.typed:
                    self.told = self.took
                    await self.send(json.dumps({"took": self.took}))
                await self.touch()

    async def touch(self) -> None:
        """Somebody is at work here."""
        if time.monotonic() - self.touched_at >= TOUCH_SECONDS:
            self.touched_at = time.monotonic()
            await in_thread(fleet.touch, Sandbox(pk=self.pk))

    async def guard(self, changes: hub.Subscription) -> None:
        """End when this person may not type here any more, or when the machine sleeps or is gone."""
        while True:
            await changes.wait(CHECK_SECONDS)
            sandbox, _ = await in_thread(self.look_at)
            if sandbox.status == S.PAUSED:
                if self.shell:
                    await self.shell.leave()
                await self.finish("The sandbox sleeps. Press a key to wake it.", ASLEEP)
            if sandbox.final:
                await self.finish("The machine of this sandbox is gone, and its terminals with it.", MACHINE_GONE)

    async def finish(self, sentence: str, code: int) -> NoReturn:
        """Say why, then end."""
        await self.send(json.dumps({"over": sentence}))
        raise Closed(code)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Something typed, or a word about the window; anything else is ignored."""
        if bytes_data is not None:
            await self.queue(bytes_data)
        else:
            await self.obey(parsed(text_data))

    async def queue(self, data: bytes) -> None:
        """Have it typed; a browser that sends more than it may is cut off."""
        self.typed += data
        if len(self.typed) > TYPED_BYTES:
            self.typed.clear()
            await self.close(FLOOD)
            return
        self.typing.set()

    async def obey(self, message: dict[str, Any]) -> None:
        """Acknowledge, resize, end."""
        viewer, shell = self.viewer_of_shell, self.shell
        if size := size_of(message.get("size")):
            self.size = size
            if shell and viewer:
                await shell.resize(size)
        if shell and viewer and isinstance(ack := message.get("ack"), int):
            shell.scroll.acknowledge(viewer, self.began_at + ack)
        if shell and message.get("end") is True:
            await shell.end()


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Until the event or so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def parsed(text: str | None) -> dict[str, Any]:
    """A message, empty for anything that isn't one."""
    try:
        message: Any = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def size_of(value: Any) -> tuple[int, int] | None:
    """(columns, rows) within bounds, None for anything else."""
    try:
        columns, rows = (int(number) for number in value)
    except (TypeError, ValueError):
        return None
    return min(max(columns, COLUMNS[0]), COLUMNS[1]), min(max(rows, ROWS[0]), ROWS[1])
