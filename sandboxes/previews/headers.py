"""Which headers pass between a browser and a server in a machine, either way."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from django.conf import settings

from sandboxes.e2b import Entrance

Headers = Iterable[tuple[bytes, bytes]]

# Of one connection only (RFC 9110, 7.6.1).
HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
       "transfer-encoding", "upgrade"}  # fmt: skip
# Ours to say, or what opens machines at the provider.
FORGED = {"host", "forwarded", "x-access-token", "expect"}
FORGED_BEGINNINGS = ("x-forwarded-", "e2b-", "sec-websocket-")
# What would reach beyond the preview's own origin: other names below the domain, or the browser's whole site data.
BEYOND = {"strict-transport-security", "clear-site-data", "alt-svc", "public-key-pins", "expect-ct"}
LOOPBACK = {"localhost", "127.0.0.1", "0.0.0.0", "::1"}  # noqa: S104


def cookie_name() -> str:
    """The pass's; with the prefix browsers keep it to this host and https."""
    return "__Host-courier-preview" if settings.SECURE else "courier-preview"


def cookies(value: str) -> dict[str, str]:
    """A Cookie header's pairs."""
    pairs = (pair.strip().partition("=") for pair in value.split(";"))
    return {name: text for name, mark, text in pairs if mark}


def first(headers: Headers, name: bytes) -> str:
    """The first value of a header, else empty."""
    return next((value.decode("latin1") for key, value in headers if key == name), "")


def inward(headers: Headers, entrance: Entrance, *, origin: str, client: str) -> Iterator[tuple[str, str]]:
    """A browser's headers for the server: without the pass, and with where the request came from.

    `origin` is the preview's. A server that is picked by its own name is told that name as the page's origin too.
    """
    there = urlsplit(entrance.origin)
    for name, value in ((key.decode("latin1").lower(), text.decode("latin1")) for key, text in headers):
        if name in HOP or name in FORGED or name.startswith(FORGED_BEGINNINGS):
            continue
        if name == "cookie":
            value = "; ".join(pair for pair in map(str.strip, value.split(";")) if _is_theirs(pair))
        elif name in {"origin", "referer"} and entrance.named and (value + "/").startswith(origin + "/"):
            value = entrance.origin + value[len(origin) :]
        if value or name != "cookie":
            yield name, value
    here = urlsplit(origin)
    yield "host", there.netloc if entrance.named else here.netloc
    yield "x-forwarded-for", client
    yield "x-forwarded-host", here.netloc
    yield "x-forwarded-proto", here.scheme
    yield from entrance.headers.items()


def _is_theirs(pair: str) -> bool:
    return pair.partition("=")[0].strip() != cookie_name()


def outward(headers: Headers, entrance: Entrance, port: int) -> Iterator[tuple[bytes, bytes]]:
    """A server's headers for the browser: its cookies stay with this origin, its redirects too."""
    for key, value in headers:
        name = key.decode("latin1").lower()
        if name in HOP or name in BEYOND:
            continue
        if name == "set-cookie":
            value = _own_cookie(value.decode("latin1")).encode("latin1")
        elif name == "location":
            value = _own_place(value.decode("latin1"), entrance, port).encode("latin1")
        if value:
            yield name.encode("latin1"), value


def _own_cookie(value: str) -> str:
    """Without a domain, and nothing at all for one that takes the place of the pass."""
    if not _is_theirs(value.partition(";")[0]):
        return ""
    head, *attributes = value.split(";")
    kept = [part for part in attributes if part.partition("=")[0].strip().lower() != "domain"]
    return ";".join([head, *kept])


def _own_place(value: str, entrance: Entrance, port: int) -> str:
    """A redirect to the server under a name of its own, as a path; any other as it is."""
    try:
        to = urlsplit(value)
        own = to.netloc == urlsplit(entrance.origin).netloc or (to.hostname in LOOPBACK and to.port == port)
    except ValueError:
        return value
    if not own or to.scheme not in {"http", "https"}:
        return value
    path = "/" + to.path.lstrip("/")
    return f"{path}?{to.query}" if to.query else path
