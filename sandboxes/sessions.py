"""The longest session of a provider's plan: a sandbox that needs longer is paused and resumed across it.

A pause keeps the memory, so commands go on where they were; the relay reads on from what is stored. Between commands
it is done with time in hand, during one only when it has to be (https://e2b.dev/docs/sandbox/persistence).
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from codecourier import live

from . import e2b
from .models import Sandbox

logger = logging.getLogger(__name__)

# Left of the session when it is broken off under a command: a pause takes about 4 s per GiB.
LAST_MOMENT = timedelta(minutes=2)


def due_at(sandbox: Sandbox) -> datetime | None:
    """When its machine has to be paused and resumed; None where sessions have no end."""
    longest = e2b.longest_session(sandbox.provider)
    if longest is None or sandbox.machine_since is None:
        return None
    working = sandbox.jobs.live().exists()
    return sandbox.machine_since + (longest - LAST_MOMENT if working else longest * 3 / 4)


def renew(sandbox: Sandbox) -> None:
    """Pause and resume at once. Left half-way, the next look at the sandbox finds its machine asleep and wakes it."""
    provider = e2b.provider_of(sandbox.project)
    logger.info("Sandbox %s: its session is renewed", sandbox.pk)
    Sandbox.objects.filter(pk=sandbox.pk).update(kept_until=None)
    e2b.pause(provider, sandbox.provider_id)
    e2b.connect(provider, sandbox.provider_id)
    begin(sandbox)


def begin(sandbox: Sandbox) -> None:
    """Its machine has just been resumed: the session counts from here, and what the relay lost is followed again."""
    now = timezone.now()
    fields = {"machine_since": now, "kept_until": now + settings.PROVIDER_TIMEOUT / 2}
    Sandbox.objects.filter(pk=sandbox.pk).update(**fields)
    sandbox.refresh_from_db(fields=list(fields))
    vars(sandbox).pop("_machine", None)
    live.nudge("relay")
