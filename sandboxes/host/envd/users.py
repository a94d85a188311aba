"""Whom the sandbox belongs to, as which user a call runs, and what a path means to that user."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH118

import base64
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class UnknownUser(Exception):
    """The call names a user that cannot be had here; the text is for the caller."""


class BadPath(Exception):
    """The path cannot be understood; the text is for the caller."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the host said at `/control/init`."""

    sandbox_id: str
    access_token: str | None
    default_user: str
    default_workdir: str | None
    envs: dict[str, str] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    home: str
    uid: int
    gid: int


def basic_name(headers: Mapping[str, str]) -> str:
    """The name of `Authorization: Basic name:`, empty when the header is absent or something else."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        raise UnknownUser("the Authorization header is not valid Basic auth") from None


def find(name: str, identity: Identity) -> User:
    """The account called `name`, by default the sandbox's user. All runs as the daemon's uid: only that is granted."""
    name = name or identity.default_user
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise UnknownUser(f"invalid username: '{name}' does not exist in this sandbox") from None
    if entry.pw_uid != os.getuid():
        raise UnknownUser(
            f"invalid username: a local sandbox has no '{name}' to act as, everything runs as '{identity.default_user}'"
        )
    # HOME is set by whoever starts the daemon, and is where the writable disk is mounted.
    return User(name, os.environ.get("HOME") or entry.pw_dir, entry.pw_uid, entry.pw_gid)


def resolve(path: str, user: User, identity: Identity) -> str:
    """The absolute path: `~` is the user's home, a relative or empty one starts at the working directory."""
    _check(path)
    base = identity.default_workdir or user.home
    if path == "~" or path.startswith("~/"):
        return os.path.normpath(user.home + path[1:])
    if path.startswith("~"):
        raise BadPath(f"cannot expand '{path}': only your own home (~) is known, give an absolute path")
    return os.path.normpath(os.path.join(base, path))


def _check(path: str) -> None:
    if "\0" in path:
        raise BadPath("a path cannot contain a NUL character")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise BadPath("a path must be valid Unicode text") from None


def environment(user: User, identity: Identity, extra: Mapping[str, str]) -> dict[str, str]:
    """Variables of a new process; later ones win."""
    base = {"PATH": os.environ.get("PATH", os.defpath), "HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    return base | identity.envs | dict(extra)
