"""What follows when a row moves: each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved
from sandboxes.models import Sandbox, Turn

from . import tasks
from .models import IssueSession
from .sessions import KINDS

SESSIONS = frozenset(KINDS.values())


@receiver(moved, sender=Turn)
def turn_moved(row: Turn, **_: Any) -> None:
    """An answer may be there."""
    if row.final and row.contract and row.sandbox.kind in SESSIONS:
        follow(row.sandbox_id)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, **_: Any) -> None:
    """A machine that is over brings nothing more."""
    if row.final and row.kind in SESSIONS:
        follow(row.pk)


def follow(sandbox: int) -> None:
    """Bring the session of a sandbox forward."""
    pk = IssueSession.objects.filter(sandbox=sandbox).values_list("pk", flat=True).first()
    if pk is not None:
        IssueSession.poke(pk)


@receiver(moved, sender=IssueSession)
def session_moved(row: IssueSession, **_: Any) -> None:
    """Its end is news."""
    if row.final and row.created_by_id:
        tasks.tell_session.enqueue(row.pk)
