"""One agent in one machine: the rows, their graphs and the verbs of one row."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from codecourier import live, repositories
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project

from .reasons import Reason

CPU = (1, 8)
MEMORY_MB = (256, 8_192)
TIMEOUT_MS = (60_000, 14_400_000)


def between(limits: tuple[int, int], unit: str) -> list[Any]:
    """Validators for an allowed range that name the range."""
    low, high = limits
    text = f"Allowed is {low:,} to {high:,} {unit}."
    return [MinValueValidator(low, text), MaxValueValidator(high, text)]


class Template(models.Model):
    """What a machine is made of: the base image and the agent in it."""

    class Tool(models.TextChoices):
        """The agents; each is one module of `sandboxes.agents`."""

        SCRIPT = "script", "Script"

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=80)
    tool = models.CharField(max_length=20, choices=Tool, default=Tool.SCRIPT)
    image = models.CharField(
        max_length=60,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9_-]*\Z", "Lower-case letters, digits, - and _ only.")],
        help_text="Name of the E2B template; the size is added to it as -<cpu>c-<memory>m.",
    )
    description = models.CharField(max_length=200, blank=True)
    install = models.TextField(blank=True, help_text="Runs as bash before the setup script, e.g. to install tools.")
    needs_mb = models.PositiveIntegerField("needs memory (MB)", default=256)
    cpu = models.PositiveSmallIntegerField(default=2, validators=between(CPU, "CPUs"))
    memory_mb = models.PositiveIntegerField("memory (MB)", default=1_024, validators=between(MEMORY_MB, "MB"))
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


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

    wanted = models.CharField(max_length=10, choices=Wanted, default=Wanted.RUN)
    wanted_reason = models.CharField(max_length=40, blank=True)
    wanted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    stop_by = models.DateTimeField(null=True, blank=True)

    provider = models.CharField(max_length=10, blank=True)
    provider_id = models.CharField(max_length=120, blank=True, db_index=True)
    # As the provider says, which is what costs.
    real_cpu = models.PositiveSmallIntegerField(null=True, blank=True)
    real_memory_mb = models.PositiveIntegerField(null=True, blank=True)
    # Its machine is known to be gone; a final row without it still has one to remove.
    released_at = models.DateTimeField(null=True, blank=True)

    ran_ms = models.BigIntegerField(default=0)
    running_since = models.DateTimeField(null=True, blank=True)
    active_at = models.DateTimeField(default=timezone.now)
    kept_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = SandboxQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "sandboxes"
        indexes = [models.Index(fields=["project", "kind", "-id"])]
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
        return self.move(to, reason=reason, detail=detail or Reason.sentence(reason), **fields)

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

    def next_look(self) -> datetime | None:
        """The nearest of its deadlines."""
        if self.final:
            return None if self.released_at else timezone.now() + timedelta(seconds=30)
        phase = self.phases.filter(status=Phase.Status.RUNNING).first()
        job = self.jobs.filter(status__in=Job.LIVE).order_by("deadline_at").first()
        looks = [self.deadline_at, self.timeout_at, self.kept_until, self.idle_at()]
        if self.stopping:
            looks.append(self.stop_by)
        looks += [row.deadline_at for row in (phase, job) if row]
        return min((at for at in looks if at), default=timezone.now() + timedelta(minutes=1))

    def idle_at(self) -> datetime | None:
        """When an idle sandbox pauses; None while it works or can't pause."""
        if self.status != self.Status.RUNNING or self.turns.filter(status__in=Turn.OPEN).exists():
            return None
        return self.active_at + timedelta(seconds=self.idle_seconds)


class Phase(Lifecycle):
    """One stretch of a boot, so that a sandbox that never spoke explains itself."""

    class Name(models.TextChoices):
        """In their order."""

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
        Name.CREATE: timedelta(minutes=2),
        Name.CLONE: timedelta(minutes=10),
        Name.INSTALL: timedelta(minutes=10),
        Name.SETUP: timedelta(minutes=15),
        Name.INJECT: timedelta(minutes=1),
        Name.AGENT: timedelta(minutes=1),
    }

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="phases")
    name = models.CharField(max_length=20, choices=Name)
    position = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

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
    fold = models.JSONField(default=dict)
    lines = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    capped = models.BooleanField(default=False)
    output_at = models.DateTimeField(null=True, blank=True)

    # From the spool's exit record.
    exit_code = models.IntegerField(null=True, blank=True)
    exit_signal = models.IntegerField(null=True, blank=True)
    exit_reason = models.CharField(max_length=40, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    cpu_seconds = models.FloatField(null=True, blank=True)
    max_rss_kb = models.BigIntegerField(null=True, blank=True)

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
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["sandbox"], condition=Q(status="running"), name="one_running_turn")
        ]

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


class Orphan(models.Model):
    """What the sweep found out of place and did about it: the orphan ledger."""

    class What(models.TextChoices):
        """A machine without a live row, or a live row without a machine."""

        MACHINE = "machine", "Machine without a live sandbox"
        ROW = "row", "Sandbox whose machine is gone"

    what = models.CharField(max_length=10, choices=What)
    provider = models.CharField(max_length=10)
    provider_id = models.CharField(max_length=120, unique=True)
    sandbox = models.ForeignKey(Sandbox, on_delete=models.SET_NULL, null=True)
    found_at = models.DateTimeField(default=timezone.now)
    done = models.CharField(max_length=200)
    seconds = models.PositiveIntegerField(help_text="How long the machine ran unclaimed.", default=0)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.what} {self.provider_id}"


def touch(sandbox: Sandbox) -> None:
    """Somebody or something works in it: the idle clock starts again."""
    Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now())
    live.nudge(f"sandbox:{sandbox.pk}")
