"""What must be true before anything is started; each refusal is a sentence that says what to do."""

import errno
import ipaddress
import os
import socket
import sys

from django.conf import settings
from django.db import OperationalError, connection

from .facts import UpError


def require_linux() -> None:
    """Everything below leans on Linux: namespaces, /proc, prctl."""
    if not sys.platform.startswith("linux"):
        raise UpError(
            "CodeCourier runs on Linux only. Use a Linux machine, WSL 2, or the container image (compose.yaml)."
        )


def require_address(host: str, port: int) -> None:
    """The portal may be bound there, and nobody else is."""
    if not is_loopback(host) and settings.LOCAL and not os.environ.get("ALLOWED_HOSTS"):
        raise UpError(
            f"With --host {host} other machines can reach the portal. Set ALLOWED_HOSTS to the names or addresses by "
            "which they do, such as ALLOWED_HOSTS=192.168.1.20."
        )
    if not is_free(host, port):
        raise UpError(
            f"Port {port} on {host} is in use by another program. Stop that one, or choose another port: "
            f"uv run manage.py up --port {port + 1}"
        )


def require_database() -> None:
    """The database answers."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        raise UpError(f"The database at DATABASE_URL does not answer: {str(error).strip()}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_free(host: str, port: int) -> bool:
    """Whether we may listen there. Raises UpError when nobody could."""
    try:
        with _socket(host) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise UpError(f"Can't listen on {host} port {port}: {error.strerror}. See --host and --port.") from error
    return True


def free_port(host: str, wanted: int = 0) -> int:
    """The wanted port if it is free, else any that is."""
    if wanted and is_free(host, wanted):
        return wanted
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
