"""What follows when a row moves: each receiver only enqueues one task."""

from typing import Any

from django.dispatch import receiver

from codecourier.lifecycle import moved
from sandboxes.models import Sandbox, Turn
from workflows.models import Run

from . import tasks
from .models import Chain, IssueSession, Link
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


@receiver(moved, sender=Run)
def run_moved(row: Run, **_: Any) -> None:
    """A card goes where its run went, and a chain goes on."""
    if "issue" in row.labels:
        tasks.follow_run.enqueue(row.pk)
    if row.final:
        for pk in Link.objects.filter(run=row, status=Link.Status.RUNNING).values_list("chain_id", flat=True):
            Chain.poke(pk)


@receiver(moved, sender=Chain)
def chain_moved(row: Chain, to: str, **_: Any) -> None:
    """Its end is news, and so is a stop."""
    if to in {Chain.Status.DONE, Chain.Status.STOPPED} and row.created_by_id:
        tasks.tell_chain.enqueue(row.pk, round(row.status_at.timestamp()))
