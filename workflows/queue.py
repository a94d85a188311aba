"""Which pending run may start: so many at once for the deployment and for a project, in a fair order.

Of the projects with something pending, the one with the fewest running runs is next, and of its runs the oldest.
"""

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from .models import Run

LOCK = 0x510D


def admitted(run: Run) -> bool:
    """Whether it is this run's turn; else it says what it waits for. Call it for a pending run only."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        running = dict(
            Run.objects.filter(status=Run.Status.RUNNING).order_by().values_list("project").annotate(Count("pk"))
        )
        ahead = waiting(running)
        room = settings.RUNS_AT_ONCE - sum(running.values())
        if run.pk in ahead[: max(room, 0)]:
            # Taken under the lock, so that no two workers count the same room.
            return run.move(Run.Status.RUNNING, started_at=timezone.now(), held="")
        place = ahead.index(run.pk) + 1 if run.pk in ahead else 0
    run.hold(sentence(place))
    return False


def waiting(running: dict[int, int]) -> list[int]:
    """The pending runs in the order in which they may start, each project up to its limit."""
    rows = list(Run.objects.filter(status=Run.Status.PENDING).order_by("pk").values_list("pk", "project"))
    busy, found = dict(running), list[int]()
    while True:
        free = [(pk, project) for pk, project in rows if busy.get(project, 0) < settings.RUNS_PER_PROJECT]
        if not free:
            return found
        pk, project = min(free, key=lambda row: (busy.get(row[1], 0), row[0]))
        busy[project] = busy.get(project, 0) + 1
        rows.remove((pk, project))
        found.append(pk)


def sentence(place: int) -> str:
    """Why a run does not start yet."""
    if not place:
        return (
            f"{settings.RUNS_PER_PROJECT} runs of this project are at work, as many as may be. It starts when one ends."
        )
    return f"As many runs are running as may at once. It is number {place} in line."


def call_next() -> None:
    """Have the pending ones looked at: there may be room."""
    for pk in Run.objects.filter(status=Run.Status.PENDING).order_by("pk").values_list("pk", flat=True)[:50]:
        Run.poke(pk)
