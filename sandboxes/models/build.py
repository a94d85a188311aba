"""Templates of a size, built at a provider where cpu and memory are fixed in the template."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

from codecourier.lifecycle import Leased, Lifecycle
from codecourier.models import Project

# How often the provider is asked how a build goes.
POLL = timedelta(seconds=2)
# As much of the provider's words as a page shows.
LOG_CHARS = 20_000


class Build(Lifecycle, Leased):
    """One size of one image in one provider account, built once for everybody who wants it."""

    class Status(models.TextChoices):
        """A failed one is tried again when somebody wants it anew."""

        BUILDING = "building", "Building"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    EDGES: ClassVar = {
        Status.BUILDING: frozenset({Status.READY, Status.FAILED}),
        Status.FAILED: frozenset({Status.BUILDING}),
        Status.READY: frozenset(),
    }
    DEADLINES: ClassVar = {Status.BUILDING: timedelta(minutes=14)}

    # `e2b.account`: the key's, not the key.
    account = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    # Whose key it is built with: the project that wanted it first.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    image = models.CharField(max_length=60)
    cpu = models.PositiveSmallIntegerField()
    memory_mb = models.PositiveIntegerField()
    # Before the provider is asked; without an id after it, its answer was lost.
    asked_at = models.DateTimeField(null=True, blank=True)
    template_id = models.CharField(max_length=120, blank=True)
    build_id = models.CharField(max_length=120, blank=True)
    log = models.TextField(blank=True)
    # Entries of the provider's log that are in ours.
    entries = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="one_build_of_a_size")]

    def __str__(self) -> str:
        return self.name

    def next_look(self) -> datetime | None:
        """Soon, while it is built."""
        return timezone.now() + POLL if self.status == self.Status.BUILDING else None
