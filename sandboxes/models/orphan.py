"""The orphan ledger."""

from django.db import models
from django.utils import timezone

from .sandbox import Sandbox


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

    # As the provider said; 0 for a row without a machine.
    cpu = models.PositiveSmallIntegerField(default=0, db_default=0)
    memory_mb = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.what} {self.provider_id}"
