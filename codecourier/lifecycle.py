"""Rows that move: a status graph, compare-and-set moves, leases, and the one signal that tells others.

row.move(to)  one transaction: UPDATE ... WHERE status = old, a timeline row, reactions, nudges
claim(pk)     a lease on a row: owner, epoch, until; renewed while its holder works
"""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import close_old_connections, connection, models, transaction
from django.db.models import F, Q
from django.dispatch import Signal
from django.utils import timezone

from codecourier import live, queue, registries

logger = logging.getLogger(__name__)

# Sent inside the move's transaction with row, old and to. Receivers only enqueue one task.
moved = Signal()

OWNER = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Refused(Exception):
    """A guard refused a move; the message says why and who can change it."""


class Later(Exception):
    """A known fault that may pass: this attempt is over, the row is due again after its back-off."""


class ForbiddenMove(Exception):
    """A move that the graph doesn't have: a fault of the caller."""


class Transition(models.Model):
    """One move of one row, kept for ever: the timeline, and the source of what is metered."""

    kind = models.CharField(max_length=40)
    object_id = models.BigIntegerField()
    old = models.CharField(max_length=20)
    new = models.CharField(max_length=20)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        app_label = "codecourier"
        indexes = [models.Index(fields=["kind", "object_id", "id"])]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.old} -> {self.new}"


class Lifecycle(models.Model):
    """A row with a status that only `move()` writes."""

    EDGES: ClassVar[Mapping[str, frozenset[str]]]
    DEADLINES: ClassVar[Mapping[str, timedelta]] = {}

    status = models.CharField(max_length=20)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    status_at = models.DateTimeField(default=timezone.now)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def final(self) -> bool:
        """No edge leads out of this status."""
        return not self.EDGES.get(self.status)

    @property
    def history(self) -> models.QuerySet[Transition]:
        """Every move of this row, oldest first."""
        return Transition.objects.filter(kind=self._meta.label_lower, object_id=self.pk)

    def topics(self) -> list[str]:
        """Whom a change of this row concerns."""
        return []

    def move(self, to: str, *, reason: str = "", detail: str = "", at: datetime | None = None, **fields: Any) -> bool:
        """Go from the status this object was read with to `to`; True when this call made the move.

        `at` is when, if the caller has noted that elsewhere as well. False means that the row stands elsewhere by now;
        it is then read again. Raises ForbiddenMove for an edge that doesn't exist and Refused when a guard says no.
        """
        if to not in self.EDGES.get(self.status, frozenset()):
            raise ForbiddenMove(f"{self._meta.label} {self.pk} can't go from {self.status} to {to}.")
        with transaction.atomic():
            for guard in registries.guards:
                guard(self, to)
            made = self._write(to, at or timezone.now(), reason=reason, detail=detail, **fields)
        if not made:
            self.refresh_from_db()
        return made

    def _write(self, to: str, now: datetime, **fields: Any) -> bool:
        old, limit = self.status, self.DEADLINES.get(to)
        changes = {"status": to, "status_at": now, "deadline_at": now + limit if limit else None} | fields
        if not type(self)._default_manager.filter(pk=self.pk, status=old).update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        self.record(old, to, now)
        moved.send(type(self), row=self, old=old, to=to)
        self.nudge()
        return True

    def record(self, old: str, new: str, at: datetime) -> None:
        """Write the timeline row of a move (or of the row's making, with an empty `old`)."""
        Transition.objects.create(
            kind=self._meta.label_lower,
            object_id=self.pk,
            old=old,
            new=new,
            reason=self.reason,
            detail=self.detail,
            at=at,
        )

    def nudge(self) -> None:
        """Tell whoever shows this row that it changed."""
        live.nudge(*self.topics())


class Leased(models.Model):
    """A row that one worker at a time brings forward."""

    LEASE: ClassVar[timedelta] = timedelta(seconds=6)

    lease_owner = models.CharField(max_length=120, blank=True, editable=False)
    lease_epoch = models.BigIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    # Somebody asked while the lease was held: its holder's work is done once more.
    again = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    # The sweep looks at the row then.
    due_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)

    class Meta:
        abstract = True

    @classmethod
    @contextmanager
    def claim(cls, pk: int) -> Iterator[Self | None]:
        """The row, leased to the caller, or None while somebody else holds it (who then does it again)."""
        row = cls._acquire(pk)
        if row is None:
            yield None
            return
        try:
            with Keeper(row):
                yield row
        except Exception as error:
            row.failed(error)
            row._release(timezone.now() + row.backoff(), attempts=F("attempts") + 1)
        else:
            row.refresh_from_db()
            row._release(row.next_look(), attempts=0)

    @classmethod
    def _acquire(cls, pk: int) -> Self | None:
        now = timezone.now()
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
        rows, until = cls._default_manager.filter(pk=pk), now + cls.LEASE
        taken = {"lease_owner": OWNER, "lease_until": until, "due_at": until, "lease_epoch": F("lease_epoch") + 1}
        if rows.filter(free).update(again=False, **taken):
            return rows.get()
        # The holder may have let go between the two statements; then this hint is ours to follow.
        if not rows.filter(lease_until__gte=now).update(again=True) and rows.filter(free).update(again=False, **taken):
            return rows.get()
        return None

    def _release(self, due_at: datetime | None, **fields: Any) -> None:
        mine = type(self)._default_manager.filter(pk=self.pk, lease_epoch=self.lease_epoch)
        if mine.filter(again=False).update(lease_until=None, due_at=due_at, **fields):
            return
        if mine.update(lease_until=None, due_at=timezone.now(), again=False, **fields):
            registries.sweepers[type(self)].enqueue(self.pk)

    def backoff(self) -> timedelta:
        """How long after a failed attempt the next one comes: 1 s doubling to 1 min."""
        return timedelta(seconds=min(2**self.attempts, 60))

    def next_look(self) -> datetime | None:
        """When the sweep has to look at this row again if nothing happens before."""
        return None

    def failed(self, error: Exception) -> None:
        """Own an exception of this row's work: it is logged, and tried again after the back-off."""
        if isinstance(error, Later):
            return
        logger.exception("%s %s: attempt %s failed", self._meta.label, self.pk, self.attempts + 1, exc_info=error)


class Keeper:
    """Renews a lease from a thread of its own, first after a third of its time: short work never starts it."""

    def __init__(self, row: Leased) -> None:
        self.row = row
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, name=f"lease-{row.pk}", daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def run(self) -> None:
        """Push the lease ahead until the work is over or the lease is somebody else's."""
        try:
            while not self.done.wait(self.row.LEASE.total_seconds() / 3):
                if not self.renew():
                    return
        finally:
            connection.close()

    def renew(self) -> bool:
        """One renewal; a database that is away is tried again at the next beat."""
        until = timezone.now() + self.row.LEASE
        rows = type(self.row)._default_manager.filter(pk=self.row.pk, lease_epoch=self.row.lease_epoch)
        try:
            close_old_connections()
            return bool(rows.update(lease_until=until, due_at=until))
        except Exception:
            logger.warning("Lease of %s %s could not be renewed", self.row._meta.label, self.row.pk)
            return True


def sweep() -> int:
    """Enqueue the next step of every row that is due and unleased; the number of rows.

    While the queue is long there is nothing to remind of: without a worker it would only grow.
    """
    if queue.is_long():
        return 0
    return sum(sweep_model(model, task.enqueue) for model, task in registries.sweepers.items())


def sweep_model(model: type[Any], enqueue: Callable[[int], Any]) -> int:
    """Enqueue what is due in one model; of several sweepers each row is one's own."""
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    count = 0
    for pk in list(model._default_manager.filter(free, due_at__lte=now).values_list("pk", flat=True)[:200]):
        with transaction.atomic():
            mine = model._default_manager.filter(free, pk=pk, due_at__lte=now)
            if mine.update(due_at=now + timedelta(seconds=5)):
                enqueue(pk)
                count += 1
    return count
