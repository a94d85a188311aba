"""A sandbox's branch at the remote, and its pull request once there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from codecourier import repositories
from codecourier.crypto import EncryptedField
from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project

from .sandbox import Sandbox

BRACES = re.compile(r"\{(\w+)\}")
BRANCH_NAMES = {"kind", "id", "title"}
BODY_NAMES = {"asked", "summary", "title", "cost", "link", "footer"}
# The state of an open one is asked for so often: soon while checks run, seldom when nothing moves.
SOON, SELDOM = timedelta(seconds=20), timedelta(minutes=10)


class PullRequestQuerySet(models.QuerySet["PullRequest"]):
    """Questions about pull requests."""

    def requested(self) -> Self:
        """Those that are more than a branch."""
        return self.filter(number__isnull=False)


class PullRequest(Lifecycle, Leased):
    """What is wanted at the remote (`wanted_commit`, `wants_request`, `asked`) beside what is there."""

    class Status(models.TextChoices):
        """The last four are GitHub's."""

        PUSHING = "pushing", "Pushing"
        PUSHED = "pushed", "Branch pushed"
        BLOCKED = "blocked", "Held back"
        FAILED = "failed", "Failed"
        DRAFT = "draft", "Draft"
        OPEN = "open", "Open"
        MERGED = "merged", "Merged"
        CLOSED = "closed", "Closed"

    class Wish(models.TextChoices):
        """What people do at GitHub as well."""

        READY = "ready", "Mark ready for review"
        DRAFT = "draft", "Convert to draft"
        CLOSE = "close", "Close"
        REOPEN = "reopen", "Open again"

    EDGES: ClassVar = {
        Status.PUSHING: frozenset(Status.values) - {Status.PUSHING},
        Status.PUSHED: frozenset({Status.PUSHING}),
        Status.BLOCKED: frozenset({Status.PUSHING}),
        Status.FAILED: frozenset({Status.PUSHING}),
        Status.DRAFT: frozenset({Status.PUSHING, Status.OPEN, Status.MERGED, Status.CLOSED, Status.FAILED}),
        Status.OPEN: frozenset({Status.PUSHING, Status.DRAFT, Status.MERGED, Status.CLOSED, Status.FAILED}),
        Status.CLOSED: frozenset({Status.PUSHING, Status.DRAFT, Status.OPEN, Status.MERGED}),
        Status.MERGED: frozenset(),
    }
    LIVE: ClassVar = (Status.DRAFT, Status.OPEN)
    # How a check can end that holds a pull request up (https://docs.github.com/rest/checks/runs).
    BAD: ClassVar = frozenset({"failure", "timed_out", "cancelled", "action_required", "startup_failure", "error"})

    sandbox = models.OneToOneField(Sandbox, on_delete=models.CASCADE, related_name="pull_request")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pull_requests")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    remote_url = models.CharField(max_length=500)
    branch = models.CharField(max_length=200)
    base = models.CharField(max_length=200, blank=True)
    wanted_commit = models.CharField(max_length=64)
    # What is pushed of it: the same, or that together with `onto`.
    target = models.CharField(max_length=64, blank=True)
    pushed_commit = models.CharField(max_length=64, blank=True)
    # All that was ever pushed or was about to be: a branch that stands at one of them is ours.
    tried = models.JSONField(default=list, blank=True)
    wants_request = models.BooleanField(default=True)
    draft = models.BooleanField("opened as a draft", default=True)
    # Done at the next look, then empty again.
    asked = models.CharField(max_length=10, choices=Wish, blank=True)
    # What all work is put upon before it is pushed, after somebody asked for an update: the base branch's commit, or
    # the last merge with it.
    onto = models.CharField(max_length=64, blank=True)
    update_asked = models.BooleanField(default=False)
    # The base branch's commit that git alone could not merge, and the session that does it.
    conflict = models.CharField(max_length=64, blank=True)
    merging = models.ForeignKey(Sandbox, on_delete=models.SET_NULL, null=True, blank=True, related_name="merges")

    number = models.PositiveIntegerField(null=True, blank=True)
    url = models.CharField(max_length=500, blank=True)
    title = models.CharField(max_length=256, blank=True)
    body = models.TextField(blank=True)
    labels = models.JSONField(default=list, blank=True)
    reviewers = models.JSONField(default=list, blank=True)
    # As GitHub said it last: [{"name", "status", "conclusion", "url"}], [{"who", "state", "body"}], and so on.
    checks = models.JSONField(default=list, blank=True)
    reviews = models.JSONField(default=list, blank=True)
    comments = models.JSONField(default=list, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    etags = models.JSONField(default=dict, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    # What the scan found (`publishing.scan.Finding`), and the marks that an administrator allows.
    findings = models.JSONField(default=list, blank=True)
    allowed = models.JSONField(default=list, blank=True)
    # Failed looks in a row, and when the next one makes sense.
    tries = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)

    objects = PullRequestQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "remote_url", "number"], name="pull_request_once")]

    def __str__(self) -> str:
        return f"#{self.number}" if self.number else self.branch

    def topics(self) -> list[str]:
        """Its sandbox's page and the project's list."""
        return [f"sandbox:{self.sandbox_id}", f"project:{self.project_id}"]

    @property
    def failed_checks(self) -> list[dict[str, str]]:
        """Those that somebody has to do something about."""
        return [check for check in self.checks if check["conclusion"] in self.BAD]

    @property
    def last_comment(self) -> dict[str, str]:
        """The newest; empty without any."""
        return self.comments[-1] if self.comments else {}

    @property
    def verdict(self) -> str:
        """Of all checks together: `running`, `failed`, `passed`, empty without any."""
        if any(check["status"] != "completed" for check in self.checks):
            return "running"
        if self.failed_checks:
            return "failed"
        return "passed" if self.checks else ""

    def next_look(self) -> datetime | None:
        """While somebody may do something at the remote."""
        now = timezone.now()
        if self.not_before and self.not_before > now:
            return self.not_before
        if self.status == self.Status.PUSHING:
            return now + timedelta(seconds=5)
        if self.status not in self.LIVE:
            return None
        quiet = now - (self.changed_at or self.created_at)
        return now + (SOON if self.verdict == "running" else min(max(SOON, quiet / 20), SELDOM))


class PublishingSettings(models.Model):
    """How a project's work leaves: one row for each project, made when it is first saved."""

    class Auto(models.TextChoices):
        """What happens by itself when a turn has succeeded."""

        NOTHING = "nothing", "Nothing: people push and open pull requests"
        PUSH = "push", "Push the branch"
        REQUEST = "request", "Push the branch and open a pull request"

    class Updates(models.TextChoices):
        """How a branch is brought up to its base branch."""

        REBASE = "rebase", "Rebase: its commits anew on top of the base branch"
        MERGE = "merge", "Merge: a merge commit, so that what reviewers saw stays as it was"

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="publishing")
    branch_pattern = models.CharField(
        "branch names",
        max_length=120,
        default="codecourier/{kind}-{id}-{title}",
        help_text="{kind}, {id} and {title} are filled in; {id} has to be there.",
    )
    auto = models.CharField("by itself", max_length=10, choices=Auto, default=Auto.NOTHING)
    draft = models.BooleanField("as a draft", default=True, help_text="A draft asks nobody for a review yet.")
    updates = models.CharField("update of a branch", max_length=10, choices=Updates, default=Updates.REBASE)
    labels = models.CharField(max_length=300, blank=True, help_text="Names with commas between them.")
    reviewers = models.CharField(max_length=300, blank=True, help_text="GitHub names with commas between them.")
    body = models.TextField(
        "text of a pull request",
        default="{asked}\n\n{summary}\n\n{footer}",
        help_text="{asked}, {summary}, {title}, {cost}, {link} and {footer} are filled in.",
    )

    # What GitHub signs its deliveries with; empty until somebody asks for one.
    webhook_secret = EncryptedField(blank=True, editable=False)

    class Meta:
        verbose_name_plural = "publishing settings"

    def __str__(self) -> str:
        return f"publishing of {self.project}"

    @classmethod
    def of(cls, project: Project) -> PublishingSettings:
        """The project's own, else the defaults (not stored)."""
        return cls.objects.filter(project=project).first() or cls(project=project)

    def clean(self) -> None:
        """Refuse a pattern that gives no branch names, or the same one twice."""
        if "{id}" not in self.branch_pattern:
            raise ValidationError({"branch_pattern": "{id} has to be in it, so that no two sandboxes share a branch."})
        for field, names in (("branch_pattern", BRANCH_NAMES), ("body", BODY_NAMES)):
            for name in set(BRACES.findall(getattr(self, field))) - names:
                raise ValidationError({field: f"There is nothing to fill in for {{{name}}}."})
        try:
            repositories.validate_branch(fill(self.branch_pattern, {"kind": "standalone", "id": "1", "title": "x"}))
        except ValidationError as error:
            raise ValidationError({"branch_pattern": error.messages}) from error


class Delivery(models.Model):
    """A webhook's delivery that was taken: the same number again is a replay."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="deliveries")
    number = models.CharField(max_length=100)
    event = models.CharField(max_length=60, blank=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="delivery_once")]

    def __str__(self) -> str:
        return f"{self.event} {self.number}"


def fill(text: str, values: Mapping[str, str]) -> str:
    """A template with its names in braces filled in; unknown ones stay."""
    return BRACES.sub(lambda found: values.get(found[1], found[0]), text)
