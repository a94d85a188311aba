"""What personas bring into a machine: contexts, skills, commands, scripts. Versions never change."""

from __future__ import annotations

import base64
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from codecourier.models import Project

Files = dict[str, bytes]


class AssetQuerySet(models.QuerySet["Asset"]):
    """Questions about assets."""

    def kept(self) -> Self:
        """Those that are not archived."""
        return self.filter(archived_at=None)


class Asset(models.Model):
    """One named thing with a draft, which reaches no machine, and versions, of which one is active."""

    class Kind(models.TextChoices):
        """All are folders of files; only a skill has more than one."""

        CONTEXT = "context", "Context"
        SKILL = "skill", "Skill"
        COMMAND = "command", "Command"
        SCRIPT = "script", "Script"

    # The one file of the kinds that have one, and the one that a skill must have.
    MAIN: ClassVar = {Kind.CONTEXT: "context.md", Kind.SKILL: "SKILL.md", Kind.COMMAND: "command.md",
                      Kind.SCRIPT: "script"}  # fmt: skip

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="assets")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(
        max_length=60,
        validators=[
            RegexValidator(
                r"^[a-z0-9]+(-[a-z0-9]+)*\Z", "Lower-case letters and digits, in words joined by single hyphens."
            )
        ],
        help_text="Part of a file's name in the machine, such as review-style.",
    )
    description = models.CharField(max_length=200, blank=True)
    # Path to base64; see `files_of`.
    draft = models.JSONField(default=dict, blank=True)
    # Counts every save, so that a second editor's save is not lost and loses nothing.
    draft_number = models.PositiveIntegerField(default=0)
    draft_at = models.DateTimeField(null=True, blank=True)
    draft_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    active = models.ForeignKey(
        "personas.AssetVersion", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "kind", "name"], name="one_asset_each")]

    def __str__(self) -> str:
        return self.name

    @property
    def main(self) -> str:
        """Its one file, or the first of a skill's."""
        return self.MAIN[self.Kind(self.kind)]

    @property
    def files(self) -> Files:
        """The draft's."""
        return files_of(self.draft)

    @property
    def unpublished(self) -> bool:
        """Whether the draft differs from what machines get."""
        return bool(self.draft != (self.active.files if self.active else {}))

    @property
    def text(self) -> str:
        """The main file of the draft."""
        return self.files.get(self.main, b"").decode(errors="replace")


class AssetVersion(models.Model):
    """What was published; the database refuses to change or remove it while its asset is there."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    files = models.JSONField()
    digest = models.CharField(max_length=64, help_text="SHA-256 over paths and contents.")
    size = models.PositiveIntegerField(help_text="Bytes.")
    note = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(default=timezone.now)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["asset", "number"], name="one_version_each")]

    def __str__(self) -> str:
        return f"{self.asset.name} v{self.number}"

    @property
    def contents(self) -> Files:
        """Path to bytes."""
        return files_of(self.files)


def files_of(stored: dict[str, Any]) -> Files:
    """Path to bytes, of a JSON column."""
    return {path: base64.b64decode(data) for path, data in stored.items()}


def stored_of(files: Files) -> dict[str, str]:
    """The reverse, in the order of the paths."""
    return {path: base64.b64encode(files[path]).decode() for path in sorted(files)}
