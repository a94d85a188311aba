"""Commands in a machine and what they printed."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from codecourier.lifecycle import Leased, Lifecycle

from .sandbox import Sandbox


class JobQuerySet(models.QuerySet["Job"]):
    """Questions about jobs."""

    def live(self) -> Self:
        """Those whose end is not known yet."""
        return self.filter(status__in=Job.LIVE)


class Job(Lifecycle, Leased):
    """One command in a machine, run by the courier and followed by the relay."""

    # Renewed with every flush; a dead relay's jobs are free again after this.
    LEASE: ClassVar = timedelta(seconds=4)

    class Kind(models.TextChoices):
        """What the command is."""

        CLONE = "clone", "Clone"
        INSTALL = "install", "Install"
        SETUP = "setup-script", "Setup script"
        TURN = "turn", "Turn"

    class Status(models.TextChoices):
        """`lost`: its machine went away before its end was known."""

        STARTING = "starting", "Starting"
        RUNNING = "running", "Running"
        EXITED = "exited", "Exited"
        LOST = "lost", "Lost"

    EDGES: ClassVar = {
        Status.STARTING: frozenset({Status.RUNNING, Status.EXITED, Status.LOST}),
        Status.RUNNING: frozenset({Status.EXITED, Status.LOST}),
        Status.EXITED: frozenset(),
        Status.LOST: frozenset(),
    }
    LIVE: ClassVar = (Status.STARTING, Status.RUNNING)

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=20, choices=Kind)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    # Asked to end; the courier is told again until it has.
    stop_asked_at = models.DateTimeField(null=True, blank=True)
    stop_reason = models.CharField(max_length=40, blank=True)

    # The relay's cursor: bytes and records of the spool that are stored, and what the fold over them needs next.
    offset = models.BigIntegerField(default=0)
    spool_seq = models.BigIntegerField(default=0)
    seq = models.BigIntegerField(default=0)
    # Encrypted: bytes held back by redaction can be a piece of a secret.
    fold = models.TextField(blank=True)
    lines = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    capped = models.BooleanField(default=False)
    # What the parser of a structured output began from, how many events it gave, and what streams right now.
    context = models.JSONField(default=dict, blank=True)
    events = models.BigIntegerField(default=0)
    draft = models.JSONField(default=dict, blank=True)
    output_at = models.DateTimeField(null=True, blank=True)

    # From the spool's exit record.
    exit_code = models.IntegerField(null=True, blank=True)
    exit_signal = models.IntegerField(null=True, blank=True)
    exit_reason = models.CharField(max_length=40, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    cpu_seconds = models.FloatField(null=True, blank=True)
    max_rss_kb = models.BigIntegerField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["status", "lease_until"])]

    def __str__(self) -> str:
        return f"{self.kind} job {self.pk}"

    def topics(self) -> list[str]:
        """The output's viewers, its sandbox's page, and the relays."""
        return [f"job:{self.pk}", f"sandbox:{self.sandbox_id}", "relay"]

    @property
    def succeeded(self) -> bool:
        """It came to its own end with exit status 0."""
        return self.status == self.Status.EXITED and self.exit_code == 0 and not self.exit_reason


class Output(models.Model):
    """A stretch of what a job printed, redacted; `seq` counts from 1 without a gap."""

    class Stream(models.IntegerChoices):
        """Where it was printed; NOTE is the portal's own marker in the stream."""

        STDOUT = 1, "stdout"
        STDERR = 2, "stderr"
        PTY = 3, "pty"
        NOTE = 4, "note"

    pk = models.CompositePrimaryKey("job_id", "seq")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="output", db_index=False)
    seq = models.BigIntegerField()
    t_ms = models.BigIntegerField()
    stream = models.SmallIntegerField(choices=Stream)
    data = models.BinaryField()

    class Meta:
        ordering = ["job_id", "seq"]


class Event(models.Model):
    """One thing an agent did or said (`agents.base.Event`), redacted; `seq` counts from 1 without a gap."""

    pk = models.CompositePrimaryKey("job_id", "seq")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="transcript", db_index=False)
    seq = models.BigIntegerField()
    t_ms = models.BigIntegerField()
    kind = models.CharField(max_length=20)
    data = models.JSONField()

    class Meta:
        ordering = ["job_id", "seq"]
