"""Schedules at work: the clock is told, nobody waits for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from codecourier.models import Notification, Project, User
from sandboxes.models import Template
from tests.deadline import until
from tests.workflows.pages import workflow
from workflows import schedules, tasks
from workflows.models import Firing, Run, Schedule
from workflows.schedules import look

MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def daily(project: Project, member: User, template: Template) -> Schedule:
    """Every morning at nine; its next time is Monday's."""
    return Schedule.objects.create(
        project=project, workflow=workflow(project), name="Nightly", prompt="Update the dependencies", at=time(9),
        starts_on=date(2026, 1, 1), created_by=member, next_at=MONDAY, resumed_at=MONDAY - DAY,
    )  # fmt: skip


def told(schedule: Schedule) -> list[tuple[str, str]]:
    """What became of each time, the first one first."""
    return list(schedule.firings.order_by("planned_at").values_list("outcome", "detail"))


def end(status: str, **fields: Any) -> None:
    """The run that goes on ends so."""
    Run.objects.active().update(status=status, **fields)


def test_nothing_happens_before_its_time(daily: Schedule):
    look(daily, MONDAY - timedelta(seconds=1))
    assert not Run.objects.exists()


def test_its_time_starts_an_ordinary_run_and_the_next_is_planned(daily: Schedule, member: User):
    look(daily, MONDAY + timedelta(seconds=2))
    made = Run.objects.get()
    assert (made.source, made.created_by, made.prompt) == ("schedule", member, "Update the dependencies")
    assert made.labels == {"schedule": "Nightly", "schedule_id": daily.pk}
    daily.refresh_from_db()
    assert (daily.next_at, daily.due_at) == (MONDAY + DAY, MONDAY + DAY)
    assert told(daily) == [("started", "")]


def test_a_time_is_fired_once_however_often_it_is_looked_at(daily: Schedule):
    stale = Schedule.objects.get(pk=daily.pk)
    look(daily, MONDAY)
    look(daily, MONDAY)
    end("completed")
    look(stale, MONDAY)
    assert Run.objects.count() == 1
    assert Run.objects.count() == 1


def test_what_was_missed_is_made_up_for_by_one_run(daily: Schedule):
    look(daily, MONDAY + 3 * DAY + timedelta(hours=1))
    assert Run.objects.count() == 1
    assert told(daily) == [("started", "3 more times passed while the portal was down. ")]
    daily.refresh_from_db()
    assert daily.next_at == MONDAY + 4 * DAY


def test_a_time_is_left_out_while_the_last_run_goes_on(daily: Schedule):
    look(daily, MONDAY)
    look(daily, MONDAY + DAY)
    busy = Run.objects.get()
    assert told(daily)[1] == ("skipped", f"Run {busy.pk}, {busy}, still went on.")
    end("completed")
    look(daily, MONDAY + 2 * DAY)
    assert [outcome for outcome, _ in told(daily)] == ["started", "skipped", "started"]


def test_or_it_waits_and_only_one_does(daily: Schedule):
    daily.overlap = "queue"
    daily.save()
    for number in range(3):
        look(daily, MONDAY + number * DAY)
    assert [outcome for outcome, _ in told(daily)] == ["started", "waiting", "skipped"]
    daily.refresh_from_db()
    due = daily.next_look()
    assert due is not None
    assert Run.objects.count() == 1
    end("completed")
    look(daily, MONDAY + 2 * DAY + timedelta(hours=1))
    assert [outcome for outcome, _ in told(daily)] == ["started", "started", "skipped"]
    assert Run.objects.active().count() == 1


def test_the_end_of_its_run_wakes_a_schedule(daily: Schedule, work: Callable[[], int]):
    daily.overlap = "queue"
    daily.save()
    daily.save()
    look(daily, MONDAY)
    look(daily, MONDAY + DAY)
    Schedule.objects.update(next_at=None)
    Run.objects.get().move("cancelled")
    work()
    assert Run.objects.count() == 2
    assert [outcome for outcome, _ in told(daily)] == ["started", "started"]


def test_three_failures_in_a_row_pause_it_and_are_told(daily: Schedule, member: User):
    for number in range(3):
        look(daily, MONDAY + number * DAY)
        end("failed", detail="The checker did not approve the work.")
    look(daily, MONDAY + 2 * DAY + timedelta(hours=1))
    daily.refresh_from_db()
    assert daily.paused_why == "3 runs in a row failed, the last because: The checker did not approve the work."
    assert (daily.next_at, daily.next_look()) == (None, None)
    assert Notification.objects.get(user=member).text.startswith("The schedule Nightly is paused: 3 runs in a row")
    look(daily, MONDAY + 9 * DAY)
    assert Run.objects.count() == 3


def test_a_success_in_between_keeps_it_going_and_a_cancelled_run_does_not_count(daily: Schedule):
    for number, status in enumerate(["failed", "failed", "completed", "failed", "cancelled", "failed"]):
        look(daily, MONDAY + number * DAY)
        end(status)
    look(daily, MONDAY + 6 * DAY)
    assert Run.objects.count() == 7
    end("failed")
    look(daily, MONDAY + 6 * DAY)
    daily.refresh_from_db()
    assert daily.paused_at


def test_what_can_not_be_started_says_why_and_counts_as_a_failure(daily: Schedule):
    daily.workflow.steps.all().delete()
    for number in range(3):
        look(daily, MONDAY + number * DAY)
    assert told(daily)[0] == ("failed", "A workflow needs at least one step.")
    assert "A workflow needs at least one step." in daily.paused_why
    assert not Run.objects.exists()


def test_resuming_forgives_and_plans_from_now_on(daily: Schedule, member: User):
    daily.workflow.steps.all().delete()
    for number in range(3):
        look(daily, MONDAY + number * DAY)
    schedules.resume(daily, member)
    daily.refresh_from_db()
    assert daily.paused_at is None
    assert daily.next_at
    assert daily.next_at > daily.resumed_at
    assert not list(schedules.failed(daily))


def test_pausing_leaves_out_what_waits(daily: Schedule, member: User):
    daily.overlap = "queue"
    daily.save()
    look(daily, MONDAY)
    look(daily, MONDAY + DAY)
    schedules.pause_by(daily, member)
    assert told(daily)[1] == ("skipped", "The schedule was paused meanwhile.")
    assert daily.paused_why == "Mia paused it."


def test_the_task_claims_and_keeps_the_time_of_the_next_look(daily: Schedule, work: Callable[[], int]):
    # By the clock of this machine, whose past it is or whose future.
    Schedule.objects.update(next_at=MONDAY - DAY)
    tasks.fire_schedule.enqueue(daily.pk)
    work()
    daily.refresh_from_db()
    assert Firing.objects.count() == 1
    assert daily.next_at
    assert daily.due_at == daily.next_at
    assert daily.lease_until is None


@pytest.mark.django_db(transaction=True)
def test_a_time_that_comes_while_somebody_starts_it_makes_no_second_run(daily: Schedule, member: User):
    def come() -> None:
        try:
            look(Schedule.objects.get(pk=daily.pk), MONDAY)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            schedules.now(daily, member)
            done = pool.submit(come)
            until(waits_for_the_row)
        done.result(30)
    assert Run.objects.count() == 1
    assert {outcome for outcome, _ in told(daily)} == {"started", "skipped"}


def waits_for_the_row() -> bool:
    """Whether another connection waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])
