"""Where model providers answer: which addresses an endpoint may have."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def validate(url: str) -> None:
    """Raise ValidationError unless this is the base URL of an API: https, or http at a private address."""
    parts = _split(url)
    if re.search(r"[\x00-\x20\x7f]", url) or parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValidationError("Use the base URL of an API, such as https://gateway.example.com/v1.")
    if "@" in parts.netloc:
        raise ValidationError("Leave user and password out of the URL; store the key as a provider key.")
    if "?" in url or "#" in url:
        raise ValidationError("A base URL ends with its path: leave out what follows the ? or #.")
    if parts.scheme == "http" and not is_private(parts.hostname):
        raise ValidationError(f"{parts.hostname} is a public address, where keys travel by https only.")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises for what is no port)
    except ValueError as error:
        raise ValidationError(f"This is no URL: {error}.") from error
    return parts


def is_private(host: str) -> bool:
    """Whether a name or address is one of this machine or of a network of one's own; asks no name server."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_NAMES)
