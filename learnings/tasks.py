"""Short steps for the worker."""

from django.tasks import task
from django.urls import reverse

from codecourier.models import Notification, User
from sandboxes.models import Sandbox

from . import extraction
from .models import Extraction


@task
def advance_extraction(pk: int) -> None:
    """Bring the reading of finished work forward."""
    with Extraction.claim(pk) as row:
        if row:
            extraction.advance(row)


@task
def read_ended(pk: int) -> None:
    """A sandbox that no run looks after is over; read once, however often this is delivered."""
    sandbox = Sandbox.objects.select_related("project").filter(pk=pk).first()
    if sandbox:
        extraction.ended(sandbox)


@task
def follow_session(pk: int) -> None:
    """A learning session has moved: what waits for it goes on."""
    for number in Extraction.objects.filter(session=pk, status="running").values_list("pk", flat=True):
        Extraction.poke(number)


def whom(row: Extraction) -> User | None:
    """Who asked, else who did the work, if there is something to do."""
    first = row.sandboxes.select_related("created_by").order_by("pk").first()
    return row.asked_by or (first.created_by if first and row.found else None)


@task
def tell_end(pk: int) -> None:
    """Tell whoever asked, else whoever did the work, of new lessons; and who asked, of a failure. Told once."""
    row = Extraction.objects.select_related("project", "asked_by").filter(pk=pk).first()
    told = whom(row) if row else None
    if row is None or told is None or row.status not in Extraction.OVER:
        return
    bad = row.status == Extraction.Status.FAILED
    lessons = f"{row.found} new lesson{'' if row.found == 1 else 's'} to look at" if row.found else "no new lesson"
    Notification.tell(
        told,
        f"extraction-{pk}-{row.round}",
        f"{row}: {f'could not be read. {row.detail}' if bad else lessons}",
        level=Notification.Level.ERROR if bad else Notification.Level.INFO,
        project=row.project,
        url=reverse("learnings:sessions" if bad else "learnings:inbox", args=[row.project.slug]),
    )
