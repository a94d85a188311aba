"""What the relay looks after: use that nobody metered, and whether the sums agree with the rows."""

from datetime import UTC, timedelta

from django.utils import timezone

from codecourier import queue
from sandboxes.upkeep import due

from . import holding, ledger, rollups, tasks

WATCH_EVERY, SWEEP_EVERY, CHECK_EVERY, CHECK_ALL_EVERY = 10, 60, 3600, 86_400


def sweep() -> None:
    """Meter what a lost task has left, what runs on, and what nobody claimed."""
    if due("usage-sweep", SWEEP_EVERY) and not queue.is_long():
        ledger.orphans()
        ledger.sweep(tasks.meter_sandbox.enqueue)


def watch() -> None:
    """See how the budgets stand."""
    if due("usage-watch", WATCH_EVERY):
        holding.watch()


def check() -> None:
    """Compare sums and rows: of the last days each hour, of all each day."""
    if due("usage-check-all", CHECK_ALL_EVERY):
        rollups.check()
    elif due("usage-check", CHECK_EVERY):
        rollups.check((timezone.now() - timedelta(days=2)).astimezone(UTC).date())
