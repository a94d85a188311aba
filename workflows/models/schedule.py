"""Runs that come round by themselves: what is asked, when, and how each time went."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import islice
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier import live, registries, repositories
from codecourier.lifecycle import Leased
from codecourier.models import Project
from workflows import timing
from workflows.timing import Rule

from .run import SOON, Run, RunQuerySet
from .workflow import Workflow

YEARS = timedelta(days=10 * 365)


class Schedule(Leased):
    """A prompt on a workflow, again and again; each time is an ordinary run."""

    class Every(models.TextChoices):
        """How often."""

        DAILY = timing.DAILY, "Every day"
        OTHER_DAY = timing.OTHER_DAY, "Every other day"
        WEEKLY = timing.WEEKLY, "Every week"
        BIWEEKLY = timing.BIWEEKLY, "Every other week"
        MONTHLY = timing.MONTHLY, "Every month"
        CRON = timing.CRON, "By a cron expression"

    class Overlap(models.TextChoices):
        """What happens at a time at which its last run still goes on."""

        SKIP = "skip", "Leave that time out"
        QUEUE = "queue", "Start when the last run has ended"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="schedules")
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="schedules")
    name = models.CharField(max_length=120)
    prompt = models.TextField()
    checker_instructions = models.TextField(blank=True)
    repository_url = models.CharField(max_length=500, blank=True, validators=[repositories.validate])
    branch = models.CharField(max_length=200, blank=True, validators=[repositories.validate_branch])
    cap_usd = models.DecimalField("at most (USD)", max_digits=10, decimal_places=2, null=True, blank=True)

    every = models.CharField(max_length=10, choices=Every, default=Every.DAILY)
    at = models.TimeField("time of day", default=time(9))
    starts_on = models.DateField("first day", default=timezone.localdate)
    cron = models.CharField("cron expression", max_length=120, blank=True)
    zone = models.CharField("time zone", max_length=60, default="UTC")
    overlap = models.CharField("when the last run still goes on", max_length=10, choices=Overlap, default=Overlap.SKIP)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_why = models.CharField(max_length=300, blank=True, editable=False)
    # Failures before that are forgiven.
    resumed_at = models.DateTimeField(default=timezone.now, editable=False)

    RULE: ClassVar = ("every", "at", "starts_on", "cron", "zone")

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], name="one_schedule_of_a_name",
                violation_error_message="There is a schedule of this name already.",
            ),
            models.CheckConstraint(condition=~Q(prompt=""), name="schedule_has_a_prompt"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what would never come round, or ask for nothing; ValidationError by field."""
        wrong: dict[str, Any] = {}
        if not self.prompt.strip():
            wrong["prompt"] = "Write what each run should achieve."
        if self.zone not in timing.zones():
            wrong["zone"] = f"{self.zone[:60]!r} is no time zone. Choose one as Europe/Berlin."
        if self.starts_on and abs(self.starts_on - timezone.localdate()) > YEARS:
            wrong["starts_on"] = "Choose a day that is less than ten years away."
        if self.every == self.Every.CRON:
            try:
                timing.check_cron(self.cron)
            except ValidationError as error:
                wrong["cron"] = error.messages
        if wrong:
            raise ValidationError(wrong)

    @property
    def rule(self) -> Rule:
        """When it comes round."""
        return Rule(self.every, self.zone, self.at, self.starts_on, self.cron)

    @property
    def words(self) -> str:
        """The same for people."""
        return timing.words(self.rule)

    def upcoming(self, after: datetime, count: int = 3) -> list[datetime]:
        """The next times, in its own zone."""
        here = ZoneInfo(self.zone)
        return [moment.astimezone(here) for moment in islice(timing.times(self.rule, after), count)]

    def plan(self, now: datetime) -> None:
        """Look at its rule anew."""
        self.next_at = None if self.paused_at else next(timing.times(self.rule, now), None)
        self.due_at = self.next_at

    @property
    def runs(self) -> RunQuerySet:
        """Every run that it started."""
        return Run.objects.filter(firings__schedule=self)

    def next_look(self) -> datetime | None:
        """At its next time, and sooner while a run waits for another's end."""
        if self.paused_at:
            return None
        waits = self.firings.filter(outcome=Firing.Outcome.WAITING).exists()
        return min(filter(None, [self.next_at, timezone.now() + timedelta(minutes=1) if waits else None]), default=None)

    @classmethod
    def poke(cls, pk: int) -> None:
        """Have a worker look at it once the transaction commits; should the task be lost, the sweep does."""
        cls.objects.filter(pk=pk).update(due_at=timezone.now() + SOON)
        registries.sweepers[cls].enqueue(pk)

    def nudge(self) -> None:
        """Tell the pages of its project."""
        live.nudge(f"project:{self.project_id}")


class Firing(models.Model):
    """One time that came round, and what became of it."""

    class Outcome(models.TextChoices):
        """`failed`: no run could be started."""

        STARTED = "started", "Started"
        SKIPPED = "skipped", "Left out"
        WAITING = "waiting", "Waiting"
        FAILED = "failed", "Not started"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="firings")
    planned_at = models.DateTimeField()
    at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=10, choices=Outcome)
    detail = models.TextField(blank=True)
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="firings")

    class Meta:
        ordering = ["-planned_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["schedule", "planned_at"], name="one_firing_of_a_time")]

    @property
    def there(self) -> str:
        """When it was, as a clock in the zone of its schedule shows it."""
        zone = self.schedule.zone if self.schedule.zone in timing.zones() else "UTC"
        return f"{self.planned_at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"

    def __str__(self) -> str:
        return f"{self.schedule} at {self.planned_at:%Y-%m-%d %H:%M}: {self.get_outcome_display()}"
