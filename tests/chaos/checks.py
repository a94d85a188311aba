"""What must hold whatever was killed. Each check yields sentences about what doesn't."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from codecourier.git import GitError
from codecourier.lifecycle import Lifecycle
from codecourier.models import Project
from codecourier.redact import Redactor, State, redact_spool, step
from sandboxes.checkpoints.store import Store, ref_of
from sandboxes.models import Checkpoint, Job, Output, Sandbox, Turn
from tests.chaos.spools import Keeper

STREAMS = (Output.Stream.STDOUT, Output.Stream.STDERR)
CAPPED = b"[only the first "

Rows = list[tuple[int, int, bytes]]


def output(job: Job, keeper: Keeper, redactor: Redactor) -> Iterator[str]:
    """Gapless and byte for byte the redacted spool; of a job without an end, the beginning of it."""
    rows = stored(job)
    if [seq for seq, _, _ in rows] != list(range(1, job.seq + 1)):
        yield f"{job}: its {len(rows)} rows are not numbered from 1 to {job.seq}"
    for data in joined(rows, Output.Stream.NOTE).splitlines():
        if not data.startswith(CAPPED):
            yield f"{job}: {data!r}"
    lines, whole = keeper.lines(job.pk), keeper.is_whole(job.pk)
    measure = redact_spool(lines, redactor) if whole else begun(lines, redactor)
    for stream in STREAMS:
        yield from compare(job, str(stream.label), joined(rows, stream), measure.get(str(stream.label), b""), whole)


def stored(job: Job) -> Rows:
    """(seq, stream, data) of what the database has."""
    found = Output.objects.filter(job=job).order_by("seq").values_list("seq", "stream", "data")
    return [(seq, stream, bytes(data)) for seq, stream, data in found]


def joined(rows: Rows, wanted: int) -> bytes:
    """One stream's bytes."""
    return b"".join(data for _, stream, data in rows if stream == wanted)


def compare(job: Job, stream: str, kept: bytes, printed: bytes, whole: bool) -> Iterator[str]:
    """One stream against its measure."""
    cut = job.capped or job.status != Job.Status.EXITED
    right = kept == printed
    if cut:
        right |= printed.startswith(kept)
    if not whole:
        right |= kept.startswith(printed)
    if not right:
        same = next((at for at, (one, other) in enumerate(zip(kept, printed, strict=False)) if one != other), "its end")
        yield f"{job} ({job.status}): {stream} differs from byte {same}; {len(kept)} stored, {len(printed)} printed"


def begun(lines: Iterable[bytes], redactor: Redactor) -> dict[str, bytes]:
    """What is certain of a spool whose end was not seen: nothing that is still held back."""
    state, certain = State(), dict[str, bytearray]()
    for line in lines:
        pieces, state = step(redactor, state, json.loads(line))
        for stream, data in pieces:
            certain.setdefault(stream, bytearray()).extend(data)
    return {stream: bytes(data) for stream, data in certain.items()}


def history(row: Lifecycle) -> Iterator[str]:
    """The timeline is one chain that ends where the row is."""
    at = ""
    for move in row.history:
        if move.old != at:
            yield f"{row}: its timeline goes from {move.old!r} on, but it was {at!r}"
        at = move.new
    if at != row.status:
        yield f"{row}: its timeline ends with {at!r}, the row says {row.status!r}"


def ended(sandbox: Sandbox) -> Iterator[str]:
    """A sandbox that is over has nothing open, in its rows or at its provider."""
    if not sandbox.final:
        yield f"sandbox {sandbox.pk} is still {sandbox.status} (wanted {sandbox.wanted}, until {sandbox.stop_by})"
    if not sandbox.released_at:
        yield f"sandbox {sandbox.pk}: its machine {sandbox.provider_id} was not released"
    for job in sandbox.jobs.filter(status__in=Job.LIVE):
        yield f"sandbox {sandbox.pk} is {sandbox.status}, but its {job} is {job.status}"
    for turn in sandbox.turns.filter(status__in=Turn.OPEN):
        yield f"sandbox {sandbox.pk} is {sandbox.status}, but its {turn} is {turn.status}"


def work(sandbox: Sandbox, *, whole: bool) -> Iterator[str]:
    """What every turn did was saved once; with `whole`, nobody stopped it before that could be."""
    rows = list(sandbox.checkpoints.all())
    for row in rows:
        yield from history(row)
        if not row.final or (whole and row.status == Checkpoint.Status.FAILED):
            yield f"{row} is {row.status}: {row.detail}"
    for turn in sandbox.turns.filter(status__in=[Turn.Status.SUCCEEDED, Turn.Status.FAILED]):
        if not any(row.turn_id == turn.pk for row in rows):
            yield f"{turn} of sandbox {sandbox.pk} has no checkpoint"


def store(project: Project) -> Iterator[str]:
    """The portal's repository has exactly what the rows say, and all of it."""
    kept, stored = Store.of(project), Checkpoint.objects.stored().filter(sandbox__project=project)
    said = {ref_of(row.sandbox_id, row.pk): row.commit for row in stored}
    lines = kept.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/checkpoints").decode().splitlines()
    found = dict(line.split() for line in lines)
    yield from (f"{ref} is not in the repository" for ref, commit in said.items() if found.get(ref) != commit)
    yield from (f"{ref} is in no row" for ref in found if ref not in said and ref.rpartition("/")[2].isdigit())
    try:
        kept.git("fsck", "--connectivity-only", "--no-dangling")
    except GitError as error:
        yield f"the repository of {project} is not whole: {error}"


def machines(host_state: Path) -> list[str]:
    """Ids of machines that somebody has, whatever their state; the pool's are nobody's."""
    found = []
    for record in (host_state / "sandboxes").glob("*/record.json"):
        with suppress(OSError, ValueError):
            state = json.loads(record.read_text())["state"]
            found += [] if state in {"booting", "pooled"} else [f"{record.parent.name} ({state})"]
    return found


def processes(state: Path) -> list[str]:
    """Processes of this stack, by the state folder in their environment or command line; but for this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get("TEST_STATE") == str(state) or str(state) in " ".join(process.cmdline())
            if ours and process.pid != os.getpid():
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
    return found
