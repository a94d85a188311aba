"""One machine: its row, its graph, its wishes and its clocks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from codecourier import registries, repositories
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project
from sandboxes.reasons import Reason

from .template import CPU, MEMORY_MB, TIMEOUT_MS, Template, between

# A hint that a dead worker took with it costs this much.
SOON = timedelta(seconds=3)


class Kind(models.TextChoices):
    """What a sandbox is for."""

    STANDALONE = "standalone", "Standalone"
    STEP = "step", "Step"
    ISSUE = "issue", "Issue session"
    LEARNING = "learning", "Learning"
    EVALUATOR = "evaluator", "Evaluator"
    JUDGE = "judge", "Judge"
    ANSWERING = "answering", "Answering"
    MERGING = "merging", "Merging"

    @classmethod
    def services(cls) -> frozenset[str]:
        """Those that answer one question and are over."""
        return frozenset({cls.ISSUE, cls.LEARNING, cls.EVALUATOR, cls.JUDGE, cls.ANSWERING})

    @classmethod
    def readers(cls) -> frozenset[str]:
        """Those that can't change the clone, so that there is no work of theirs to save."""
        return frozenset({cls.ISSUE, cls.ANSWERING})


class Wanted(models.TextChoices):
    """What somebody asked for, apart from where the machine is."""

    RUN = "run", "Run"
    PAUSE = "pause", "Pause"
    KILL = "kill", "Kill"


class SandboxQuerySet(models.QuerySet["Sandbox"]):
    """Questions about many sandboxes."""

    def alive(self) -> Self:
        """Those that may have a machine: neither killed nor failed."""
        return self.exclude(status__in=Sandbox.FINAL)

    def kept(self) -> Self:
        """Those that are not in the trash."""
        return self.filter(deleted_at=None)


class Sandbox(Lifecycle, Leased):
    """One machine, from request to removal."""

    class Status(models.TextChoices):
        """Where the machine is; what is wanted of it stands apart."""

        CREATING = "creating", "Creating"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        KILLED = "killed", "Killed"
        ERROR = "error", "Error"

    EDGES: ClassVar = {
        Status.CREATING: frozenset({Status.RUNNING, Status.KILLED, Status.ERROR}),
        Status.RUNNING: frozenset({Status.PAUSED, Status.KILLED, Status.ERROR}),
        Status.PAUSED: frozenset({Status.RUNNING, Status.KILLED, Status.ERROR}),
        Status.KILLED: frozenset(),
        Status.ERROR: frozenset(),
    }
    # The sum of what the phases may take, and some: each phase has a nearer deadline of its own.
    DEADLINES: ClassVar = {Status.CREATING: timedelta(minutes=45)}
    FINAL: ClassVar = (Status.KILLED, Status.ERROR)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sandboxes")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.STANDALONE)
    title = models.CharField(max_length=200, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    # The form's own mark: sent twice, it makes one sandbox.
    request_key = models.CharField(max_length=64, null=True, unique=True, editable=False)

    template = models.ForeignKey(Template, on_delete=models.PROTECT)
    tool = models.CharField(max_length=20)
    designer_model = models.CharField(max_length=120, blank=True)
    checker_model = models.CharField(max_length=120, blank=True)
    effort = models.CharField(
        max_length=10, blank=True, choices={"low": "Low", "medium": "Medium", "high": "High", "max": "Max"}
    )
    cpu = models.PositiveSmallIntegerField("CPUs", default=2, validators=between(CPU, "CPUs"))
    memory_mb = models.PositiveIntegerField("memory (MB)", default=1_024, validators=between(MEMORY_MB, "MB"))
    timeout_ms = models.PositiveIntegerField(
        "timeout (ms)", default=3_600_000, validators=between(TIMEOUT_MS, "ms"), help_text="Of running time after boot."
    )
    idle_seconds = models.PositiveIntegerField(default=900, validators=between((5, 86_400), "seconds"))
    silence_seconds = models.PositiveIntegerField(default=600, validators=between((1, 86_400), "seconds"))
    repository_url = models.CharField(max_length=500, blank=True, validators=[repositories.validate])
    branch = models.CharField(max_length=200, blank=True, validators=[repositories.validate_branch])
    depth = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    setup_script = models.TextField(blank=True)
    # The commit of the repository that it begins with, where it must not be the branch's newest.
    at_commit = models.CharField(max_length=64, blank=True)
    # Another machine's work that it begins with.
    continues = models.ForeignKey(
        "sandboxes.Checkpoint", on_delete=models.SET_NULL, null=True, blank=True, related_name="continued"
    )
    publish = models.CharField(
        "when a turn succeeded", max_length=10, blank=True,
        choices={
            "": "As the project's settings say", "nothing": "Keep the work here", "push": "Push the branch",
            "request": "Push the branch and open a pull request",
        },
    )  # fmt: skip
    # What its work is committed on, and the commit that it began from: empty for a folder that had none.
    work_branch = models.CharField(max_length=200, blank=True)
    start_commit = models.CharField(max_length=64, blank=True)

    wanted = models.CharField(max_length=10, choices=Wanted, default=Wanted.RUN)
    wanted_reason = models.CharField(max_length=40, blank=True)
    wanted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    stop_by = models.DateTimeField(null=True, blank=True)

    provider = models.CharField(max_length=10, blank=True)
    # The key's, whose plan it counts against (`e2b.account`).
    account = models.CharField(max_length=40, blank=True)
    provider_id = models.CharField(max_length=120, blank=True, db_index=True)
    # As the provider says, which is what costs.
    real_cpu = models.PositiveSmallIntegerField(null=True, blank=True)
    real_memory_mb = models.PositiveIntegerField(null=True, blank=True)
    # The agent's own conversation: {"id", "baseline"}, see `agents.base`.
    session = models.JSONField(default=dict, blank=True)
    # What was injected (`personas.briefing`), and under "undelivered" what the tool has no place for.
    briefing = models.JSONField(default=dict, blank=True)
    tool_version = models.CharField(max_length=200, blank=True)
    # Where model endpoints are reached from inside, on providers that have such a gateway.
    gateway = models.CharField(max_length=200, blank=True)
    # When the provider was last asked for a machine, for the plan's rate of creates.
    create_asked_at = models.DateTimeField(null=True, blank=True)
    # Since when the machine has run without a pause, for the plan's longest session.
    machine_since = models.DateTimeField(null=True, blank=True)
    # Its machine is known to be gone; a final row without it still has one to remove.
    released_at = models.DateTimeField(null=True, blank=True)

    ran_ms = models.BigIntegerField(default=0)
    running_since = models.DateTimeField(null=True, blank=True)
    active_at = models.DateTimeField(default=timezone.now)
    kept_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    # Set by the step at hand, not stored: a look sooner than the row itself asks for.
    look_again: datetime | None = None

    objects = SandboxQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "sandboxes"
        indexes = [
            models.Index(fields=["project", "kind", "-id"]),
            # Runs, personas and the ledger look for their sandboxes by what they wrote into the labels.
            GinIndex(fields=["labels"], name="sandbox_labels"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["creating", "running", "paused", "killed", "error"]),
                name="sandbox_known_status",
            ),
            models.CheckConstraint(
                condition=Q(status="running", running_since__isnull=False)
                | (~Q(status="running") & Q(running_since__isnull=True)),
                name="sandbox_clock_runs_while_running",
            ),
            models.CheckConstraint(
                condition=~Q(wanted__in=["pause", "kill"]) | Q(stop_by__isnull=False), name="sandbox_wish_has_deadline"
            ),
        ]

    def __str__(self) -> str:
        return self.title or f"Sandbox {self.pk}"

    def topics(self) -> list[str]:
        """Its own page, and its project's lists and counters."""
        return [f"sandbox:{self.pk}", f"project:{self.project_id}"]

    @property
    def reads_only(self) -> bool:
        """Whether its clone is protected."""
        return self.kind in Kind.readers()

    @property
    def ran(self) -> timedelta:
        """Running time so far, without pauses."""
        running = timezone.now() - self.running_since if self.running_since else timedelta()
        return timedelta(milliseconds=self.ran_ms) + running

    @property
    def time_left(self) -> timedelta | None:
        """Running time until the timeout; None once it is over."""
        if self.status in self.FINAL:
            return None
        return max(timedelta(), timedelta(milliseconds=self.timeout_ms) - self.ran)

    @property
    def timeout_at(self) -> datetime | None:
        """When the timeout comes if it goes on running."""
        left = self.time_left
        return timezone.now() + left if self.running_since and left is not None else None

    @property
    def extendable(self) -> bool:
        """Whether it may be given more running time."""
        return self.timeout_ms < TIMEOUT_MS[1]

    @property
    def stopping(self) -> bool:
        """Asked to end or to pause, and not there yet."""
        return (self.wanted == Wanted.KILL and not self.final) or (
            self.wanted == Wanted.PAUSE and self.status == self.Status.RUNNING
        )

    def enter(self, to: str, *, reason: str = "", detail: str = "") -> bool:
        """Move, with the clock of running time stopped or started as the new status asks."""
        now, fields = timezone.now(), dict[str, Any]()
        if self.running_since:
            fields |= {"ran_ms": self.ran_ms + round((now - self.running_since) / timedelta(milliseconds=1))}
        fields["running_since"] = now if to == self.Status.RUNNING else None
        if to in self.FINAL:
            fields["ended_at"] = now
        return self.move(to, reason=reason, detail=detail or Reason.sentence(reason), at=now, **fields)

    def want(self, wanted: str, *, reason: str = "user", by: Any = None, within: timedelta | None = None) -> bool:
        """Note what is asked for, and by when; False when that is asked for already or it is over."""
        now = timezone.now()
        changes = {
            "wanted": wanted,
            "wanted_reason": reason,
            "wanted_by": by,
            "stop_by": None if wanted == Wanted.RUN else now + (settings.STOP_GRACE if within is None else within),
            "due_at": now,
        }
        rows = Sandbox.objects.alive().filter(pk=self.pk).exclude(wanted=wanted)
        if wanted != Wanted.KILL:
            rows = rows.exclude(wanted=Wanted.KILL)
        with transaction.atomic():
            made = bool(rows.update(**changes))
            if made:
                self.nudge()
        self.refresh_from_db()
        return made

    def hurry(self) -> None:
        """A second Stop: end now, without saving."""
        with transaction.atomic():
            Sandbox.objects.alive().filter(pk=self.pk, wanted=Wanted.KILL).update(
                stop_by=timezone.now(), due_at=timezone.now()
            )
            self.nudge()

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + SOON)
        registries.sweepers[cls].enqueue(pk)

    @property
    def behind(self) -> bool:
        """A command has ended and nobody has drawn the consequence."""
        ended = self.jobs.exclude(status__in=["starting", "running"])
        return ended.filter(Q(turn__status="running") | Q(kind__in=self.phases.running().values("name"))).exists()

    def next_look(self) -> datetime | None:
        """The nearest of its deadlines."""
        if self.final:
            return None if self.released_at else timezone.now() + timedelta(seconds=30)
        if self.behind:
            return timezone.now() + SOON
        phase = self.phases.running().first()
        job = self.jobs.live().order_by("deadline_at").first()
        looks = [self.look_again, self.deadline_at, self.timeout_at, self.kept_until, self.idle_at()]
        if self.stopping:
            looks.append(self.stop_by)
        looks += [row.deadline_at for row in (phase, job) if row]
        return min((at for at in looks if at), default=timezone.now() + timedelta(minutes=1))

    def idle_at(self) -> datetime | None:
        """When an idle sandbox pauses; None while it works or can't pause."""
        if self.status != self.Status.RUNNING or self.turns.unfinished().exists():
            return None
        return self.active_at + timedelta(seconds=self.idle_seconds)
