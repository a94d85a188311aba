"""One run: what was asked, what was pinned at its launch, and where it stands."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier import registries, repositories
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project
from sandboxes.models import Checkpoint, PullRequest, Sandbox
from sandboxes.models.sandbox import SandboxQuerySet

from .workflow import Workflow

# A hint that a dead worker took with it costs this much.
SOON = timedelta(seconds=3)
# A look at a run that waits for something else.
LOOK = timedelta(seconds=20)


class Source(models.TextChoices):
    """Who or what started it."""

    MANUAL = "manual", "By hand"
    ISSUE = "issue", "Issue"
    CHAIN = "chain", "Chain"
    SCHEDULE = "schedule", "Schedule"
    COMMAND = "command", "Command line"


class RunQuerySet(models.QuerySet["Run"]):
    """Questions about runs."""

    def active(self) -> Self:
        """Those that are not over."""
        return self.filter(status__in=Run.OPEN)


class Run(Lifecycle, Leased):
    """A workflow at work on one prompt; its manifest is all that it goes by."""

    class Status(models.TextChoices):
        """The last three are final."""

        PENDING = "pending", "Pending"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    EDGES: ClassVar = {
        Status.PENDING: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
        Status.RUNNING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
        Status.COMPLETED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELLED: frozenset(),
    }
    OPEN: ClassVar = (Status.PENDING, Status.RUNNING)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    workflow = models.ForeignKey(Workflow, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    title = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=10, choices=Source, default=Source.MANUAL)
    labels = models.JSONField(default=dict, blank=True)
    # The form's own mark: sent twice, it makes one run.
    request_key = models.CharField(max_length=64, null=True, unique=True, editable=False)

    prompt = models.TextField()
    checker_instructions = models.TextField(
        blank=True, help_text="What checkers have to see besides: how to test it, what must not change."
    )
    # Markdown that every step is told besides, as answers to questions.
    context = models.TextField(blank=True)
    repository_url = models.CharField(max_length=500, blank=True, validators=[repositories.validate])
    branch = models.CharField(max_length=200, blank=True, validators=[repositories.validate_branch])
    setup_script = models.TextField(blank=True)
    # What it may cost in all, in USD; empty for no limit of its own.
    cap_usd = models.DecimalField("at most (USD)", max_digits=10, decimal_places=2, null=True, blank=True)
    publish = models.CharField(max_length=10, blank=True)
    # Pinned at launch; see `workflows.manifest`.
    manifest = models.JSONField(default=dict)

    # Another run's result that it begins with.
    continues = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # The run that this one repeats or goes on with.
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries")
    work_branch = models.CharField(max_length=200, blank=True)
    base_commit = models.CharField(max_length=64, blank=True)
    # Its result so far: the last state of the work that counts.
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    score = models.PositiveSmallIntegerField(null=True, blank=True)

    cancel_asked = models.BooleanField(default=False, editable=False)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    score_asked = models.BooleanField(default=False, editable=False)
    # Why it doesn't go on just now, in a sentence; empty while it does.
    held = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # Its machines are known to be stopped.
    cleaned_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "status", "-id"]),
            models.Index(fields=["workflow", "-id"]),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "running", "completed", "failed", "cancelled"]),
                name="run_known_status",
            ),
            models.CheckConstraint(condition=~Q(prompt=""), name="run_has_a_prompt"),
        ]

    def __str__(self) -> str:
        return self.title or f"Run {self.pk}"

    def topics(self) -> list[str]:
        """Its own page, and its project's lists and counters."""
        return [f"run:{self.pk}", f"project:{self.project_id}"]

    def clean(self) -> None:
        """Refuse a prompt that asks for nothing."""
        if not self.prompt.strip():
            raise ValidationError({"prompt": "Write what the run should achieve."})

    @property
    def took(self) -> timedelta | None:
        """How long it took, or has taken so far."""
        return (self.ended_at or timezone.now()) - self.started_at if self.started_at else None

    @property
    def sandboxes(self) -> SandboxQuerySet:
        """Every machine of it, without those that a retry took over."""
        return Sandbox.objects.filter(labels__contains={"run_id": self.pk})

    @property
    def pull_request(self) -> PullRequest | None:
        """Of its branch."""
        rows = PullRequest.objects.filter(project=self.project_id, branch=self.work_branch)
        return rows.order_by("-id").first() if self.work_branch else None

    @property
    def scorable(self) -> bool:
        """Whether its workflow lets it be scored."""
        return bool(self.manifest.get("scorable", True))

    @property
    def workflow_name(self) -> str:
        """As it was called at the launch."""
        return str(self.manifest.get("workflow", {}).get("name", ""))

    def next_look(self) -> datetime | None:
        """While it is not over, and until its machines are known to be stopped."""
        if self.final and self.cleaned_at and not self.score_asked:
            return None
        return timezone.now() + LOOK

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + SOON)
        registries.sweepers[cls].enqueue(pk)

    def hold(self, sentence: str) -> None:
        """Say why it doesn't go on, or with an empty one that it does."""
        if Run.objects.filter(pk=self.pk).exclude(held=sentence[:300]).update(held=sentence[:300]):
            self.held = sentence[:300]
            self.nudge()


class Picture(models.Model):
    """A reference image of a run, below the portal's uploads; every agent of the run gets it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="pictures")
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=300)
    size = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
