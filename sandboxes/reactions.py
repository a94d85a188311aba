"""What follows when a row of this app moves; each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved

from . import tasks
from .models import Job


@receiver(moved, sender=Job)
def job_moved(row: Job, **_: Any) -> None:
    """The end of a job, of whatever kind, brings its sandbox forward."""
    if row.final:
        tasks.advance_sandbox.enqueue(row.sandbox_id)
