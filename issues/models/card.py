"""Issue cards: something to be done, found by a session or written by a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchQuery, SearchVector, SearchVectorField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from codecourier.lifecycle import Lifecycle
from codecourier.models import Project
from workflows.models import Run

from .session import IssueSession

# Words are found in their English forms; numbers, names and other languages as they are written.
LANGUAGE = "english"
MOST_FILES, MOST_LABELS = 50, 10
# So far apart are the places of a priority's cards from those of the next.
BAND = Decimal(10) ** 12


class Priority(models.IntegerChoices):
    """The most urgent first."""

    CRITICAL = 0, "Critical"
    HIGH = 1, "High"
    MEDIUM = 2, "Medium"
    LOW = 3, "Low"


PRIORITIES = {label.lower(): Priority(value) for value, label in Priority.choices}


class IssueQuerySet(models.QuerySet["Issue"]):
    """Questions about cards."""

    def cards(self) -> Self:
        """Those that stand for themselves: a possible duplicate is shown with what it repeats."""
        return self.filter(duplicate_of=None)

    def open(self) -> Self:
        """Those that are still to be done."""
        return self.filter(status__in=Issue.OPEN)

    def matching(self, text: str) -> Self:
        """By words of title, text, files and labels, or by number."""
        words = text.strip()
        number = words.lstrip("#")
        if number.isdecimal() and len(number) < 18:
            return self.filter(Q(pk=int(number)) | Q(search=SearchQuery(words, config=LANGUAGE)))
        return self.filter(search=SearchQuery(words, config=LANGUAGE, search_type="websearch"))


class Issue(Lifecycle):
    """One card."""

    class Status(models.TextChoices):
        """Running while its run is; closed by a person who wants it done no more."""

        NEW = "new", "New"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CLOSED = "closed", "Closed"

    EDGES: ClassVar = {
        Status.NEW: frozenset({Status.RUNNING, Status.COMPLETED, Status.CLOSED}),
        Status.RUNNING: frozenset({Status.COMPLETED, Status.FAILED, Status.NEW}),
        Status.COMPLETED: frozenset({Status.RUNNING, Status.NEW, Status.CLOSED}),
        Status.FAILED: frozenset({Status.RUNNING, Status.NEW, Status.COMPLETED, Status.CLOSED}),
        Status.CLOSED: frozenset({Status.NEW}),
    }
    OPEN: ClassVar = (Status.NEW, Status.RUNNING, Status.FAILED)
    COLUMNS: ClassVar = (Status.NEW, Status.RUNNING, Status.COMPLETED, Status.FAILED)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="issues")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, help_text="Markdown: what is wrong, where, and how it shows.")
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)
    suggested_prompt = models.TextField(
        blank=True, help_text="What a run is asked; empty: the title and the description."
    )
    files = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    labels = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    # Empty for one that a person wrote.
    session = models.ForeignKey(IssueSession, on_delete=models.SET_NULL, null=True, blank=True, related_name="issues")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    # What it may repeat, and how much of it (0 to 1).
    duplicate_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="duplicates"
    )
    similarity = models.FloatField(null=True, blank=True)
    # The last that was started for it, which its status follows.
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # Its place among all cards, the smallest first.
    rank = models.DecimalField(max_digits=40, decimal_places=20, default=Decimal(0), editable=False)
    words = models.TextField(blank=True, editable=False)
    search = models.GeneratedField(
        expression=SearchVector("title", weight="A", config=LANGUAGE)
        + SearchVector("words", weight="B", config="simple")
        + SearchVector("description", weight="C", config=LANGUAGE),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    objects = IssueQuerySet.as_manager()

    class Meta:
        ordering = ["rank", "id"]
        indexes = [
            models.Index(
                fields=["project", "status", "rank", "id"], condition=Q(duplicate_of=None), name="issue_board"
            ),
            models.Index(
                fields=["project", "status", "-status_at", "-id"], condition=Q(duplicate_of=None), name="issue_recent"
            ),
            models.Index(
                fields=["project", "priority", "rank", "id"], condition=Q(duplicate_of=None), name="issue_by_priority"
            ),
            GinIndex(fields=["search"], name="issue_search"),
            GinIndex(fields=["files"], name="issue_files"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(title=""), name="issue_has_a_title"),
            models.CheckConstraint(
                condition=Q(status__in=["new", "running", "completed", "failed", "closed"]), name="issue_known_status"
            ),
            models.CheckConstraint(
                condition=Q(duplicate_of=None) | ~Q(duplicate_of=F("pk")), name="issue_is_no_duplicate_of_itself"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def topics(self) -> list[str]:
        """Its own page, and its project's board."""
        return [f"issue:{self.pk}", f"project:{self.project_id}"]

    def clean(self) -> None:
        """Refuse a title without words, and lists that nobody reads."""
        self.title = " ".join(self.title.split())
        if not self.title:
            raise ValidationError({"title": "A card needs a title."})
        if len(self.files) > MOST_FILES or len(self.labels) > MOST_LABELS:
            raise ValidationError(f"A card has at most {MOST_FILES} files and {MOST_LABELS} labels.")

    @property
    def prompt(self) -> str:
        """What a run of it is asked."""
        return self.suggested_prompt.strip() or f"{self.title}\n\n{self.description}".strip()

    @property
    def origin(self) -> str:
        """Who made it, in words."""
        return f"Session {self.session_id}" if self.session_id else str(self.created_by or "By hand")


class IssueRun(models.Model):
    """A run that was started for a card, each of them."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="issue_runs")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="issue_runs")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["issue", "run"], name="run_once_for_a_card")]

    def __str__(self) -> str:
        return f"run {self.run_id} of card {self.issue_id}"


class Note(models.Model):
    """A line of a card's history that is no move: who did what, or said what."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    at = models.DateTimeField(default=timezone.now)
    what = models.CharField(max_length=200)
    body = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.what

    @classmethod
    def add(cls, issue: Issue, author: Any, what: str, body: str = "") -> None:
        """One more line."""
        cls.objects.create(issue=issue, author=author, what=what[:200], body=body)
