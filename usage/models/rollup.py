"""Sums of the ledger, so that reports stay fast: by kind of work and quarter of an hour, and by run."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from codecourier.models import Project


class Work(models.Model):
    """One kind of work as reports tell it apart: whose it was, with what, and what for. `key` is made of all of it."""

    DIMENSIONS: ClassVar = (
        "project_id", "person_id", "service", "model", "activity", "workflow", "persona", "role", "kind", "source",
    )  # fmt: skip

    key = models.UUIDField(unique=True)
    project = models.ForeignKey(Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    service = models.CharField(max_length=20)
    model = models.CharField(max_length=120, blank=True)
    activity = models.CharField(max_length=10)
    workflow = models.CharField(max_length=200, blank=True)
    persona = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=40, blank=True)
    kind = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return f"{self.model or self.service} in project {self.project_id}"


class Rollup(models.Model):
    """What one kind of work used in a quarter of an hour; `slot` is when that began.

    Days begin on a quarter of an hour in every time zone, so they are right in the viewer's.
    """

    MEASURES: ClassVar = (
        "cost", "input", "output", "cache_read", "cache_write", "vcpu_us", "gib_us", "unpriced_tokens", "unpriced_us",
    )  # fmt: skip

    slot = models.DateTimeField()
    work = models.ForeignKey(Work, on_delete=models.PROTECT, db_index=False)
    # The work's, once more: most questions are about one project.
    project = models.ForeignKey(
        Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    # USD; then tokens, and machine time in microseconds of one vCPU and of one GiB; the last two without a price.
    cost = models.DecimalField(max_digits=30, decimal_places=15)
    input = models.BigIntegerField()
    output = models.BigIntegerField()
    cache_read = models.BigIntegerField()
    cache_write = models.BigIntegerField()
    vcpu_us = models.BigIntegerField()
    gib_us = models.BigIntegerField()
    unpriced_tokens = models.BigIntegerField()
    unpriced_us = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["project", "slot"])]
        constraints = [models.UniqueConstraint(fields=["slot", "work"], name="one_sum_each")]

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:%M} of work {self.work_id}"


class RunSum(models.Model):
    """What one iteration of a step of a run has used, and between when."""

    DIMENSIONS: ClassVar = ("run_id", "step", "iteration", "candidate", "project_id", "person_id", "workflow", "source")

    key = models.UUIDField(unique=True)
    run_id = models.BigIntegerField(db_index=True)
    step = models.CharField(max_length=120, blank=True)
    iteration = models.IntegerField(null=True)
    candidate = models.CharField(max_length=40, blank=True)
    project = models.ForeignKey(
        Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False,
        related_name="+",
    )  # fmt: skip
    workflow = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=40, blank=True)
    cost = models.DecimalField(max_digits=30, decimal_places=15)
    unpriced = models.DecimalField(max_digits=20, decimal_places=6)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["project", "first_at"]), models.Index(fields=["first_at"])]

    def __str__(self) -> str:
        return f"step {self.step} of run {self.run_id}, iteration {self.iteration}"


class Check(models.Model):
    """The last comparison of the sums with the rows they stand for; one row."""

    at = models.DateTimeField()
    # Where they disagree: days in UTC, or "runs".
    days = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"check at {self.at:%Y-%m-%d %H:%M}"
