"""Rows for tests of pages, without a machine."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from codecourier.models import Project
from sandboxes.models import Sandbox, Template


def make(project: Project, template: Template, status: str = "running", **fields: Any) -> Sandbox:
    """A sandbox as it would stand in this status."""
    now = timezone.now()
    fields.setdefault("running_since", now if status == "running" else None)
    fields.setdefault("ended_at", now if status in Sandbox.FINAL else None)
    made = Sandbox.objects.create(project=project, template=template, tool=template.tool, status=status, **fields)
    made.record("", status, now)
    return made


def make_many(project: Project, template: Template, count: int, **fields: Any) -> None:
    """Many ended ones."""
    now = timezone.now()
    Sandbox.objects.bulk_create(
        Sandbox(
            project=project,
            template=template,
            tool=template.tool,
            status="killed",
            title=f"Number {number}",
            created_at=now - timedelta(minutes=number),
            ended_at=now,
            **fields,
        )
        for number in range(count)
    )
