"""What follows when rows move: each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved
from sandboxes.models import Checkpoint, PullRequest, Sandbox, Turn

from . import tasks
from .models import Run, Schedule


def poke(sandbox: Sandbox) -> None:
    """The run that a sandbox belongs to is looked at."""
    pk = sandbox.labels.get("run_id")
    if isinstance(pk, int):
        Run.poke(pk)


@receiver(moved, sender=Turn)
def turn_moved(row: Turn, **_: Any) -> None:
    """The end of a turn may be that of a step."""
    if row.final:
        poke(row.sandbox)


@receiver(moved, sender=Checkpoint)
def checkpoint_moved(row: Checkpoint, **_: Any) -> None:
    """A step is over when its work is saved."""
    if row.final:
        poke(row.sandbox)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, **_: Any) -> None:
    """A machine that is gone has no more to give; one that rests may be needed."""
    poke(row)


@receiver(moved, sender=PullRequest)
def pull_request_moved(row: PullRequest, **_: Any) -> None:
    """A run ends when its branch is where it should be."""
    poke(row.sandbox)


@receiver(moved, sender=Run)
def run_moved(row: Run, **_: Any) -> None:
    """The end is told; what else it needs is done in the same look, see `engine.step`."""
    if row.final:
        tasks.tell_run.enqueue(row.pk)


@receiver(moved, sender=Run)
def scheduled_run_moved(row: Run, **_: Any) -> None:
    """The end of a run may be what the next one waits for, or one failure too many."""
    pk = row.labels.get("schedule_id")
    if row.final and isinstance(pk, int):
        Schedule.poke(pk)
