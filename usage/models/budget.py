"""Budgets, and what is set aside of them for work that goes on."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.models import Project


class Budget(models.Model):
    """What may be spent: in a month (UTC) by everybody, a project or a person, or by a single run."""

    class Scope(models.TextChoices):
        """Whose spending counts."""

        ORGANISATION = "organisation", "Organisation, each month"
        PROJECT = "project", "Project, each month"
        PERSON = "person", "Person, each month"
        RUN = "run", "Each run of the project"

    # Percent from which on people are told; at the last nothing more is begun.
    LEVELS: ClassVar = (80, 90, 100)

    scope = models.CharField(max_length=20, choices=Scope)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    amount = models.DecimalField("amount (USD)", max_digits=12, decimal_places=2, validators=[MinValueValidator(0)])
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    set_at = models.DateTimeField(default=timezone.now, editable=False)
    # As it was looked at last, for banners: the month, what is spent of it, and the level that this has passed.
    month = models.DateField(null=True, editable=False)
    spent = models.DecimalField(max_digits=30, decimal_places=15, default=0, editable=False)
    level = models.PositiveSmallIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["scope", "id"]
        permissions = [("view_reports", "Can see the usage of the whole organisation")]
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "project", "person"], name="one_budget_each", nulls_distinct=False,
                violation_error_message="There is such a budget already. Change that one.",
            ),
            models.CheckConstraint(
                condition=Q(scope="organisation", project=None, person=None)
                | Q(scope__in=["project", "run"], project__isnull=False, person=None)
                | Q(scope="person", project=None, person__isnull=False),
                name="budget_is_for_one",
                violation_error_message="A budget is for the organisation, for one project, for each of its runs, "
                "or for one person.",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        whose = {"organisation": "the organisation", "project": f"project {self.project}",
                 "person": str(self.person), "run": f"a run in {self.project}"}  # fmt: skip
        return f"budget of {whose[self.scope]}"

    @property
    def closed(self) -> bool:
        """It was found used up this month, what runs included."""
        this = timezone.now().date().replace(day=1)
        return self.level == self.LEVELS[-1] and self.month == this and self.spent >= self.amount


class Reservation(models.Model):
    """Set aside for a turn that is about to run, until it has been metered."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    run_id = models.BigIntegerField(null=True)
    # The turn that it is for, from its beginning on.
    turn_id = models.BigIntegerField(null=True, unique=True)
    amount = models.DecimalField(max_digits=12, decimal_places=4)
    made_at = models.DateTimeField(default=timezone.now)
    released_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["project"], condition=Q(released_at=None), name="reservation_open")]

    def __str__(self) -> str:
        return f"${self.amount} for run {self.run_id}"

    def release(self) -> None:
        """What was set aside is free again; asked twice, nothing more happens."""
        Reservation.objects.filter(pk=self.pk, released_at=None).update(released_at=timezone.now())
