"""The audit log: who changed what, never a value that could be a secret."""

from typing import Any

from django.db import models

from .models import AuditEntry, Project, User


def note(actor: Any, action: str, subject: models.Model, **data: Any) -> None:
    """One entry, in the caller's transaction."""
    project = subject if isinstance(subject, Project) else getattr(subject, "project", None)
    AuditEntry.objects.create(
        actor=actor if isinstance(actor, User) else None,
        action=action,
        subject=f"{subject._meta.verbose_name} {subject.pk}: {subject}"[:200],
        project=project if project and project.pk and Project.objects.filter(pk=project.pk).exists() else None,
        data=data,
    )
