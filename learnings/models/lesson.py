"""What agents should do differently next time, and how that is known."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Concat
from django.utils import timezone

from codecourier.lifecycle import Lifecycle
from codecourier.likeness import Likeness, Trigrams
from codecourier.models import Project
from personas.roles import ROLES
from sandboxes.models import Sandbox

from .extraction import Extraction

# Of a description, a trigger and a behaviour.
MOST_CHARS = {"description": 600, "trigger": 300, "behaviour": 1_000}
SPACE = models.Value(" ", output_field=models.TextField())


class LessonQuerySet(models.QuerySet["Lesson"]):
    """Questions about lessons."""

    def pending(self) -> Self:
        """Those that wait for a person."""
        return self.filter(status=Lesson.Status.PENDING)

    def approved(self) -> Self:
        """Those that may reach machines."""
        return self.filter(status=Lesson.Status.APPROVED)

    def holding(self, text: str) -> Self:
        """Those with every word of a text somewhere in them, or with that number."""
        rows, number = self, text.strip().lstrip("#")
        if number.isdecimal() and len(number) < 18:
            return self.filter(pk=int(number))
        for word in text.split()[:12]:
            rows = rows.filter(
                Q(description__icontains=word) | Q(trigger__icontains=word) | Q(behaviour__icontains=word)
            )
        return rows

    def alike(self, text: str, least: float) -> Self:
        """Those whose words are at least so much like these, the nearest first; `likeness` says how much."""
        words = Trigrams(models.Value(text, output_field=models.TextField()))
        return self.annotate(likeness=Likeness("trigrams", words)).filter(likeness__gte=least).order_by("-likeness")


class Lesson(Lifecycle):
    """One lesson; only an approved one is ever told to a machine, as part of a compiled version."""

    class Status(models.TextChoices):
        """What a person decided."""

        PENDING = "pending", "Pending"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        MERGED = "merged", "Merged"

    EDGES: ClassVar = {
        Status.PENDING: frozenset({Status.APPROVED, Status.REJECTED, Status.MERGED}),
        Status.APPROVED: frozenset({Status.PENDING, Status.REJECTED, Status.MERGED}),
        Status.REJECTED: frozenset({Status.PENDING, Status.APPROVED}),
        Status.MERGED: frozenset(),
    }

    class Severity(models.IntegerChoices):
        """What it costs not to know it."""

        LOW = 1, "Low"
        MEDIUM = 2, "Medium"
        HIGH = 3, "High"
        CRITICAL = 4, "Critical"

    class Category(models.TextChoices):
        """What it is about; compiled versions are ordered by it."""

        CORRECTNESS = "correctness", "Correctness"
        TESTING = "testing", "Tests"
        SECURITY = "security", "Security"
        TOOLING = "tooling", "Tools and commands"
        PROCESS = "process", "Way of working"
        STYLE = "style", "Style"
        PERFORMANCE = "performance", "Performance"
        KNOWLEDGE = "knowledge", "Knowledge of the project"
        OTHER = "other", "Other"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="lessons")
    description = models.TextField(
        validators=[MaxLengthValidator(MOST_CHARS["description"])], help_text="What happens without it, and why."
    )
    trigger = models.TextField(
        "when",
        validators=[MaxLengthValidator(MOST_CHARS["trigger"])],
        help_text="When it applies, such as: changing a form.",
    )
    behaviour = models.TextField(
        "correct behaviour", validators=[MaxLengthValidator(MOST_CHARS["behaviour"])], help_text="What to do then."
    )
    severity = models.PositiveSmallIntegerField(choices=Severity, default=Severity.MEDIUM)
    category = models.CharField(max_length=20, choices=Category, default=Category.OTHER)
    # Keys of `personas.roles`; empty for all.
    roles = models.JSONField(default=list, blank=True)
    # None for one that a person wrote.
    extraction = models.ForeignKey(Extraction, on_delete=models.SET_NULL, null=True, blank=True, related_name="lessons")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    edited_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    # What it repeats as far as its words say, and how much they are alike (0 to 1); proposed, nothing more.
    similar_to = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    similarity = models.FloatField(null=True, blank=True)
    merged_into = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="merged")
    trigrams = models.GeneratedField(
        expression=Trigrams(Concat("trigger", SPACE, "behaviour")),
        output_field=ArrayField(models.TextField()), db_persist=True,
    )  # fmt: skip

    objects = LessonQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "status", "-severity", "-id"], name="lesson_by_status")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "approved", "rejected", "merged"]), name="lesson_known_status"
            ),
            models.CheckConstraint(
                condition=Q(status="merged") | Q(merged_into=None), name="lesson_merged_into_another"
            ),
        ]

    def __str__(self) -> str:
        return self.description if len(self.description) <= 90 else f"{self.description[:89]}…"

    def topics(self) -> list[str]:
        """The project's pages."""
        return [f"project:{self.project_id}"]

    def clean(self) -> None:
        """Words on one line each, and roles that there are."""
        for name in MOST_CHARS:
            setattr(self, name, " ".join(str(getattr(self, name)).split()))
        unknown = [role for role in self.roles if role not in ROLES]
        if unknown:
            raise ValidationError({"roles": f"There is no role {str(unknown[0])[:40]!r}."})
        self.roles = sorted(set(self.roles))

    @property
    def words(self) -> str:
        """What it is compared by: the same advice may have come from different accidents."""
        return f"{self.trigger} {self.behaviour}"

    @property
    def role_titles(self) -> list[str]:
        """As people read them; empty for all."""
        return [ROLES[role].title for role in self.roles if role in ROLES]

    @property
    def evidence(self) -> models.QuerySet[Evidence]:
        """Its own, and that of the lessons which were merged into it."""
        found = Q(lesson=self) | Q(lesson__merged_into=self)
        return Evidence.objects.filter(found).select_related("sandbox__project").order_by("id")

    @property
    def readings(self) -> models.QuerySet[Extraction]:
        """What it came from."""
        found = Q(lessons=self) | Q(lessons__merged_into=self)
        return Extraction.objects.filter(found).distinct().prefetch_related("sandboxes").order_by("-id")


class Evidence(models.Model):
    """A moment in a transcript. Its words stay when the sandbox is gone."""

    lesson = models.ForeignKey(Lesson, on_delete=models.CASCADE, related_name="+")
    sandbox = models.ForeignKey(Sandbox, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    turn = models.BigIntegerField()
    job = models.BigIntegerField(null=True, blank=True)
    # Of the event; 0 for the message that the turn began with.
    seq = models.BigIntegerField(default=0)
    kind = models.CharField(max_length=20)
    excerpt = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "evidence"

    def __str__(self) -> str:
        return f"{self.turn}.{self.seq}"

    @property
    def place(self) -> str:
        """The query and the fragment that show it in its sandbox's conversation."""
        here = f"event-{self.job}-{self.seq}" if self.seq else f"talk-{self.turn}"
        return f"?tab=conversation&before={self.turn}.{self.seq + 1}#{here}"

    @property
    def title(self) -> str:
        """What kind of moment it is."""
        return KINDS.get(self.kind, "Event")


KINDS = {
    "message": "Message", "text": "Said by the agent", "thinking": "Thought by the agent", "tool_call": "Tool call",
    "tool_result": "Result of a tool", "error": "Error", "end": "End of the turn", "answer": "Answer",
}  # fmt: skip
