"""The ledger: what was used, once and for ever."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from codecourier.models import Project

from .rate import Rate


class Labels(models.Model):
    """Whose work it was, as known then: plain numbers and names, so that nothing that is deleted takes it away."""

    sandbox_id = models.BigIntegerField(null=True)
    turn_id = models.BigIntegerField(null=True)
    run_id = models.BigIntegerField(null=True)
    step = models.CharField(max_length=120, blank=True)
    iteration = models.IntegerField(null=True)
    candidate = models.CharField(max_length=40, blank=True)
    issue = models.CharField(max_length=40, blank=True)
    workflow = models.CharField(max_length=200, blank=True)
    workflow_id = models.BigIntegerField(null=True)
    persona = models.CharField(max_length=200, blank=True)
    persona_id = models.BigIntegerField(null=True)
    role = models.CharField(max_length=40, blank=True)
    kind = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=40, blank=True)
    person_name = models.CharField(max_length=200, blank=True)
    project_name = models.CharField(max_length=120, blank=True)

    class Meta:
        abstract = True


class Entry(Labels):
    """A quantity of one metric that was used, at the price of that moment. Never changed and never deleted.

    What was wrong is corrected by two more rows with the same `fact`: one that takes the first back, with its
    quantity and cost below zero, and one as it should have been. So every sum over rows is right without looking at
    which corrects which.
    """

    class Activity(models.TextChoices):
        """What a machine did while it ran, or what tokens were for."""

        TURN = "turn", "Working"
        BOOT = "boot", "Booting"
        IDLE = "idle", "Idle"
        ORPHAN = "orphan", "Orphaned"

    # Once for each metered fact, and for each correction of it.
    key = models.CharField(max_length=120, unique=True)
    fact = models.CharField(max_length=100)
    corrects = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="corrections")
    service = models.CharField(max_length=20)
    model = models.CharField(max_length=120, blank=True)
    metric = models.CharField(max_length=20, choices=Rate.Metric)
    activity = models.CharField(max_length=10, choices=Activity)
    quantity = models.DecimalField(max_digits=20, decimal_places=6)
    # USD of one unit, and of the quantity; null without a rate, which is not the same as free.
    price = models.DecimalField(max_digits=24, decimal_places=15, null=True)
    cost = models.DecimalField(max_digits=30, decimal_places=15, null=True)
    rate = models.ForeignKey(
        Rate, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    project = models.ForeignKey(
        Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    # When it was used, and that day in UTC.
    at = models.DateTimeField()
    day = models.DateField()
    recorded_at = models.DateTimeField(default=timezone.now)

    # Written together with its cost.
    TOKENS: ClassVar = (Rate.Metric.INPUT, Rate.Metric.OUTPUT, Rate.Metric.CACHE_READ, Rate.Metric.CACHE_WRITE)

    class Meta:
        verbose_name_plural = "entries"
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["project", "at"]),
            models.Index(fields=["at"]),
            models.Index(fields=["sandbox_id"], name="entry_sandbox"),
            models.Index(fields=["run_id"], condition=Q(run_id__isnull=False), name="entry_run"),
            models.Index(fields=["workflow_id", "run_id"], condition=Q(run_id__isnull=False), name="entry_workflow"),
            models.Index(fields=["model"], condition=Q(cost=None), name="entry_unpriced"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(price=None, cost=None) | Q(cost=F("price") * F("quantity")),
                name="entry_cost_is_the_product",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} {self.metric} of {self.model or self.service}"

    @property
    def exact(self) -> dict[str, str]:
        """Quantity, price and cost to the last digit, without zeros behind; empty without a price."""
        found = {"quantity": self.quantity, "price": self.price, "cost": self.cost}
        return {name: "" if value is None else f"{value.normalize():,f}" for name, value in found.items()}


class Meter(models.Model):
    """How far a sandbox has been metered: locked by whoever meters it, closed when nothing more can come."""

    sandbox_id = models.BigIntegerField(primary_key=True)
    looked_at = models.DateTimeField(null=True)
    closed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"meter of sandbox {self.sandbox_id}"
