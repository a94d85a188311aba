"""Reading stored output: in stretches of bounded size, as a file, and shared by all who watch one job."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from weakref import WeakKeyDictionary

from django.db import connection, connections

from codecourier import hub

from .models import Job, Output

# Rows are up to 64 KiB; a read takes so many bytes and rows at most.
READ_BYTES, READ_ROWS = 1024 * 1024, 2000
# What a newcomer gets of a long output, and what is kept ready for all viewers of a job.
TAIL_BYTES, TAIL_ROWS = 1024 * 1024, 20_000
RING_BYTES = 2 * 1024 * 1024
READERS = ThreadPoolExecutor(4, "output")
ROWS = """
SELECT seq, stream, data FROM (
    SELECT seq, stream, data, sum(octet_length(data)) OVER (ORDER BY seq) - octet_length(data) AS before
    FROM (SELECT * FROM sandboxes_output WHERE job_id = %s AND seq > %s ORDER BY seq LIMIT %s) AS following
) AS counted WHERE before < %s ORDER BY seq
"""
TAIL = """
SELECT coalesce(min(seq), 1) FROM (
    SELECT seq, sum(octet_length(data)) OVER (ORDER BY seq DESC) AS total
    FROM (SELECT seq, data FROM sandboxes_output WHERE job_id = %s ORDER BY seq DESC LIMIT %s) AS latest
) AS counted WHERE total <= %s
"""
BEFORE = "SELECT coalesce(sum(octet_length(data)), 0) FROM sandboxes_output WHERE job_id = %s AND seq < %s"


@dataclass(frozen=True, slots=True)
class Piece:
    """One row as it is shown."""

    seq: int
    data: bytes


@dataclass(frozen=True)
class News:
    """Rows after a place, and how the job ended if these are the last."""

    pieces: list[Piece]
    end: dict[str, object] | None


def shown(stream: int, data: bytes) -> bytes:
    """The portal's own notes are set apart from what was printed: dim, on lines of their own."""
    if stream != Output.Stream.NOTE:
        return data
    return b"\x1b[0m\r\n\x1b[2m" + data.rstrip(b"\n") + b"\x1b[0m\r\n"


def read(job: int, after: int, most: int = READ_BYTES) -> list[Piece]:
    """The rows after a seq, in order, up to about so many bytes."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, [job, after, READ_ROWS, most])
        return [Piece(seq, shown(stream, bytes(data))) for seq, stream, data in cursor.fetchall()]


def news(job: int, after: int) -> News:
    """What came after a seq. The job is looked at first: what it ended with is then among the rows."""
    fields = ("status", "seq", "exit_code", "exit_signal", "exit_reason")
    status, last, code, signal, reason = Job.objects.values_list(*fields).get(pk=job)
    pieces = read(job, after)
    there = pieces[-1].seq if pieces else after
    over = status not in Job.LIVE and there >= last
    end = {"status": status, "code": code, "signal": signal, "reason": reason, "last": there} if over else None
    return News(pieces, end)


def tail(job: int) -> tuple[int, int]:
    """(first seq, bytes before it) such that at most the last TAIL_BYTES follow."""
    with connection.cursor() as cursor:
        cursor.execute(TAIL, [job, TAIL_ROWS, TAIL_BYTES])
        (first,) = cursor.fetchone()
        cursor.execute(BEFORE, [job, first])
        return first, int(cursor.fetchone()[0])


async def file(job: int) -> AsyncIterator[bytes]:
    """Everything that is stored of a job, a stretch at a time."""
    after = 0
    while pieces := await in_thread(raw, job, after):
        after = pieces[-1].seq
        yield b"".join(piece.data for piece in pieces)


def raw(job: int, after: int) -> list[Piece]:
    """As `read`, with notes as plain lines."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, [job, after, READ_ROWS, READ_BYTES])
        return [Piece(seq, bytes(data)) for seq, _, data in cursor.fetchall()]


async def in_thread[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read beside whatever else the process does: pages are rendered in one thread, output must not wait for them."""

    def alone() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            # Back to the pool: these threads must not keep what pages need.
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(READERS, alone)


class Ring:
    """The newest rows of one job, read once for all who watch it in this process."""

    def __init__(self, job: int, after: int) -> None:
        self.job, self.last = job, after
        self.pieces: deque[Piece] = deque()
        self.size = 0
        self.end: dict[str, object] | None = None
        self.stale = True
        self.lock = asyncio.Lock()
        self.viewers: set[asyncio.Event] = set()
        self.task: asyncio.Task[None] | None = None

    @property
    def first(self) -> int:
        """The oldest seq that it has, or will have next."""
        return self.pieces[0].seq if self.pieces else self.last + 1

    async def listen(self) -> None:
        """Have everybody look again whenever there may be something new."""
        async with hub.subscribe(f"job:{self.job}") as changes:
            while True:
                await changes.wait()
                self.stale = True
                self.wake()

    def wake(self) -> None:
        """Everybody who watches."""
        for viewer in self.viewers:
            viewer.set()

    async def after(self, seq: int) -> list[Piece]:
        """Rows that follow, empty when there are none; who is far behind reads from the database."""
        if seq < self.first - 1:
            return await in_thread(read, self.job, seq)
        if seq > self.last:
            self.jump(seq)
        if seq >= self.last:
            async with self.lock:
                if self.stale and seq >= self.last:
                    await self.fetch()
            # Somebody ahead may have moved the ring on while this one waited.
            if seq < self.first - 1:
                return await in_thread(read, self.job, seq)
        return list(islice(self.pieces, seq - self.first + 1, None))

    def jump(self, seq: int) -> None:
        """Go on from the most advanced viewer; the others catch up from the database."""
        self.pieces.clear()
        self.size, self.last, self.stale = 0, seq, True

    async def fetch(self) -> None:
        """One read for all; what doesn't fit any more is dropped at the old end."""
        self.stale, start = False, self.last
        try:
            found = await in_thread(news, self.job, start)
        except BaseException:
            self.stale = True
            raise
        if self.last != start:
            return
        for piece in found.pieces:
            self.pieces.append(piece)
            self.last = piece.seq
            self.size += len(piece.data)
        while self.size > RING_BYTES and len(self.pieces) > 1:
            self.size -= len(self.pieces.popleft().data)
        self.end = found.end
        if found.pieces:
            self.stale = found.end is None
            self.wake()


_rings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Ring]] = WeakKeyDictionary()


@asynccontextmanager
async def watching(job: int, after: int, woken: asyncio.Event) -> AsyncIterator[Ring]:
    """The job's ring; `woken` is set whenever it may have something new. It lives as long as somebody watches."""
    rings = _rings.setdefault(asyncio.get_running_loop(), {})
    ring = rings.setdefault(job, Ring(job, after))
    ring.viewers.add(woken)
    if ring.task is None:
        ring.task = asyncio.create_task(ring.listen(), name=f"ring-{job}")
    try:
        yield ring
    finally:
        ring.viewers.discard(woken)
        if not ring.viewers:
            rings.pop(job, None)
            ring.task.cancel()
            await asyncio.wait([ring.task])


def frames(pieces: Iterable[Piece], most: int) -> list[list[Piece]]:
    """Rows in groups of at most so many bytes each (a single row may be larger)."""
    groups, size = list[list[Piece]](), 0
    for piece in pieces:
        if not groups or size + len(piece.data) > most:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += len(piece.data)
    return groups
