"""Schedules over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes.models import Template
from tests.workflows.pages import run, workflow
from workflows.models import Firing, Run, Schedule, Workflow
from workflows.schedule_forms import ScheduleForm, preview

LIST = "/p/rocket/schedules/"


@pytest.fixture
def loop(project: Project, template: Template) -> Workflow:
    return workflow(project)


def filled(of: Workflow, **changes: Any) -> dict[str, Any]:
    """What the form sends."""
    fields = {"name": "Nightly", "workflow": of.pk, "prompt": "Update it", "every": "daily", "at": "02:30",
              "starts_on": "2026-01-01", "zone": "Europe/Berlin", "overlap": "skip"}  # fmt: skip
    return {**fields, **changes}


def make(of: Workflow, **fields: Any) -> Schedule:
    named = {"name": "Nightly", "prompt": "Update it", **fields}
    return Schedule.objects.create(project=of.project, workflow=of, **named)


def test_a_schedule_is_made_and_planned(member_client: Client, member: User, loop: Workflow):
    answer = member_client.post(f"{LIST}new/", filled(loop))
    made = Schedule.objects.get()
    assert answer["Location"] == f"{LIST}{made.pk}/"
    assert (made.created_by, made.words) == (member, "Every day at 02:30 (Europe/Berlin)")
    assert made.next_at
    assert timezone.now() < made.next_at <= timezone.now() + timedelta(hours=25)
    assert made.due_at == made.next_at


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompt", "  ", "This field is required."),
        ("name", "", "This field is required."),
        ("zone", "Europe/Atlantis", "is no time zone."),
        ("zone", "../../etc/passwd", "is no time zone."),
        ("starts_on", "9999-12-31", "less than ten years away"),
        ("at", "25:00", "Enter a valid time."),
        ("cron", "0 9 * *", "has five fields"),
        ("branch", "-b", "can&#x27;t be the name of a branch."),
        ("cap_usd", 0, "Allowed is $0.01 or more."),
        ("workflow", 0, "Select a valid choice."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(
    field: str, value: Any, sentence: str, member_client: Client, loop: Workflow
):
    every = "cron" if field == "cron" else "daily"
    asked = filled(loop, checker_instructions="keep me", every=every, **{field: value})
    answer = member_client.post(f"{LIST}new/", asked)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert sentence in page
    assert "keep me" in page
    assert not Schedule.objects.exists()


def test_the_next_three_times_are_shown_in_their_own_zone(member_client: Client, loop: Workflow):
    form = ScheduleForm(loop.project, filled(loop))
    shown = preview(form, datetime(2026, 3, 28, tzinfo=UTC))
    assert shown["times"] == [
        "Sat, 28 Mar 2026, 02:30 CET", "Sun, 29 Mar 2026, 03:00 CEST", "Mon, 30 Mar 2026, 02:30 CEST",
    ]  # fmt: skip
    page = member_client.get(f"{LIST}preview/", filled(loop, every="cron", cron="0 9 * * MON")).content.decode()
    assert "At 09:00 on Monday (Europe/Berlin)" in page
    page = member_client.get(f"{LIST}preview/", filled(loop, every="cron", cron="soon")).content.decode()
    assert "has five fields" in page
    assert member_client.get(f"{LIST}preview/").status_code == 200


def test_a_change_plans_it_anew_and_leaves_its_lease_alone(member_client: Client, loop: Workflow):
    made = make(loop, lease_owner="a worker", lease_until=timezone.now(), next_at=timezone.now())
    member_client.post(f"{LIST}{made.pk}/", filled(loop, every="monthly", zone="Asia/Tokyo"))
    changed = Schedule.objects.get()
    assert changed.words == "On day 1 of each month at 02:30 (Asia/Tokyo)"
    assert changed.next_at
    assert changed.next_at > timezone.now()
    assert changed.lease_owner == "a worker"


def test_its_page_says_how_each_time_went(member_client: Client, loop: Workflow):
    made = make(loop)
    failed = run(loop, "failed", detail="The checker did not approve the work.")
    Firing.objects.create(schedule=made, planned_at=timezone.now(), outcome="started", run=failed)
    Firing.objects.create(
        schedule=made, planned_at=timezone.now(), outcome="skipped", detail="Run 7, Mend it, still went on."
    )
    page = member_client.get(f"{LIST}{made.pk}/").content.decode()
    assert "Left out" in page
    assert "Run 7, Mend it, still went on." in page
    assert "The checker did not approve the work." in page


def test_people_pause_resume_start_and_delete(member_client: Client, loop: Workflow):
    made = make(loop, next_at=timezone.now() + timedelta(days=1))

    def do(verb: str) -> str:
        return member_client.post(f"{LIST}{made.pk}/{verb}/", follow=True).content.decode()

    assert "Mia paused it." in do("pause")
    assert "Paused" in member_client.get(f"{LIST}?paused=1").content.decode()
    made.refresh_from_db()
    assert made.next_at is None
    do("resume")
    made.refresh_from_db()
    assert made.next_at
    assert "Started. Mia asked for it." in do("now")
    assert Run.objects.get().source == "schedule"
    assert "Left out. Mia asked for it. Run" in do("now")
    assert "No schedules yet" in do("delete")
    assert Run.objects.exists()
    assert member_client.post(f"{LIST}{made.pk}/explode/").status_code == 404


def test_queries_do_not_grow(member_client: Client, loop: Workflow):
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert member_client.get(path).status_code == 200
        return len(captured)

    made = make(loop)
    Firing.objects.create(schedule=made, planned_at=timezone.now(), outcome="started", run=run(loop))
    few = queries(LIST), queries(f"{LIST}{made.pk}/")
    for number in range(5):
        other = make(loop, name=f"More {number}")
        for one in (made, other):
            Firing.objects.create(schedule=one, planned_at=timezone.now(), outcome="started", run=run(loop))
    assert (queries(LIST), queries(f"{LIST}{made.pk}/")) == few
    assert max(few) <= 20


def test_a_stranger_finds_nothing(stranger_client: Client, loop: Workflow):
    made = make(loop)
    for path in ("", "new/", "preview/", f"{made.pk}/"):
        assert stranger_client.get(f"{LIST}{path}").status_code == 404
    for path in ("new/", f"{made.pk}/", f"{made.pk}/delete/"):
        assert stranger_client.post(f"{LIST}{path}").status_code == 404
    assert Schedule.objects.exists()
