"""What follows when a turn or a machine comes to an end: its use is metered. Before a sandbox is deleted, at once."""

from typing import Any

from django.db.models.signals import pre_delete
from django.dispatch import receiver

from codecourier.lifecycle import moved
from sandboxes.models import Sandbox, Turn

from . import ledger, tasks


@receiver(moved, sender=Turn)
def turn_moved(row: Turn, **_: Any) -> None:
    """Its tokens, and the machine time until its end."""
    if row.final and row.started_at:
        tasks.meter_sandbox.enqueue(row.sandbox_id)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, old: str, **_: Any) -> None:
    """The end of a running stretch, or of all."""
    if old == Sandbox.Status.RUNNING or row.final:
        tasks.meter_sandbox.enqueue(row.pk)


@receiver(pre_delete, sender=Sandbox)
def sandbox_deleted(instance: Sandbox, **_: Any) -> None:
    """With its rows goes what could still be metered."""
    ledger.meter(instance.pk)
