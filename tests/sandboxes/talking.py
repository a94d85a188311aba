"""Conversations for tests: turns with jobs and events as the relay stores them, without a machine."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from codecourier import live
from codecourier.models import User
from sandboxes.models import Event, Job, Sandbox, Turn

Said = tuple[str, dict[str, Any]]


def turn_of(sandbox: Sandbox, prompt: str, *events: Said, by: User | None = None, **fields: Any) -> Turn:
    """A turn that has begun, with what its agent did so far; it runs unless `fields` say how it ended."""
    status = fields.setdefault("status", Turn.Status.RUNNING)
    over = status != Turn.Status.RUNNING
    now = timezone.now()
    job = Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status="exited" if over else "running")
    fields.setdefault("started_at", now - timedelta(seconds=40))
    fields.setdefault("ended_at", now if over else None)
    fields.setdefault("position", sandbox.turns.count() + 1)
    turn = Turn.objects.create(sandbox=sandbox, job=job, prompt=prompt, created_by=by, **fields)
    say(turn, *events)
    return turn


def say(turn: Turn, *events: Said, draft: dict[str, str] | None = None) -> None:
    """More events and what streams then, with the nudge of a flush."""
    job = turn.job
    assert job
    Event.objects.bulk_create(
        [
            Event(job=job, seq=job.events + number, t_ms=1000 * (job.events + number), kind=kind, data=data)
            for number, (kind, data) in enumerate(events, 1)
        ],
        batch_size=1000,
    )
    job.events += len(events)
    job.draft = draft or {}
    Job.objects.filter(pk=job.pk).update(events=job.events, draft=job.draft)
    live.nudge(f"job:{job.pk}")


def text(words: str) -> Said:
    return "text", {"text": words}


def call(number: int, name: str, **given: Any) -> Said:
    return "tool_call", {"id": f"call-{number}", "name": name, "input": given}


def result(number: int, output: str, *, error: bool = False, code: int | None = 0, seconds: float = 0.4) -> Said:
    return "tool_result", {"id": f"call-{number}", "output": output, "error": error, "exit": code, "seconds": seconds}


def used(model: str = "claude-sonnet-4-5", **tokens: int) -> Said:
    return "usage", {
        "model": model,
        "input": 0,
        "output": 0,
        "cache_read": 0,
        "cache_write": 0,
        "reasoning": 0,
    } | tokens
