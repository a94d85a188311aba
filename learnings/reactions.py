"""What follows when sandboxes, turns and readings move; each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved
from sandboxes.agents import AGENTS
from sandboxes.models import Kind, Sandbox, Turn

from . import tasks
from .models import Extraction


@receiver(moved, sender=Turn)
def turn_moved(row: Turn, **_: Any) -> None:
    """A turn of a learning session is over, and with it perhaps the session."""
    if row.final and row.sandbox.kind == Kind.LEARNING:
        tasks.follow_session.enqueue(row.sandbox_id)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, **_: Any) -> None:
    """Work of an agent that no run looks after is over."""
    if row.final and row.kind == Kind.STANDALONE and AGENTS[row.tool].structured and not row.labels.get("run_id"):
        tasks.read_ended.enqueue(row.pk)


@receiver(moved, sender=Extraction)
def extraction_moved(row: Extraction, **_: Any) -> None:
    """Its end is news."""
    if row.status in Extraction.OVER:
        tasks.tell_end.enqueue(row.pk)
