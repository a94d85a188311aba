"""The output of one job, live: binary frames of rows, acknowledged by the browser, from wherever it is.

Frame: first and last seq as 64-bit big-endian numbers, then the rows' bytes in order. Text frames are JSON:
`{"start": {"first", "skipped"}}` first, `{"end": {...}}` last; the browser sends `{"ack": seq}`.
Daphne holds whatever it is given, so at most 1 MiB is under way to one browser.
"""

import asyncio
import json
import logging
import struct
import time
from collections import deque
from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404

from codecourier.consumers import GONE, Closed, ProjectConsumer
from sandboxes import output
from sandboxes.models import Job

logger = logging.getLogger(__name__)

FRAME_BYTES = 256 * 1024 - 16
WINDOW_BYTES = 1024 * 1024 - 256 * 1024
# Whether the person may still see it is asked this often; a browser that acknowledges nothing for so long is dropped.
CHECK_SECONDS, DEAD_SECONDS = 20.0, 60.0
SLOW = 1013


class OutputConsumer(ProjectConsumer):
    """One viewer."""

    async def connect(self) -> None:
        """As every page's socket, with nothing under way yet."""
        self.at = 0
        self.under_way: deque[tuple[int, int]] = deque()
        self.unacknowledged = 0
        self.woken = asyncio.Event()
        self.acknowledged_at = self.checked_at = time.monotonic()
        await super().connect()

    async def follow(self) -> None:
        """Everything from where the browser is, then whatever comes, until the job's end."""
        try:
            start = await output.in_thread(self.place)
            await self.send(json.dumps({"start": start}))
            async with output.watching(self.job, self.at, self.woken) as ring:
                await self.pump(ring)
        except Closed as error:
            await self.close(error.args[0])
        except Http404:
            await self.close(GONE)
        except Exception:
            logger.exception("The output at %s failed", self.scope["path"])
            await self.close(1011)

    @property
    def job(self) -> int:
        """The job of the socket's URL."""
        return int(self.scope["url_route"]["kwargs"]["job"])

    def place(self) -> dict[str, int]:
        """Where to begin: after what the browser has, or with the last stretch of a long output."""
        self.permit()
        skipped = 0
        if "tail" in self.params:
            first, skipped = output.tail(self.job)
            self.at = first - 1
        else:
            self.at = number(self.params.get("after", "0"))
        return {"first": self.at + 1, "skipped": skipped}

    def permit(self) -> None:
        """Http404 or Closed unless this person may see the job now."""
        get_object_or_404(Job, pk=self.job, sandbox__project=self.project(self.viewer()))

    async def pump(self, ring: output.Ring) -> None:
        """Send while the browser keeps up, wait otherwise."""
        while True:
            self.woken.clear()
            if self.unacknowledged <= WINDOW_BYTES:
                pieces = await ring.after(self.at)
                if pieces:
                    await self.send_pieces(pieces)
                    continue
                if ring.end and self.at >= ring.last:
                    await self.send(json.dumps({"end": ring.end}))
                    await self.close(1000)
                    return
                self.acknowledged_at = time.monotonic()
            await self.rest()

    async def send_pieces(self, pieces: list[output.Piece]) -> None:
        """As many frames as may be under way."""
        for group in output.frames(pieces, FRAME_BYTES):
            if self.unacknowledged > WINDOW_BYTES:
                return
            data = b"".join(piece.data for piece in group)
            await self.send(bytes_data=struct.pack(">QQ", group[0].seq, group[-1].seq) + data)
            self.at = group[-1].seq
            self.under_way.append((self.at, len(data)))
            self.unacknowledged += len(data)

    async def rest(self) -> None:
        """Until something comes from either side; now and then look whether this viewer is still one."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self.woken.wait()
        except TimeoutError:
            pass
        if time.monotonic() - self.checked_at >= CHECK_SECONDS:
            self.checked_at = time.monotonic()
            await output.in_thread(self.permit)
        if self.unacknowledged > WINDOW_BYTES and time.monotonic() - self.acknowledged_at >= DEAD_SECONDS:
            raise Closed(SLOW)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """An acknowledgement; anything else is ignored."""
        seq = acknowledged(text_data)
        while self.under_way and self.under_way[0][0] <= seq:
            self.unacknowledged -= self.under_way.popleft()[1]
            self.acknowledged_at = time.monotonic()
        self.woken.set()


def acknowledged(text: str | None) -> int:
    """The seq of an acknowledgement, 0 for anything else."""
    try:
        message: Any = json.loads(text or "")
    except (ValueError, RecursionError):
        return 0
    seq = message.get("ack") if isinstance(message, dict) else None
    return seq if isinstance(seq, int) else 0


def number(text: str) -> int:
    """A seq from a URL; whatever isn't one means the beginning."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
