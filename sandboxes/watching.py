"""Watching a sandbox from a terminal: what happens and what is printed, as events in their order, until it is over."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models import Q

from codecourier import live
from codecourier.lifecycle import Transition

from .agents import AGENTS
from .bill import bill, used
from .models import Event, Job, Output, Phase, Sandbox, Turn

# Rows are looked at this often even when no notification comes.
LOOK_SECONDS = 1.0


@dataclass
class Watch:
    """A cursor over one sandbox's timeline and output."""

    sandbox: Sandbox
    transition: int = 0
    seen: dict[int, int] = field(default_factory=dict)  # job id -> last seq of its output
    heard: dict[int, int] = field(default_factory=dict)  # job id -> last seq of its events

    def events(self, turn: Turn) -> Iterator[dict[str, Any]]:
        """Every event as it comes, until the turn and its output are complete."""
        with listening() as wait:
            while True:
                turn.refresh_from_db()
                over = turn.final
                yield from self.news()
                if over:
                    return
                wait()

    def until_final(self) -> Iterator[dict[str, Any]]:
        """Every event until the sandbox is over and its machine gone."""
        with listening() as wait:
            while True:
                self.sandbox.refresh_from_db()
                over = self.sandbox.final and self.sandbox.released_at is not None
                yield from self.news()
                if over:
                    return
                wait()

    def news(self) -> Iterator[dict[str, Any]]:
        """What happened since the last look: output and events first, as a move may tell of their end."""
        structured = AGENTS[self.sandbox.tool].structured
        for job in self.sandbox.jobs.all():
            speaks = structured and job.kind == Job.Kind.TURN
            yield from self._output(job, stdout=not speaks)
            if speaks:
                yield from self._events(job)
        yield from self._moves()

    def _moves(self) -> Iterator[dict[str, Any]]:
        pk = self.sandbox.pk
        phases = dict(self.sandbox.phases.values_list("pk", "name"))
        mine = Q(kind="sandboxes.sandbox", object_id=pk) | Q(kind="sandboxes.phase", object_id__in=phases)
        mine |= Q(kind="sandboxes.turn", object_id__in=self.sandbox.turns.values("pk"))
        for move in Transition.objects.filter(mine, pk__gt=self.transition).order_by("pk"):
            self.transition = move.pk
            what = move.kind.removeprefix("sandboxes.")
            name = phases[move.object_id] if what == "phase" else what
            yield {"event": what, "name": name, "status": move.new, "reason": move.reason, "detail": move.detail,
                   "at": move.at.isoformat()}  # fmt: skip

    def _output(self, job: Job, *, stdout: bool) -> Iterator[dict[str, Any]]:
        """What a job printed; of a structured one its events stand for its stdout."""
        rows = Output.objects.filter(job=job, seq__gt=self.seen.get(job.pk, 0), seq__lte=job.seq)
        rows = rows if stdout else rows.exclude(stream=Output.Stream.STDOUT)
        for seq, stream, data in rows.values_list("seq", "stream", "data").iterator(chunk_size=64):
            yield {"event": "output", "job": job.pk, "kind": job.kind, "seq": seq,
                   "stream": Output.Stream(stream).label, "data": bytes(data)}  # fmt: skip
        self.seen[job.pk] = job.seq

    def _events(self, job: Job) -> Iterator[dict[str, Any]]:
        rows = Event.objects.filter(job=job, seq__gt=self.heard.get(job.pk, 0), seq__lte=job.events)
        for seq, t_ms, kind, data in rows.values_list("seq", "t_ms", "kind", "data").iterator(chunk_size=64):
            yield {"event": kind, "job": job.pk, "seq": seq, "t_ms": t_ms, "data": data}
        self.heard[job.pk] = job.events


@contextmanager
def listening() -> Iterator[Callable[[], None]]:
    """Gives what waits for the next notification of any row, for `LOOK_SECONDS` at most."""
    with psycopg.connect(**_parameters(), autocommit=True) as listener:
        listener.execute(f"LISTEN {live.CHANNEL}")

        def wait() -> None:
            for _ in listener.notifies(timeout=LOOK_SECONDS, stop_after=1):
                pass

        yield wait


def _parameters() -> dict[str, Any]:
    """A direct connection's: LISTEN can't be shared with Django's own."""
    parameters = connection.get_connection_params()
    return {key: parameters[key] for key in ("dbname", "user", "password", "host", "port") if parameters.get(key)}


def record(sandbox: Sandbox, turn: Turn) -> dict[str, Any]:
    """The closing record of a sandbox with one turn."""
    sandbox.refresh_from_db()
    turn.refresh_from_db()
    job, spent = turn.job, bill(sandbox, sandbox.turns.all(), sandbox.phases.all()).total
    return {
        "event": "record",
        "sandbox": sandbox.pk,
        "status": sandbox.status,
        "reason": sandbox.reason,
        "detail": sandbox.detail,
        "turn": turn.status,
        "turn_reason": turn.reason,
        "turn_detail": turn.detail,
        "exit_code": job.exit_code if job else None,
        "seconds": job.seconds if job else None,
        "cpu_seconds": job.cpu_seconds if job else None,
        "max_rss_kb": job.max_rss_kb if job else None,
        "lines": job.lines if job else 0,
        "bytes": job.bytes if job else 0,
        "ran_seconds": sandbox.ran_ms / 1000,
        "tool": sandbox.tool,
        "tool_version": sandbox.tool_version,
        "tokens": used(turn),
        # USD as a decimal in a text; null when nothing of it has a rate or was counted.
        "cost": None if spent.known is None else f"{spent.known:f}",
        "cost_complete": spent.whole,
        "unpriced": list(spent.unpriced),
        "deployment": settings.DEPLOYMENT,
    }


def as_json(event: dict[str, Any]) -> str:
    """One line; output bytes as text, broken UTF-8 replaced."""
    data = event.get("data")
    return json.dumps(event | {"data": data.decode(errors="replace")} if isinstance(data, bytes) else event)


def timeline(sandbox: Sandbox) -> list[tuple[str, str, float | None, str]]:
    """Name, status, seconds and detail of each phase and of each command, in their order."""
    phases = [
        (p.get_name_display(), p.status, p.took.total_seconds() if p.took else None, p.detail) for p in _phases(sandbox)
    ]
    turns = [
        (f"Turn {number}", turn.status, turn.took.total_seconds() if turn.took else None, turn.detail)
        for number, turn in enumerate(sandbox.turns.order_by("pk"), start=1)
    ]
    return phases + turns


def _phases(sandbox: Sandbox) -> list[Phase]:
    return list(sandbox.phases.exclude(status=Phase.Status.WAITING))


def resources(sandbox: Sandbox) -> dict[str, float]:
    """What its commands used: CPU seconds in all, and the largest resident memory in MB."""
    jobs = list(Job.objects.filter(sandbox=sandbox))
    return {
        "cpu_seconds": round(sum(job.cpu_seconds or 0 for job in jobs), 3),
        "peak_memory_mb": round(max((job.max_rss_kb or 0 for job in jobs), default=0) / 1024, 1),
    }
