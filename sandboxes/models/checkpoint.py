"""The work of a machine, saved outside it."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.lifecycle import Lifecycle

from .sandbox import Sandbox
from .turn import Turn


class CheckpointQuerySet(models.QuerySet["Checkpoint"]):
    """Questions about checkpoints."""

    def stored(self) -> Self:
        """Those whose commit the portal has, oldest first."""
        return self.filter(status=Checkpoint.Status.STORED).order_by("id")

    def open(self) -> Self:
        """Those that are still to be taken."""
        return self.filter(status=Checkpoint.Status.TAKING).order_by("id")


class Checkpoint(Lifecycle):
    """One commit of all that was in the working folder, kept in the project's repository on the portal."""

    class Cause(models.TextChoices):
        """What it was taken for."""

        TURN = "turn", "After a turn"
        PAUSE = "pause", "Before a pause"
        END = "end", "Before the end"
        PERSON = "person", "Asked for"

    class Status(models.TextChoices):
        """`same`: nothing had changed since the last one."""

        TAKING = "taking", "Saving"
        STORED = "stored", "Saved"
        SAME = "same", "Nothing new"
        FAILED = "failed", "Not saved"

    EDGES: ClassVar = {
        Status.TAKING: frozenset({Status.STORED, Status.SAME, Status.FAILED}),
        Status.STORED: frozenset(),
        Status.SAME: frozenset(),
        Status.FAILED: frozenset(),
    }
    DEADLINES: ClassVar = {Status.TAKING: timedelta(minutes=5)}

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="checkpoints")
    turn = models.ForeignKey(Turn, on_delete=models.SET_NULL, null=True, blank=True, related_name="checkpoints")
    cause = models.CharField(max_length=10, choices=Cause)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    # Against the sandbox's start.
    files = models.PositiveIntegerField(default=0)
    additions = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    # What was moved out of the machine for it.
    bytes = models.BigIntegerField(default=0)
    # [[path, why], ...] of what is not in it.
    left_out = models.JSONField(default=list, blank=True)

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["turn"], condition=Q(cause="turn"), name="one_checkpoint_of_a_turn"),
            models.CheckConstraint(condition=~Q(status="stored") | ~Q(commit=""), name="stored_checkpoint_has_commit"),
        ]

    @property
    def label(self) -> str:
        """What it is called where one is chosen."""
        cause = f"After “{' '.join(self.turn.prompt.split())[:40]}”" if self.turn else str(self.get_cause_display())
        return f"{self.created_at:%d %b %H:%M} · {cause}"

    def __str__(self) -> str:
        return f"checkpoint {self.pk} of sandbox {self.sandbox_id}"

    def topics(self) -> list[str]:
        """Shown on its sandbox's page."""
        return [f"sandbox:{self.sandbox_id}"]
