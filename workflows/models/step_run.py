"""One step of a run at work, once for each iteration and candidate; judges, tests and evaluators are such, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.lifecycle import Lifecycle
from sandboxes.models import Checkpoint, Sandbox, Turn
from workflows.plan import Place, member

from .run import Run


class StepRunQuerySet(models.QuerySet["StepRun"]):
    """Questions about steps at work."""

    def open(self) -> Self:
        """Those that are not over."""
        return self.filter(status__in=StepRun.OPEN)


class StepRun(Lifecycle):
    """What one step did; the database lets it exist once for each place in the run."""

    class Kind(models.TextChoices):
        """`test` runs a script on a candidate, `judge` chooses among them, `evaluator` scores the result."""

        STEP = "step", "Step"
        TEST = "test", "Test"
        JUDGE = "judge", "Judge"
        EVALUATOR = "evaluator", "Evaluator"

    class Status(models.TextChoices):
        """`waiting`: it has no turn yet."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    EDGES: ClassVar = {
        Status.WAITING: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
        Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
        Status.SUCCEEDED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELLED: frozenset(),
    }
    OPEN: ClassVar = (Status.WAITING, Status.RUNNING)

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="step_runs")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.STEP)
    # Its place in the manifest's list; an evaluator comes after the last one.
    step = models.PositiveSmallIntegerField()
    iteration = models.PositiveSmallIntegerField(default=1)
    # 0 where there is one only, else from 1.
    candidate = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    sandbox = models.ForeignKey(Sandbox, on_delete=models.SET_NULL, null=True, blank=True, related_name="step_runs")
    turn = models.ForeignKey(Turn, on_delete=models.SET_NULL, null=True, blank=True, related_name="step_runs")
    # What it began from (empty: the run's own start), what it left, and what it changed although it may not.
    base = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    dropped = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # What it was told, and what it said: by contract, and in its last words.
    prompt = models.TextField(blank=True)
    answer = models.JSONField(null=True, blank=True)
    output = models.TextField(blank=True)
    # In a retry: done by the run that is repeated.
    reused = models.BooleanField(default=False)

    objects = StepRunQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "kind", "step", "iteration", "candidate"], name="one_step_run_of_a_place"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "running", "succeeded", "failed", "cancelled"]),
                name="step_run_known_status",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.step + 1} of run {self.run_id}, iteration {self.iteration}"

    def topics(self) -> list[str]:
        """Its run's page, and its project's lists."""
        return [f"run:{self.run_id}", f"project:{self.run.project_id}"]

    @property
    def spec(self) -> dict[str, Any]:
        """Who does it and how, as it was pinned."""
        manifest = self.run.manifest
        if self.kind == self.Kind.EVALUATOR:
            return dict(manifest["evaluator"])
        step = manifest["steps"][self.step]
        return dict(step["judge"]) if self.kind == self.Kind.JUDGE else member(step, self.candidate)

    @property
    def place(self) -> Place:
        """Where it is in the run."""
        return Place(self.kind, self.step, self.iteration, self.candidate)

    @property
    def verdict(self) -> str:
        """`pass` or `fail` of a checker that has answered."""
        return str(self.answer.get("verdict", "")) if isinstance(self.answer, dict) else ""

    @property
    def letter(self) -> str:
        """What a candidate is called before the judge."""
        return chr(ord("A") + self.candidate - 1) if self.candidate else ""

    @property
    def took(self) -> timedelta | None:
        """How long it took, or has taken so far."""
        return (self.ended_at or timezone.now()) - self.started_at if self.started_at else None
