"""What follows when a row of this app moves; each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved

from . import tasks
from .models import Job, Sandbox
from .reasons import Reason


@receiver(moved, sender=Job)
def job_moved(row: Job, **_: Any) -> None:
    """The end of a job, of whatever kind, brings its sandbox forward."""
    if row.final:
        Sandbox.poke(row.sandbox_id)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, **_: Any) -> None:
    """An end that nobody asked for is told to whoever made it."""
    if row.final and row.created_by_id and row.reason not in {Reason.USER, Reason.FINISHED}:
        tasks.tell_end.enqueue(row.pk)
