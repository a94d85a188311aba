"""What the relay looks after about once a second: wishes and deadlines that passed, orphans, the trash."""

import logging
from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from codecourier.lifecycle import Transition

from . import e2b, fleet
from .models import Orphan, Sandbox, Wanted
from .publishing import hooks
from .reasons import Reason

logger = logging.getLogger(__name__)

# A worker that holds the lease gets this long past the deadline to say it itself.
COURTESY = timedelta(seconds=2)
# A create may take this long before its machine counts as nobody's.
NEWBORN = timedelta(minutes=3)
# A pause that is under way is left alone for so long.
SETTLED = timedelta(seconds=10)
RECONCILE_EVERY, PURGE_EVERY = 15, 3600


def enforce() -> None:
    """Rows past their deadline, whatever holds them up: needs no worker and no provider."""
    past = timezone.now() - COURTESY
    for sandbox in Sandbox.objects.alive().filter(wanted=Wanted.KILL, stop_by__lt=past):
        fleet.conclude(sandbox)
    for sandbox in Sandbox.objects.alive().filter(deadline_at__lt=past):
        fleet.finish(sandbox, Sandbox.Status.ERROR, Reason.OVERDUE, "The boot took longer than it may.")
    for sandbox in Sandbox.objects.filter(
        status=Sandbox.Status.CREATING, phases__status="running", phases__deadline_at__lt=past - timedelta(seconds=20)
    ):
        fleet.finish(sandbox, Sandbox.Status.ERROR, Reason.OVERDUE, "A phase of the boot took longer than it may.")


def say_stopped() -> None:
    """The local host has ended for good, and its machines with it."""
    for sandbox in Sandbox.objects.alive().filter(provider=e2b.LOCAL):
        sandbox.released_at = timezone.now()
        Sandbox.objects.filter(pk=sandbox.pk).update(released_at=sandbox.released_at)
        fleet.finish(sandbox, Sandbox.Status.KILLED, Reason.STOPPED)


def due(name: str, seconds: int) -> bool:
    """True once in so many seconds in this process."""
    return cache.add(f"upkeep-{name}", True, timeout=seconds)


def reconcile() -> None:
    """Compare the provider's machines with our rows; both kinds of orphan are dealt with and noted."""
    if not due("reconcile", RECONCILE_EVERY):
        return
    for provider in e2b.deployment_providers():
        try:
            reconcile_provider(provider)
        except e2b.ProviderError as error:
            logger.warning("Machines can't be compared with the rows: %s", error)


def reconcile_provider(provider: e2b.Provider) -> None:
    """One provider's machines against the rows that claim them."""
    found = {machine.id: machine for machine in e2b.machines(provider)}
    claimed = dict(Sandbox.objects.alive().exclude(provider_id="").values_list("provider_id", "pk"))
    for machine in found.values():
        if machine.id not in claimed and not newborn(machine):
            remove(provider, machine)
    for sandbox in Sandbox.objects.filter(provider=provider.name, status="paused", wanted=Wanted.PAUSE):
        if sandbox.provider_id in found and sandbox.status_at < timezone.now() - SETTLED:
            put_back_to_sleep(sandbox, found[sandbox.provider_id], provider)
    rows = Sandbox.objects.filter(provider=provider.name, status__in=["running", "paused"])
    for sandbox in rows.exclude(provider_id__in=found):
        miss(sandbox, provider)


def put_back_to_sleep(sandbox: Sandbox, machine: e2b.Info, provider: e2b.Provider) -> None:
    """A machine that something resumed while its row sleeps: connecting wakes it, and it costs while awake."""
    if machine.state == "running":
        logger.warning("Sandbox %s sleeps but its machine was awake: paused again", sandbox.pk)
        e2b.pause(provider, machine.id)


def newborn(machine: e2b.Info) -> bool:
    """Made for a row that is still creating and does not know its machine yet."""
    pk = machine.metadata.get("sandbox", "")
    young = machine.started_at > timezone.now() - NEWBORN
    return young and pk.isdigit() and Sandbox.objects.alive().filter(pk=int(pk), provider_id="").exists()


def remove(provider: e2b.Provider, machine: e2b.Info) -> None:
    """Kill a machine that carries our name and that no live row claims."""
    if machine.metadata.get("codecourier") != settings.DEPLOYMENT:
        return
    e2b.kill(provider, machine.id)
    pk = machine.metadata.get("sandbox", "")
    sandbox = Sandbox.objects.filter(pk=int(pk)).first() if pk.isdigit() else None
    # Until then its time is the sandbox's own.
    since = max(machine.started_at, sandbox.ended_at or machine.started_at) if sandbox else machine.started_at
    Orphan.objects.get_or_create(
        provider_id=machine.id,
        defaults={
            "what": Orphan.What.MACHINE,
            "provider": provider.name,
            "sandbox": sandbox,
            "done": "Killed: no live sandbox claims it.",
            "seconds": max(0, int((timezone.now() - since).total_seconds())),
            "cpu": machine.cpu,
            "memory_mb": machine.memory_mb,
        },
    )


def miss(sandbox: Sandbox, provider: e2b.Provider) -> None:
    """A live row whose machine is not in the provider's list: confirmed, noted, and ended."""
    try:
        e2b.info(provider, sandbox.provider_id)
    except e2b.Gone:
        with transaction.atomic():
            Orphan.objects.get_or_create(
                provider_id=sandbox.provider_id,
                defaults={
                    "what": Orphan.What.ROW,
                    "provider": provider.name,
                    "sandbox": sandbox,
                    "done": "The sandbox was ended: its machine is gone.",
                },
            )
            Sandbox.objects.filter(pk=sandbox.pk).update(kept_until=None, due_at=timezone.now())
            Sandbox.poke(sandbox.pk)


def purge() -> None:
    """Empty the trash of what lay in it long enough."""
    if not due("purge", PURGE_EVERY):
        return
    hooks.forget()
    before = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    for sandbox in Sandbox.objects.filter(deleted_at__lt=before, status__in=Sandbox.FINAL, released_at__isnull=False):
        with transaction.atomic():
            Transition.objects.filter(kind="sandboxes.sandbox", object_id=sandbox.pk).delete()
            sandbox.delete()
