"""What the plan of a provider allows: so many machines at once, so many new ones per second. The rest waits in line.

The line is the running `create` phases of an account, oldest first. A place is taken under a lock of the database, so
that any number of workers together keep to the plan.
"""

import zlib
from datetime import datetime, timedelta

from django.contrib.humanize.templatetags.humanize import ordinal
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from codecourier import live

from . import e2b
from .models import Phase, Sandbox

LOCK = 0x510C
# A second, and what two calls may differ on their way.
WINDOW = timedelta(seconds=1.1)
# A row that nobody will look at for longer than this is passed over: its last attempt failed.
ATTENDED = timedelta(seconds=10)
LOOK_AGAIN = (1.0, 10.0)


def take(sandbox: Sandbox, provider: e2b.Provider) -> int:
    """0 when a machine may be asked for now, which is then counted; else the place in line, from 1."""
    account = e2b.account(provider)
    with transaction.atomic():
        now = _alone(account)
        Sandbox.objects.filter(pk=sandbox.pk).exclude(account=account).update(account=account)
        place = _place(sandbox, account, now)
        if place > _room(sandbox, provider, account, now):
            return place
        Sandbox.objects.filter(pk=sandbox.pk).update(create_asked_at=now)
    sandbox.create_asked_at, sandbox.account = now, account
    return 0


def _alone(account: str) -> datetime:
    """Hold the account's lock until the transaction ends; the database's clock after it was got."""
    key = zlib.crc32(account.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, key])
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _place(sandbox: Sandbox, account: str, now: datetime) -> int:
    """1 for who tries again: its place among the machines is kept."""
    if sandbox.create_asked_at:
        return 1
    line = Phase.objects.filter(
        name=Phase.Name.CREATE, status=Phase.Status.RUNNING, sandbox__status=Sandbox.Status.CREATING,
        sandbox__account=account, sandbox__create_asked_at=None, sandbox__due_at__lt=now + ATTENDED,
    )  # fmt: skip
    mine = sandbox.phases.get(name=Phase.Name.CREATE)
    ahead = Q(started_at__lt=mine.started_at) | Q(started_at=mine.started_at, pk__lt=mine.pk)
    return line.filter(ahead).exclude(sandbox=sandbox).count() + 1


def _room(sandbox: Sandbox, provider: e2b.Provider, account: str, now: datetime) -> int:
    """How many may ask for a machine now."""
    rows = Sandbox.objects.filter(account=account)
    recent = rows.filter(create_asked_at__gt=now - WINDOW).count()
    room = e2b.creates_per_second(provider) - recent
    if sandbox.create_asked_at:
        return room
    return min(room, e2b.max_running(provider) - rows.filter(HOLDING).count())


HOLDING = (
    Q(status=Sandbox.Status.CREATING, create_asked_at__isnull=False)
    | Q(status=Sandbox.Status.RUNNING)
    | Q(status__in=Sandbox.FINAL, released_at=None) & ~Q(provider_id="")
)


def wait(sandbox: Sandbox, phase: Phase, place: int, provider: e2b.Provider) -> None:
    """Say so on the page. Time in line is nobody's fault: no deadline runs meanwhile."""
    detail = f"Waiting for a slot, {ordinal(place)} in line."
    stood = Phase.objects.filter(pk=phase.pk).exclude(detail=detail, deadline_at=None)
    with transaction.atomic():
        if stood.update(detail=detail, deadline_at=None):
            Sandbox.objects.filter(pk=sandbox.pk).update(deadline_at=None)
            live.nudge(*phase.topics())
    shortest, longest = LOOK_AGAIN
    seconds = min(max(place / e2b.creates_per_second(provider), shortest), longest)
    sandbox.look_again = timezone.now() + timedelta(seconds=seconds)
    sandbox.deadline_at = phase.deadline_at = None


def proceed(sandbox: Sandbox, phase: Phase) -> None:
    """The wait is over, or the provider has just said that there is none to be had: deadlines run from here."""
    now = timezone.now()
    phase.deadline_at = now + Phase.LIMITS[Phase.Name.CREATE]
    sandbox.deadline_at = now + Sandbox.DEADLINES[Sandbox.Status.CREATING]
    with transaction.atomic():
        Phase.objects.filter(pk=phase.pk).update(deadline_at=phase.deadline_at, detail="")
        Sandbox.objects.filter(pk=sandbox.pk).update(deadline_at=sandbox.deadline_at)
        live.nudge(*phase.topics())


def room_to_wake(sandbox: Sandbox) -> bool:
    """Whether one more machine may run; those that sleep don't count."""
    provider = e2b.provider_of(sandbox.project)
    return Sandbox.objects.filter(HOLDING, account=e2b.account(provider)).count() < e2b.max_running(provider)


def wait_asleep(sandbox: Sandbox) -> None:
    """Say on the page of a sandbox that shall wake why it sleeps still."""
    detail = "Waiting for a slot: as many sandboxes run as the plan allows. It wakes as soon as one ends or sleeps."
    with transaction.atomic():
        if Sandbox.objects.filter(pk=sandbox.pk).exclude(detail=detail).update(detail=detail):
            sandbox.nudge()
    sandbox.look_again = timezone.now() + timedelta(seconds=LOOK_AGAIN[0])
