"""Messages to the agent."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.lifecycle import Lifecycle

from .job import Job
from .sandbox import Sandbox


class TurnQuerySet(models.QuerySet["Turn"]):
    """Questions about turns."""

    def unfinished(self) -> Self:
        """Those that wait or run."""
        return self.filter(status__in=Turn.OPEN)


class Turn(Lifecycle):
    """One message to the agent, and what became of it."""

    class Status(models.TextChoices):
        """Editable and withdrawable until it runs."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        INTERRUPTED = "interrupted", "Interrupted"

    EDGES: ClassVar = {
        Status.QUEUED: frozenset({Status.RUNNING, Status.INTERRUPTED, Status.FAILED}),
        Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.INTERRUPTED}),
        Status.SUCCEEDED: frozenset(),
        Status.FAILED: frozenset(),
        Status.INTERRUPTED: frozenset(),
    }
    OPEN: ClassVar = (Status.QUEUED, Status.RUNNING)

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="turns")
    job = models.OneToOneField(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="turn")
    prompt = models.TextField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    # Other than the sandbox's own, from this turn on.
    model = models.CharField(max_length=120, blank=True)
    effort = models.CharField(max_length=10, blank=True)
    # What it has to answer with, what it answered, and the turn whose answer it mends (`sandboxes.contracts`).
    contract = models.CharField(max_length=60, blank=True)
    answer = models.JSONField(null=True, blank=True)
    repairs = models.OneToOneField("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="repaired_by")
    # The machine is set to this state of another's work before it starts.
    onto = models.ForeignKey("sandboxes.Checkpoint", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # Order in the queue: by position, then by age.
    position = models.IntegerField(default=0)
    # Tokens by model: {model: {"input", "output", "cache_read", "cache_write", "reasoning"}}; null when unknown.
    usage = models.JSONField(null=True, blank=True)
    # The sandbox's when it began: by the time it is metered, they may be those of the next one.
    labels = models.JSONField(default=dict, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = TurnQuerySet.as_manager()

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["sandbox"], condition=Q(status="running"), name="one_running_turn")
        ]
        # Those of whose use nobody knows are counted by when they began.
        indexes = [models.Index(fields=["started_at"], condition=Q(usage__isnull=True), name="turn_untold")]

    def __str__(self) -> str:
        return f"turn {self.pk} of sandbox {self.sandbox_id}"

    def topics(self) -> list[str]:
        """Shown on its sandbox's page and counted in its project."""
        return [f"sandbox:{self.sandbox_id}", f"project:{self.sandbox.project_id}"]

    def clean(self) -> None:
        """Refuse a message that no agent could be given."""
        if not self.prompt.strip():
            raise ValidationError({"prompt": "Write what the agent should do."})

    @property
    def took(self) -> timedelta | None:
        """How long it took, or has taken so far."""
        return (self.ended_at or timezone.now()) - self.started_at if self.started_at else None


class Attachment(models.Model):
    """A file that goes with a message, kept below the portal's uploads until it is written into the machine."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="attachments")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="attachments", null=True, blank=True)
    name = models.CharField(max_length=200)
    # Below the uploads folder.
    path = models.CharField(max_length=300)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
