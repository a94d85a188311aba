"""What machines are told: compiled versions, and a project's choices about them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from codecourier.models import Project
from personas.roles import ROLES

from .lesson import Lesson

# Of a session's message, and of one document.
TOKENS, CHARS = (6_000, 200_000), (1_000, 60_000)


def within(limits: tuple[int, int], unit: str) -> list[Any]:
    """Validators whose message names the allowed range."""
    text = f"Allowed is {limits[0]:,} to {limits[1]:,} {unit}."
    return [MinValueValidator(limits[0], text), MaxValueValidator(limits[1], text)]


class Version(models.Model):
    """The approved lessons as they were compiled; the database refuses to change it while its project is there."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="learning_versions")
    number = models.PositiveIntegerField()
    # Markdown by role; under the empty key what machines without a role of their own get.
    documents = models.JSONField()
    digest = models.CharField(max_length=64, help_text="SHA-256 over roles and documents.")
    # Numbers of the lessons that did not fit, by role.
    left_out = models.JSONField(default=dict)
    note = models.CharField(max_length=200, blank=True)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    lessons = models.ManyToManyField(Lesson, related_name="versions", blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="one_learnings_version_each")]

    def __str__(self) -> str:
        return f"learnings v{self.number}"

    def document(self, role: str) -> str:
        """What a machine of that role is told."""
        return str(self.documents.get(role, self.documents.get("", "")))

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        """(key, title, document), the common one first."""
        return parts_of(self.documents)


def parts_of(documents: dict[str, str]) -> list[tuple[str, str, str]]:
    """(key, title, document) of each role, the common one first."""
    return [(role, title_of(role), documents[role]) for role in sorted(documents)]


def title_of(role: str) -> str:
    """What the document of a role is called."""
    return ROLES[role].title if role in ROLES else role or "Every role"


class LearningSettings(models.Model):
    """A project's choices: one row for each project, made when it is first saved."""

    class When(models.TextChoices):
        """Which work is read by itself."""

        ALWAYS = "always", "Always"
        TROUBLE = "trouble", "When something failed or had to be done over"
        NEVER = "never", "Never: people ask for it"

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="learning_settings")
    when = models.CharField(
        "read finished work", max_length=10, choices=When, default=When.TROUBLE,
        help_text="A session of an agent reads it and proposes lessons, which costs what such a session costs.",
    )  # fmt: skip
    tokens = models.PositiveIntegerField(
        "tokens sent, at most", default=20_000, validators=within(TOKENS, "tokens"),
        help_text="Of a long transcript only the parts that say most are sent: messages of people, verdicts, errors.",
    )  # fmt: skip
    threshold = models.PositiveSmallIntegerField(
        "alike from (%)", default=35, validators=within((10, 100), "percent"),
        help_text="A lesson that says when and what to do in words so much like another's is proposed for merging.",
    )  # fmt: skip
    most_chars = models.PositiveIntegerField(
        "characters of a document, at most", default=12_000, validators=within(CHARS, "characters"),
        help_text="Every machine reads it before it begins. What does not fit is left out, the least severe first.",
    )  # fmt: skip
    active = models.ForeignKey(
        Version, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    activated_at = models.DateTimeField(null=True, blank=True, editable=False)
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )

    class Meta:
        verbose_name_plural = "learning settings"

    def __str__(self) -> str:
        return f"learning of {self.project}"

    @classmethod
    def of(cls, project: Project) -> LearningSettings:
        """The project's own, else the defaults (not stored)."""
        return cls.objects.select_related("active").filter(project=project).first() or cls(project=project)
