"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task

from workflows.models import Run

from . import answering, chain, scan, sessions, work
from .models import Chain, IssueSession

TAKES = {IssueSession.Kind.SCAN: scan.take, IssueSession.Kind.ANSWERS: answering.take}


@task
def advance_session(pk: int) -> None:
    """See whether a session has answered."""
    with IssueSession.claim(pk) as session:
        if session:
            sessions.settle(session, TAKES[IssueSession.Kind(session.kind)])


@task
def tell_session(pk: int) -> None:
    """Tell whoever started it."""
    session = IssueSession.objects.select_related("created_by", "project").filter(pk=pk).first()
    if session:
        sessions.tell(session)


@task
def follow_run(pk: int) -> None:
    """A card goes where its run went; a second delivery finds it there."""
    run = Run.objects.filter(pk=pk).first()
    if run:
        work.follow_run(run)


@task
def advance_chain(pk: int) -> None:
    """Bring a chain forward."""
    with Chain.claim(pk) as row:
        if row:
            chain.advance(row)


@task
def tell_chain(pk: int, moment: int) -> None:
    """Tell whoever started it."""
    row = Chain.objects.select_related("created_by", "project").filter(pk=pk).first()
    if row:
        chain.tell(row, moment)
