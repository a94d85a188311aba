"""The reading of finished work by a session that proposes lessons."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from codecourier import registries
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project
from sandboxes.models import Sandbox


class Extraction(Lifecycle, Leased):
    """One sandbox that is over, or all of one run; it may be read again."""

    class Status(models.TextChoices):
        """Where the reading is."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    EDGES: ClassVar = {
        Status.WAITING: frozenset({Status.RUNNING, Status.FAILED}),
        Status.RUNNING: frozenset({Status.DONE, Status.FAILED}),
        # Somebody asks for it once more.
        Status.DONE: frozenset({Status.WAITING}),
        Status.FAILED: frozenset({Status.WAITING}),
    }
    OVER: ClassVar = (Status.DONE, Status.FAILED)
    DEADLINES: ClassVar = {Status.WAITING: timedelta(minutes=30), Status.RUNNING: timedelta(hours=2)}
    # A hint that a dead worker took with it costs this much; the end of a session is told by itself.
    SOON: ClassVar = timedelta(seconds=3)
    SELDOM: ClassVar = timedelta(seconds=30)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="extractions")
    # What is read, so that it is read once: `run-7` or `sandbox-7`.
    key = models.CharField(max_length=60)
    run_id = models.BigIntegerField(null=True, blank=True)
    sandboxes = models.ManyToManyField(Sandbox, related_name="extractions", blank=True)
    labels = models.JSONField(default=dict, blank=True)
    failed_work = models.BooleanField("something failed in it", default=False)
    looped_work = models.BooleanField("something was done over", default=False)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    # Counts how often it was asked for.
    round = models.PositiveSmallIntegerField(default=1)
    session = models.ForeignKey(Sandbox, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # Of the last round: what the session was sent, at most (`learnings.tokens`), and how much of it that was.
    tokens = models.PositiveIntegerField(default=0)
    parts = models.PositiveIntegerField(default=0)
    left_out = models.PositiveIntegerField("parts left out", default=0)
    found = models.PositiveSmallIntegerField("lessons found", default=0)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="read_once")]

    def __str__(self) -> str:
        return f"Run {self.run_id}" if self.run_id else self.key.replace("-", " ").capitalize()

    def topics(self) -> list[str]:
        """The project's pages, and those of what is read."""
        return [f"project:{self.project_id}", *(f"sandbox:{pk}" for pk in self.sandboxes.values_list("pk", flat=True))]

    @property
    def overdue(self) -> bool:
        """Whether it has been tried for so long that it won't do any more."""
        return self.deadline_at is not None and self.deadline_at < timezone.now()

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + cls.SOON)
        registries.sweepers[cls].enqueue(pk)

    def next_look(self) -> datetime | None:
        """While it is not over."""
        if self.status in self.OVER:
            return None
        return timezone.now() + (self.SOON if self.status == self.Status.WAITING else self.SELDOM)

    @classmethod
    def of(cls, sandboxes: list[Sandbox]) -> models.QuerySet[Self]:
        """Those that read one of these."""
        return cls.objects.filter(sandboxes__in=sandboxes).distinct()
