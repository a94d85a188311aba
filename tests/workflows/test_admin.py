"""Workflows, runs and schedules in the admin: to be read, and moved by the portal's verbs only."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes.models import Template
from tests.conftest import person, signed_in
from tests.workflows.pages import run, with_machine, workflow
from workflows.models import Run, Schedule

ADMIN = "/admin/workflows/"


@pytest.fixture
def admin(db: None) -> Client:
    User.objects.filter(pk=person("root@example.com").pk).update(is_staff=True, is_superuser=True)
    return signed_in(User.objects.get(email="root@example.com"))


def act(admin: Client, model: str, action: str, *rows: Any) -> str:
    """The page after an action on these."""
    asked = {"action": action, "_selected_action": [row.pk for row in rows]}
    return admin.post(f"{ADMIN}{model}/", asked, follow=True).content.decode()


def test_every_page_opens_and_no_status_is_a_field(admin: Client, project: Project, template: Template):
    loop = workflow(project)
    made = run(loop, "running")
    step = with_machine(made, template)
    planned = Schedule.objects.create(project=project, workflow=loop, name="Nightly", prompt="x")
    for model, row in (("workflow", loop), ("run", made), ("steprun", step), ("schedule", planned)):
        assert admin.get(f"{ADMIN}{model}/").status_code == 200
        page = admin.get(f"{ADMIN}{model}/{row.pk}/change/").content.decode()
        assert str(row) in page
        assert 'name="status"' not in page
    assert admin.get(f"{ADMIN}run/add/").status_code == 404


def test_runs_are_cancelled_by_the_same_verb(admin: Client, project: Project):
    loop = workflow(project)
    going, over = run(loop, "running"), run(loop)
    assert "1 asked to stop." in act(admin, "run", "cancel", going, over)
    asked = Run.objects.get(cancel_asked=True)
    assert (asked, str(asked.cancelled_by)) == (going, "Root")


def test_schedules_are_paused_and_resumed(admin: Client, project: Project):
    planned = Schedule.objects.create(
        project=project, workflow=workflow(project), name="Nightly", prompt="x", next_at=timezone.now()
    )
    act(admin, "schedule", "pause", planned)
    planned.refresh_from_db()
    assert planned.paused_why == "Root paused it."
    act(admin, "schedule", "resume", planned)
    planned.refresh_from_db()
    assert planned.next_at


def test_workflows_are_archived(admin: Client, project: Project):
    made = workflow(project)
    assert "1 archived." in act(admin, "workflow", "archive", made)
    made.refresh_from_db()
    assert made.archived_at
