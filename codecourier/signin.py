"""Signing in by a link that works once; the other ways in are allauth's."""

from django.core import signing
from django.urls import reverse

from codecourier.models import User

SALT = "codecourier.signin"
# Long enough to survive a lunch break between `up` and the first click.
MAX_AGE = 24 * 3600


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
