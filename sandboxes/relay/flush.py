"""The flush: output, cursors and exits of all jobs in one transaction, or none of it.

The epochs are looked at first and locked: what another relay has taken over meanwhile is not written.
"""

import logging
from collections.abc import Iterable, Mapping

from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from codecourier import crypto, live
from sandboxes.courier import Exit
from sandboxes.models import Job
from sandboxes.transcript import EventRow

from .fold import NOTE, Batch, Row

logger = logging.getLogger(__name__)

AWAY = (OperationalError, InterfaceError)
COPY = "COPY sandboxes_output (job_id, seq, t_ms, stream, data) FROM STDIN (FORMAT BINARY)"
COPY_EVENTS = "COPY sandboxes_event (job_id, seq, t_ms, kind, data) FROM STDIN (FORMAT BINARY)"
LOCK = """
SELECT id, seq, events FROM sandboxes_job
WHERE (id, lease_epoch) IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[])) ORDER BY id FOR UPDATE
"""
CURSORS = """
UPDATE sandboxes_job AS job SET "offset" = new.o, spool_seq = new.p, seq = new.q, lines = new.l, bytes = new.b,
       capped = new.c, fold = new.f, events = greatest(events, new.e), draft = new.d, output_at = %s
FROM unnest(
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[], %s::text[],
    %s::bigint[], %s::jsonb[]
) AS new(id, o, p, q, l, b, c, f, e, d)
WHERE job.id = new.id
"""

# (job id, epoch) -> batch
Batches = Mapping[tuple[int, int], Batch]


def write(batches: Batches) -> set[int]:
    """Store all batches; the ids of the jobs that were still ours.

    Raises OperationalError or InterfaceError when the database is away; the batches may then be stored all the same,
    which the next call finds out. A batch that the database refuses is retried alone, then replaced by a visible
    note: one bad record must not stop the others.
    """
    try:
        return write_together(batches)
    except AWAY:
        raise
    except Error:
        logger.exception("A flush of %s jobs failed; trying them one by one", len(batches))
    return {job for key, batch in batches.items() for job in write_alone(key, batch)}


def write_alone(key: tuple[int, int], batch: Batch) -> set[int]:
    """One job's batch; what can't be stored is quarantined behind a note."""
    try:
        return write_together({key: batch})
    except AWAY:
        raise
    except Error as error:
        logger.exception("Output of job %s could not be stored", key[0])
        text = f"[{len(batch.rows)} records could not be stored: {type(error).__name__}]\n".encode()
        rows = [Row(row.seq, row.t, NOTE, bytearray(text if row is batch.rows[0] else b"")) for row in batch.rows]
        lost = {"text": f"This could not be stored: {type(error).__name__}.", "bytes": 0}
        events = [EventRow(event.seq, event.t, "raw", lost) for event in batch.events]
        return write_together({key: Batch(rows, batch.cursor, batch.exit, events)})


def write_together(batches: Batches) -> set[int]:
    """One transaction for all."""
    with transaction.atomic():
        mine = lock(batches)
        ours = {job: batch for (job, _), batch in batches.items() if job in mine}
        copy(ours, mine)
        copy_events(ours, mine)
        move_cursors(ours)
        for job, batch in ours.items():
            if batch.exit:
                end(job, batch.exit)
        live.nudge(*(f"job:{job}" for job in ours))
    return set(mine)


def lock(batches: Batches) -> dict[int, tuple[int, int]]:
    """Jobs whose epoch is still the one they were claimed with, locked to the end: the last (row, event) they have."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [[job for job, _ in batches], [epoch for _, epoch in batches]])
        return {job: (row, event) for job, row, event in cursor.fetchall()}


def copy(batches: Mapping[int, Batch], stored: Mapping[int, tuple[int, int]]) -> None:
    """All rows by one COPY, but for those that a flush with an unknown outcome did store."""
    rows = [(job, row) for job, batch in batches.items() for row in batch.rows if row.seq > stored[job][0]]
    if not rows:
        return
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(COPY) as stream:
        stream.set_types(["int8", "int8", "int8", "int2", "bytea"])
        for job, row in rows:
            stream.write_row((job, row.seq, row.t, int(row.stream), bytes(row.data)))


def copy_events(batches: Mapping[int, Batch], stored: Mapping[int, tuple[int, int]]) -> None:
    """The same for events."""
    rows = [(job, row) for job, batch in batches.items() for row in batch.events if row.seq > stored[job][1]]
    if not rows:
        return
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(COPY_EVENTS) as stream:
        stream.set_types(["int8", "int8", "int8", "varchar", "jsonb"])
        for job, row in rows:
            stream.write_row((job, row.seq, row.t, row.kind, Jsonb(row.data)))


def move_cursors(batches: Mapping[int, Batch]) -> None:
    """All cursors by one UPDATE."""
    cursors = [(job, batch.cursor) for job, batch in batches.items()]
    columns: list[list[object]] = [
        [job for job, _ in cursors],
        [cursor.offset for _, cursor in cursors],
        [cursor.spool_seq for _, cursor in cursors],
        [cursor.seq for _, cursor in cursors],
        [cursor.lines for _, cursor in cursors],
        [cursor.bytes for _, cursor in cursors],
        [cursor.capped for _, cursor in cursors],
        [seal(cursor.dump()) for _, cursor in cursors],
        [batch.events[-1].seq if batch.events else 0 for batch in batches.values()],
        [Jsonb(batch.draft) for batch in batches.values()],
    ]
    with connection.cursor() as cursor:
        cursor.execute(CURSORS, [timezone.now(), *columns])


def seal(text: str) -> str:
    """Held bytes can be a piece of a secret."""
    return crypto.encrypt(text) if text else ""


def end(pk: int, record: Exit) -> None:
    """The job has exited, with everything it printed stored in this transaction.

    The command can write into its own spool: what a column can't hold is left out.
    """
    job = Job.objects.select_related("sandbox").get(pk=pk)
    if job.final:
        return
    job.move(
        Job.Status.EXITED,
        detail=text(record.message),
        exit_code=whole(record.code),
        exit_signal=whole(record.signal),
        exit_reason=text(record.reason)[:40],
        seconds=number(record.details.get("seconds")),
        cpu_seconds=number(record.details.get("cpu_s")),
        max_rss_kb=whole(record.details.get("max_rss_kb")),
        ended_at=timezone.now(),
        lease_until=None,
    )


def text(value: str | None) -> str:
    """Without NUL and lone surrogates."""
    return (value or "").replace("\0", "").encode("utf-8", "replace").decode()


def whole(value: object) -> int | None:
    """A count that fits into an integer column, else None."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def number(value: object) -> float | None:
    """A sensible number of seconds, else None."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 2**31 else None


def release(claims: Iterable[tuple[int, int]]) -> None:
    """Let go of jobs, for another relay to take at once."""
    for pk, epoch in claims:
        Job.objects.filter(pk=pk, lease_epoch=epoch).update(lease_until=None)
