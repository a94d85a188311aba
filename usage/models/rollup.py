"""Sums of the ledger by quarters of an hour, so that reports stay fast and days are right in every time zone."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from codecourier.models import Project


class Rollup(models.Model):
    """What one kind of work used in a quarter of an hour; `slot` is when that began."""

    # What is told apart; `key` is made of these.
    DIMENSIONS: ClassVar = (
        "slot", "project_id", "person_id", "service", "model", "activity", "workflow", "persona", "role", "kind",
        "source", "run_id", "step", "iteration",
    )  # fmt: skip
    # What is added up; the last two of what has no price.
    MEASURES: ClassVar = (
        "cost", "input", "output", "cache_read", "cache_write", "vcpu_seconds", "gib_seconds", "unpriced_tokens",
        "unpriced_seconds",
    )  # fmt: skip

    key = models.UUIDField(unique=True)
    slot = models.DateTimeField()
    project = models.ForeignKey(
        Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False,
        related_name="+",
    )  # fmt: skip
    service = models.CharField(max_length=20)
    model = models.CharField(max_length=120, blank=True)
    activity = models.CharField(max_length=10)
    workflow = models.CharField(max_length=200, blank=True)
    persona = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=40, blank=True)
    kind = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=40, blank=True)
    run_id = models.BigIntegerField(null=True)
    step = models.CharField(max_length=120, blank=True)
    iteration = models.IntegerField(null=True)

    cost = models.DecimalField(max_digits=30, decimal_places=15, default=0)
    input = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    output = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    cache_read = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    cache_write = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    vcpu_seconds = models.DecimalField(max_digits=20, decimal_places=6, default=0)
    gib_seconds = models.DecimalField(max_digits=20, decimal_places=6, default=0)
    unpriced_tokens = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    unpriced_seconds = models.DecimalField(max_digits=20, decimal_places=6, default=0)

    class Meta:
        indexes = [
            models.Index(fields=["project", "slot"]),
            models.Index(fields=["slot"]),
            models.Index(fields=["run_id"], condition=models.Q(run_id__isnull=False), name="rollup_run"),
        ]

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:%M} {self.model or self.service}"


class Check(models.Model):
    """The last comparison of the sums with the rows they stand for; one row."""

    at = models.DateTimeField()
    # The days, in UTC, on which they disagree.
    days = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"check at {self.at:%Y-%m-%d %H:%M}"
