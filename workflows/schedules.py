"""What schedules do when their time comes: start a run, wait for the last one, leave a time out, or rest.

Each time that came round is one row, which the database has once, and its run is made in the same transaction: a worker
that dies leaves both or neither. Times that passed while the portal was down are made up for by one run.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from codecourier import audit
from codecourier.models import Notification, User

from . import runs, timing
from .models import Firing, Run, Schedule, Source

F, R = Firing.Outcome, Run.Status
# So many failures in a row are enough.
ENOUGH = 3
# Times that were missed are counted up to here.
MOST_MISSED = 1000


def look(schedule: Schedule, now: datetime) -> None:
    """Do what is due of a schedule that is leased to the caller."""
    if schedule.paused_at or rest(schedule, now):
        return
    with transaction.atomic():
        # Somebody may start it by hand, or pause it, at this very moment.
        schedule.refresh_from_db(from_queryset=Schedule.objects.select_for_update())
        if schedule.paused_at:
            return
        start_waiting(schedule, now)
        if not schedule.next_at or schedule.next_at > now:
            return
        come_round(schedule, now)
    rest(schedule, now)


def come_round(schedule: Schedule, now: datetime) -> None:
    """Its time has come, once however often it was missed; then the next one is what counts."""
    planned = schedule.next_at
    assert planned  # noqa: S101 - asked before
    after = timing.times(schedule.rule, planned)
    missed = len(list(islice(takewhile(lambda moment: moment <= now, after), MOST_MISSED)))
    note = f"{missed} more time{'s' if missed > 1 else ''} passed while the portal was down. " if missed else ""
    fire(schedule, planned, now, note)
    schedule.plan(now)
    schedule.save(update_fields=["next_at", "due_at"])
    schedule.nudge()


def fire(schedule: Schedule, planned: datetime, now: datetime, note: str = "") -> Firing:
    """The row of one time: started, unless the last run still goes on."""
    row = Firing(schedule=schedule, planned_at=planned, at=now, outcome=F.WAITING, detail=note)
    if busy := schedule.runs.active().first():
        waits = schedule.firings.filter(outcome=F.WAITING).exists()
        if schedule.overlap == Schedule.Overlap.SKIP:
            row.outcome, row.detail = F.SKIPPED, f"{note}Run {busy.pk}, {busy}, still went on."
        elif waits:
            row.outcome, row.detail = F.SKIPPED, f"{note}An earlier time still waits for run {busy.pk} to end."
        else:
            row.detail = f"{note}Starts when run {busy.pk}, {busy}, has ended."
    else:
        start(row)
    row.save()
    return row


def start(row: Firing) -> None:
    """Its run; what can't be started is said in the row."""
    schedule = row.schedule
    fields: dict[str, Any] = {"checker_instructions": schedule.checker_instructions, "cap_usd": schedule.cap_usd}
    try:
        with transaction.atomic():
            row.run = runs.launch(
                schedule.workflow, schedule.created_by, prompt=schedule.prompt, source=Source.SCHEDULE,
                repository_url=schedule.repository_url or None, branch=schedule.branch,
                labels={"schedule": str(schedule), "schedule_id": schedule.pk},
                request_key=f"schedule-{schedule.pk}-{row.planned_at:%Y%m%dT%H%M%S.%f}", **fields,
            )  # fmt: skip
    except ValidationError as error:
        row.outcome, row.detail = F.FAILED, " ".join(error.messages)
    else:
        row.outcome = F.STARTED


def start_waiting(schedule: Schedule, now: datetime) -> None:
    """What waited for the last run, once that has ended."""
    row = schedule.firings.filter(outcome=F.WAITING).first()
    if row is None or schedule.runs.active().exists():
        return
    row.schedule, row.at = schedule, now
    start(row)
    row.save()
    schedule.nudge()


def rest(schedule: Schedule, now: datetime) -> bool:
    """Pause a schedule whose last runs all failed, and say so to whoever made it; whether it does."""
    failures = list(islice(failed(schedule), ENOUGH))
    if len(failures) < ENOUGH:
        return False
    why = f"{ENOUGH} runs in a row failed, the last because: {failures[0]}"
    with transaction.atomic():
        pause(schedule, why, now)
        if schedule.created_by:
            Notification.tell(
                schedule.created_by, f"schedule-{schedule.pk}-{now:%Y%m%d%H%M%S}",
                f"The schedule {schedule} is paused: {why}", level=Notification.Level.WARNING,
                project=schedule.project, url=f"/p/{schedule.project.slug}/schedules/{schedule.pk}/",
            )  # fmt: skip
    return True


def failed(schedule: Schedule) -> Iterator[str]:
    """Why its last runs failed, newest first, back to one that didn't; those that somebody cancelled don't count."""
    rows = schedule.firings.filter(at__gte=schedule.resumed_at, outcome__in=[F.STARTED, F.FAILED])
    for row in rows.select_related("run").order_by("-planned_at", "-id")[:50]:
        if row.outcome == F.FAILED:
            yield row.detail
        elif row.run and row.run.status == R.FAILED:
            yield row.run.detail
        elif row.run and row.run.status == R.COMPLETED:
            return


def pause(schedule: Schedule, why: str, now: datetime) -> None:
    """No time comes round until somebody resumes it; what waits is left out."""
    schedule.firings.filter(outcome=F.WAITING).update(outcome=F.SKIPPED, detail="The schedule was paused meanwhile.")
    schedule.paused_at, schedule.paused_why = now, why[:300]
    schedule.plan(now)
    schedule.save(update_fields=["paused_at", "paused_why", "next_at", "due_at"])
    schedule.nudge()


def pause_by(schedule: Schedule, user: User) -> None:
    """As somebody asks."""
    with transaction.atomic():
        pause(schedule, f"{user} paused it.", timezone.now())
        audit.note(user, "schedule.paused", schedule)


def resume(schedule: Schedule, user: User) -> None:
    """From its next time on; what failed before is forgiven."""
    now = timezone.now()
    schedule.paused_at, schedule.paused_why, schedule.resumed_at = None, "", now
    schedule.plan(now)
    with transaction.atomic():
        schedule.save(update_fields=["paused_at", "paused_why", "resumed_at", "next_at", "due_at"])
        audit.note(user, "schedule.resumed", schedule)
        schedule.nudge()


def now(schedule: Schedule, user: User) -> Firing:
    """Once more, besides its times."""
    with transaction.atomic():
        Schedule.objects.select_for_update().get(pk=schedule.pk)
        moment = timezone.now()
        row = fire(schedule, moment, moment, f"{user} asked for it. ")
        audit.note(user, "schedule.fired", schedule)
        schedule.nudge()
    return row


def delete(schedule: Schedule, user: User) -> None:
    """Its runs stay."""
    with transaction.atomic():
        audit.note(user, "schedule.deleted", schedule)
        schedule.delete()
