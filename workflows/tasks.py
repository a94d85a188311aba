"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task
from django.utils import timezone

from codecourier.models import Notification

from . import engine, schedules
from .models import Run, Schedule

LEVELS = {
    Run.Status.COMPLETED: (Notification.Level.SUCCESS, "{run}: completed. {run.detail}"),
    Run.Status.FAILED: (Notification.Level.ERROR, "{run}: failed. {run.detail}"),
}


@task
def advance_run(pk: int) -> None:
    """Bring a run forward."""
    with Run.claim(pk) as run:
        if run:
            engine.advance(run)


@task
def tell_run(pk: int) -> None:
    """Tell whoever started it how a run ended; told once, however often it is delivered."""
    run = Run.objects.select_related("created_by", "project").filter(pk=pk).first()
    if run is None or run.created_by is None or run.status not in LEVELS:
        return
    level, words = LEVELS[Run.Status(run.status)]
    Notification.tell(
        run.created_by, f"run-{pk}-end", words.format(run=run)[:300], level=level, project=run.project,
        url=f"/p/{run.project.slug}/runs/{pk}/",
    )  # fmt: skip


@task
def fire_schedule(pk: int) -> None:
    """Look whether its time has come."""
    with Schedule.claim(pk) as schedule:
        if schedule:
            schedules.look(schedule, timezone.now())
