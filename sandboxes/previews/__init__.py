"""Previews: servers in a machine, each on an origin of its own, `PORT-ID.<PREVIEW_DOMAIN>`, for members only.

The portal's cookies never reach that origin. Instead:

member opens the portal's address ──> ticket: encrypted, for one use within a minute, noted in the member's session
  ──> /.courier/enter on the preview's origin takes the ticket ──> pass: a cookie of that origin alone, which names
      session, sandbox and port; whether the session and the membership still stand is looked at again and again
"""

import json
import re
import secrets
import shlex
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest

from codecourier import crypto
from codecourier.models import User
from sandboxes import e2b
from sandboxes.models import Sandbox

SOURCE = Path(__file__).with_name("inside.py").read_text()
LABEL = re.compile(r"([1-9]\d{0,4})-([1-9]\d{0,17})")
ENTER = "/.courier/enter"
NOTED = "preview_tickets"
TICKET_SECONDS, PASS_SECONDS, TICKETS = 60, 12 * 3600, 20
# The envd of E2B.
PLUMBING = ("49983",)
LOOK_SECONDS, SEEN = 3.0, 256


@dataclass(frozen=True)
class Address:
    """A server in a sandbox's machine."""

    port: int
    sandbox: int

    @property
    def host(self) -> str:
        """Its host name, without a port."""
        return f"{self.port}-{self.sandbox}.{settings.PREVIEW_DOMAIN}"

    def origin(self, base: str) -> str:
        """Its origin, with scheme and port of the portal's address `base`."""
        portal = urlsplit(base)
        port = f":{portal.port}" if portal.port else ""
        return f"{portal.scheme}://{self.host}{port}"


def address_of(host: str) -> Address | None:
    """What a host name stands for, None for any other than a preview's."""
    label, _, domain = host.lower().partition(":")[0].partition(".")
    found = LABEL.fullmatch(label)
    if not found or not settings.PREVIEW_DOMAIN or domain != settings.PREVIEW_DOMAIN or int(found[1]) > 65535:
        return None
    return Address(int(found[1]), int(found[2]))


@dataclass(frozen=True)
class Pass:
    """Who may see which server, by which session of the portal."""

    session: str
    sandbox: int
    port: int
    until: float
    nonce: str

    def sealed(self) -> str:
        """For a cookie or a URL; nobody but the portal can read or make one."""
        return crypto.encrypt(json.dumps(asdict(self)))


def opened(sealed: str, address: Address) -> Pass | None:
    """A pass for this address that is still good by its own words, else None."""
    try:
        found = Pass(**json.loads(crypto.decrypt(sealed)))
    except (crypto.Undecryptable, ValueError, TypeError):
        return None
    here = (found.sandbox, found.port) == (address.sandbox, address.port)
    return found if here and found.until > time.time() else None


def ticket(request: HttpRequest, address: Address) -> str:
    """Lets the member of this request in once, within a minute."""
    made = Pass(
        session=str(request.session.session_key),
        sandbox=address.sandbox,
        port=address.port,
        until=time.time() + TICKET_SECONDS,
        nonce=secrets.token_hex(16),
    )
    request.session[NOTED] = [*request.session.get(NOTED, []), made.nonce][-TICKETS:]
    # At once: the browser may follow the redirect before the answer's middleware has saved it.
    request.session.save()
    return made.sealed()


def redeem(sealed: str, address: Address) -> Pass | None:
    """The pass for a ticket that nobody has used before, else None."""
    found = opened(sealed, address)
    if not found or not _used_up(found):
        return None
    return Pass(found.session, found.sandbox, found.port, time.time() + PASS_SECONDS, secrets.token_hex(16))


def _used_up(found: Pass) -> bool:
    """Take the ticket's note out of the session; False when it isn't there any more."""
    with transaction.atomic():
        # Locked, so that of two at once one finds it.
        row = Session.objects.select_for_update().filter(pk=found.session).first()
        noted = row.get_decoded().get(NOTED, []) if row else []
        if not row or found.nonce not in noted:
            return False
        data = row.get_decoded() | {NOTED: [nonce for nonce in noted if nonce != found.nonce]}
        row.session_data = SessionStore().encode(data)
        row.save(update_fields=["session_data"])
        return True


def permitted(held: Pass) -> tuple[Sandbox, User] | None:
    """The sandbox and the person, if the session is still theirs and they may still see it."""
    user = get_user(cast(HttpRequest, SimpleNamespace(session=SessionStore(held.session))))
    if not isinstance(user, User):
        return None
    rows = Sandbox.objects.select_related("project").filter(project__in=user.projects, pk=held.sandbox)
    sandbox = rows.first()
    return (sandbox, user) if sandbox else None


@dataclass(frozen=True)
class Server:
    """Something that listens in a machine."""

    port: int
    program: str


class Looks:
    """What was seen lately, so that many open pages cost one look."""

    def __init__(self) -> None:
        self.seen: OrderedDict[str, tuple[float, list[Server]]] = OrderedDict()
        self.lock = threading.Lock()
        self.looking: dict[str, threading.Lock] = {}

    def servers(self, sandbox: Sandbox) -> list[Server]:
        """What listens. Raises e2b.ProviderError."""
        with self.lock:
            one = self.looking.setdefault(sandbox.provider_id, threading.Lock())
        with one:
            at, found = self.seen.get(sandbox.provider_id, (0.0, []))
            if time.monotonic() - at < LOOK_SECONDS and at:
                return found
            found = listening(sandbox)
            self.keep(sandbox.provider_id, found)
            return found

    def keep(self, machine: str, found: list[Server]) -> None:
        """The newest looks only."""
        with self.lock:
            self.seen[machine] = (time.monotonic(), found)
            self.seen.move_to_end(machine)
            while len(self.seen) > SEEN:
                old, _ = self.seen.popitem(last=False)
                self.looking.pop(old, None)


LOOKS = Looks()


def listening(sandbox: Sandbox) -> list[Server]:
    """One look into a running machine. Raises e2b.ProviderError."""
    command = shlex.join(["python3", "-I", "-S", "-c", SOURCE, *PLUMBING])
    said = e2b.machine_of(sandbox).run(command, "look for servers")
    try:
        found: list[Any] = json.loads(said)
        return [Server(int(port), str(name)[:40]) for port, name in found if 0 < int(port) < 65536][:50]
    except (ValueError, TypeError) as error:
        raise e2b.ProviderError(
            "Could not look for servers: the machine gave an answer that makes no sense."
        ) from error
