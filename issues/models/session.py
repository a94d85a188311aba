"""A sandbox that reads a repository and answers: with cards, or with answers to questions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier import registries
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project
from sandboxes.models import Sandbox, Turn

# A hint that a dead worker took with it costs this much; and how often a session is looked at without one.
SOON, LOOK = timedelta(seconds=3), timedelta(seconds=30)


class SessionQuerySet(models.QuerySet["IssueSession"]):
    """Questions about sessions."""

    def running(self) -> Self:
        """Those that are not over."""
        return self.filter(status=IssueSession.Status.RUNNING)


class IssueSession(Lifecycle, Leased):
    """One session, from its launch to what it brought; its machine is a sandbox like any other."""

    class Kind(models.TextChoices):
        """What it is asked for."""

        SCAN = "scan", "Finding issues"
        ANSWERS = "answers", "Answering questions"

    class Status(models.TextChoices):
        """Done once its answer is in the rows."""

        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    EDGES: ClassVar = {
        Status.RUNNING: frozenset({Status.DONE, Status.FAILED}),
        Status.DONE: frozenset(),
        Status.FAILED: frozenset(),
    }

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="issue_sessions")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.SCAN)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    # The form's own mark: sent twice, it makes one session.
    request_key = models.CharField(max_length=64, null=True, unique=True, editable=False)
    # What it was asked, where it looks, and how many cards it may bring.
    prompt = models.TextField(blank=True)
    scope = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    most = models.PositiveSmallIntegerField(default=20)
    threshold = models.PositiveSmallIntegerField(default=45)
    sandbox = models.OneToOneField(
        Sandbox, on_delete=models.SET_NULL, null=True, blank=True, related_name="issue_session"
    )
    # What it has to answer, of the kind `answers`.
    asked = models.ManyToManyField("issues.Question", blank=True, related_name="sessions")
    # What it brought.
    summary = models.TextField(blank=True)
    added = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    left_out = models.PositiveIntegerField(default=0)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "done", "failed"]), name="issue_session_known_status"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, session {self.pk}"

    def topics(self) -> list[str]:
        """Its own page, and its project's lists."""
        return [f"issue-session:{self.pk}", f"project:{self.project_id}"]

    @property
    def turn(self) -> Turn | None:
        """The message that has to be answered."""
        return self.sandbox.turns.order_by("pk").first() if self.sandbox else None

    @property
    def took(self) -> timedelta:
        """How long it took, or has taken so far."""
        return (self.ended_at or timezone.now()) - self.created_at

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + SOON)
        registries.sweepers[cls].enqueue(pk)

    def next_look(self) -> datetime | None:
        """Until it is over."""
        return None if self.final else timezone.now() + LOOK
