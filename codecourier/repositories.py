"""Which repositories a machine may be sent to: https or ssh, public hosts; more where the deployment allows it."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

SCP = re.compile(r"^(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>[^-\s][^\s]*)\Z")
BRANCH = re.compile(r"^(?![-/.])(?!.*(\.\.|//|@\{|\\))[^\s~^:?*\[\x00-\x1f\x7f]+(?<![/.])\Z")
SCHEMES = frozenset({"https", "ssh"})
LOCAL_SCHEMES = frozenset({"http", "file", "git"})


def validate(url: str) -> None:
    """Raise ValidationError with what is wrong with a repository's URL."""
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValidationError("A repository URL has no spaces or control characters.")
    if url.startswith("-"):
        raise ValidationError("A repository URL can't start with a dash.")
    if is_local(url):
        _validate_local(url)
    else:
        _validate_remote(url)


def _validate_remote(url: str) -> None:
    host = _host(url)
    if _private(host) and not settings.ALLOW_LOCAL_REPOSITORIES:
        raise ValidationError(f"{host} is a private address; this deployment reaches public repositories only.")


def is_local(url: str) -> bool:
    """A path on the portal's own machine; it travels into a sandbox as a bundle."""
    return url.startswith(("/", "./", "../", "~", "file:"))


def local_path(url: str) -> Path:
    """The folder a local URL names."""
    return Path(url.removeprefix("file://")).expanduser().resolve()


def _validate_local(url: str) -> None:
    if not settings.ALLOW_LOCAL_REPOSITORIES:
        raise ValidationError("Local paths are not allowed here. Use an https or ssh URL.")
    if not local_path(url).is_dir():
        raise ValidationError(f"{url} is not a folder on this machine.")


def _host(url: str) -> str:
    if scp := SCP.match(url):
        return scp["host"]
    parts = _split(url)
    allowed = SCHEMES | (LOCAL_SCHEMES if settings.ALLOW_LOCAL_REPOSITORIES else frozenset())
    if parts[0] not in allowed or not parts[1]:
        raise ValidationError("Use an https or ssh URL, such as https://github.com/owner/name.git.")
    if parts[2]:
        raise ValidationError("Leave the password or token out of the URL; store it as a key of the project.")
    return parts[1]


def _split(url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.password or ""
    except ValueError as error:
        raise ValidationError(f"This is no URL: {error}.") from error


def origin_of(url: str) -> str:
    """Scheme, host and port of a web address, in lower case; empty for every other kind of address."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    schemes = {"https", "http"} if settings.ALLOW_LOCAL_REPOSITORIES else {"https"}
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.scheme in schemes and parts.hostname else ""


def validate_origin(url: str) -> None:
    """Raise ValidationError unless this is a web address without a path."""
    if origin_of(url) != url:
        raise ValidationError("Use scheme and host alone, such as https://git.example.com.")


def _private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host


def validate_branch(name: str) -> None:
    """Raise ValidationError unless git would take this as the name of a branch."""
    if not BRANCH.match(name) or name.endswith(".lock"):
        raise ValidationError(f"{name!r} can't be the name of a branch.")
