"""The boot, phase by phase."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from codecourier.lifecycle import Lifecycle

from .sandbox import Sandbox


class PhaseQuerySet(models.QuerySet["Phase"]):
    """Questions about phases."""

    def running(self) -> Self:
        """The one under way, if any."""
        return self.filter(status=Phase.Status.RUNNING)


class Phase(Lifecycle):
    """One stretch of a boot, so that a sandbox that never spoke explains itself."""

    class Name(models.TextChoices):
        """In their order."""

        TEMPLATE = "template", "Prepare template"
        CREATE = "create", "Create machine"
        CLONE = "clone", "Clone repository"
        INSTALL = "install", "Install tools"
        SETUP = "setup-script", "Run setup script"
        INJECT = "inject", "Inject files"
        AGENT = "agent-cli", "Check agent"

    class Status(models.TextChoices):
        """A phase with nothing to do is skipped."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    EDGES: ClassVar = {
        Status.WAITING: frozenset({Status.RUNNING, Status.SKIPPED}),
        Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.SKIPPED}),
        Status.SUCCEEDED: frozenset(),
        Status.FAILED: frozenset(),
        Status.SKIPPED: frozenset(),
    }
    LIMITS: ClassVar = {
        Name.TEMPLATE: timedelta(minutes=15),
        Name.CREATE: timedelta(minutes=2),
        Name.CLONE: timedelta(minutes=10),
        Name.INSTALL: timedelta(minutes=10),
        Name.SETUP: timedelta(minutes=15),
        Name.INJECT: timedelta(minutes=1),
        Name.AGENT: timedelta(minutes=2),
    }

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="phases")
    name = models.CharField(max_length=20, choices=Name)
    position = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # What a phase without a machine said.
    log = models.TextField(blank=True)

    objects = PhaseQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["sandbox", "name"], name="phase_once")]

    def __str__(self) -> str:
        return f"{self.name} of sandbox {self.sandbox_id}"

    def topics(self) -> list[str]:
        """Shown on its sandbox's page."""
        return [f"sandbox:{self.sandbox_id}"]

    @property
    def took(self) -> timedelta | None:
        """How long it took, or has taken so far."""
        return (self.ended_at or timezone.now()) - self.started_at if self.started_at else None

    def start(self) -> bool:
        """Begin, with the deadline written before anything is asked of the provider."""
        now = timezone.now()
        return self.move(self.Status.RUNNING, started_at=now, deadline_at=now + self.LIMITS[self.Name(self.name)])

    def end(self, to: str, *, reason: str = "", detail: str = "") -> bool:
        """Finish one way or the other."""
        return self.move(to, reason=reason, detail=detail, ended_at=timezone.now())
