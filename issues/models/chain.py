"""Runs one after another, each from the result of the one before: of chosen cards, or towards one goal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier import registries
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project
from workflows.models import Run, Workflow

from .card import Issue

# A hint that a dead worker took with it costs this much; and how often a chain is looked at without one.
SOON, LOOK = timedelta(seconds=3), timedelta(seconds=20)
MOST_LINKS = 100


class Chain(Lifecycle, Leased):
    """The whole of it."""

    class Kind(models.TextChoices):
        """Both are the same but for what their links ask."""

        WORK = "work", "Work chain"
        SPRINT = "sprint", "Sprint chain"

    class Status(models.TextChoices):
        """Stopped by a link that failed; it goes on from any link that a person chooses."""

        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"

    EDGES: ClassVar = {
        Status.RUNNING: frozenset({Status.STOPPED, Status.DONE, Status.CANCELLED}),
        Status.STOPPED: frozenset({Status.RUNNING, Status.CANCELLED}),
        Status.DONE: frozenset({Status.RUNNING}),
        Status.CANCELLED: frozenset({Status.RUNNING}),
    }

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="chains")
    kind = models.CharField(max_length=10, choices=Kind)
    title = models.CharField(max_length=200)
    workflow = models.ForeignKey(Workflow, on_delete=models.SET_NULL, null=True, related_name="chains")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    request_key = models.CharField(max_length=64, null=True, unique=True, editable=False)
    one_request = models.BooleanField("one pull request for all", default=True)
    # That all links work on where they share a pull request.
    work_branch = models.CharField(max_length=200, blank=True)
    cancel_asked = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "stopped", "done", "cancelled"]), name="chain_known_status"
            ),
            models.CheckConstraint(condition=~Q(title=""), name="chain_has_a_title"),
        ]

    def __str__(self) -> str:
        return self.title

    def topics(self) -> list[str]:
        """Its own page, and its project's lists."""
        return [f"chain:{self.pk}", f"project:{self.project_id}"]

    def clean(self) -> None:
        """Refuse one that asks for nothing."""
        self.title = " ".join(self.title.split())
        if not self.title:
            raise ValidationError({"title": "Write what the chain is for."})

    @property
    def stopping(self) -> bool:
        """Cancelled, while its run still ends."""
        return self.cancel_asked and self.status == self.Status.RUNNING

    # For the word of that in lists.
    wanted = "kill"

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + SOON)
        registries.sweepers[cls].enqueue(pk)

    def next_look(self) -> datetime | None:
        """As long as it runs."""
        return timezone.now() + LOOK if self.status == self.Status.RUNNING else None


class Link(Lifecycle):
    """One run of a chain; run again, it is another attempt."""

    class Status(models.TextChoices):
        """At most one of a chain runs."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    EDGES: ClassVar = {
        Status.WAITING: frozenset({Status.RUNNING, Status.FAILED, Status.SKIPPED}),
        Status.RUNNING: frozenset({Status.COMPLETED, Status.FAILED}),
        Status.COMPLETED: frozenset({Status.WAITING}),
        Status.FAILED: frozenset({Status.WAITING, Status.SKIPPED}),
        Status.SKIPPED: frozenset({Status.WAITING}),
    }

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="links")
    position = models.PositiveSmallIntegerField()
    # Of a work chain; what it asks is read from the card when its turn comes.
    issue = models.ForeignKey(Issue, on_delete=models.SET_NULL, null=True, blank=True, related_name="links")
    prompt = models.TextField(blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="links")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["chain", "position"], name="one_link_of_a_place"),
            models.UniqueConstraint(fields=["chain"], condition=Q(status="running"), name="one_running_link"),
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "running", "completed", "failed", "skipped"]),
                name="link_known_status",
            ),
        ]

    def __str__(self) -> str:
        return f"link {self.position + 1} of chain {self.chain_id}"

    def topics(self) -> list[str]:
        """Shown on its chain's page."""
        return [f"chain:{self.chain_id}"]

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        if self.issue:
            return self.issue.title
        return next((line.strip("# ") for line in self.prompt.splitlines() if line.strip("# ")), "A card that is gone")
