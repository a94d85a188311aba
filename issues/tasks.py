"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task

from . import answering, scan, sessions
from .models import IssueSession

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
