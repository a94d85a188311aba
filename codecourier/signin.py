"""Signing in: by e-mail and password, or by a link that works once."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core import signing
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from codecourier.models import AuditEntry, User

SALT = "codecourier.signin"
# Long enough to survive a lunch break between `up` and the first click.
MAX_AGE = 24 * 3600
# Wrong passwords for one address from one place before the door is shut, and for how long they count.
ATTEMPTS = 10
WINDOW_MINUTES = 15
FAILED = "sign-in.failed"


class EmailBackend(ModelBackend):
    """E-mail address in any case, and password."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """The user, or None; an unknown address takes as long as a wrong password."""
        user = User.objects.filter(email=username or "").first()
        if user is None:
            User().set_password(password)
            return None
        return user if user.check_password(password or "") and self.user_can_authenticate(user) else None


def link(user: User, base_url: str) -> str:
    """A sign-in link for one use within a day: a sign-in by anybody ends it."""
    return base_url.rstrip("/") + reverse("sign-in-link", args=[signing.dumps([user.pk, _stamp(user)], salt=SALT)])


def user_of(token: str) -> User | None:
    """Whom a link's token lets in; None when it is used, too old or forged."""
    try:
        pk, stamp = signing.loads(token, salt=SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=pk, is_active=True).first()
    return user if user and _stamp(user) == stamp else None


def _stamp(user: User) -> str:
    return user.last_login.isoformat() if user.last_login else ""


def shut(email: str, ip: str) -> bool:
    """Whether this address has had too many wrong passwords from this place lately."""
    since = timezone.now() - timedelta(minutes=WINDOW_MINUTES)
    return AuditEntry.objects.filter(action=FAILED, subject=email[:200], data__ip=ip, at__gte=since).count() >= ATTEMPTS


def note_failure(email: str, ip: str) -> None:
    """Count one wrong password; the password itself is never kept."""
    AuditEntry.objects.create(action=FAILED, subject=email[:200], data={"ip": ip})
