"""What the API says about a file: EntryInfo, and metadata kept in extended attributes."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH116, PTH119

import errno
import grp
import os
import pwd
import re
import stat
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

METADATA_PREFIX = "user.e2b."
HEADER_PREFIX = "x-metadata-"
_KEY = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]{1,200}")
_VALUE = re.compile(r"[\x20-\x7e]{0,2048}")


class BadMetadata(Exception):
    """Metadata that cannot be kept; the text is for the caller."""


def shown(name: str) -> str:
    """File names are bytes; what is not UTF-8 is shown with replacement characters, since JSON carries text only."""
    return os.fsencode(name).decode("utf-8", "replace")


@lru_cache(maxsize=64)
def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=64)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _type(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "FILE_TYPE_DIRECTORY"
    if stat.S_ISLNK(mode):
        return "FILE_TYPE_SYMLINK"
    return "FILE_TYPE_FILE"


def _permissions(mode: int) -> str:
    """As Go's FileMode prints it: like `ls -l`, but a link begins with a capital L."""
    text = stat.filemode(mode)
    return "L" + text[1:] if text[0] == "l" else text


def _timestamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def entry(path: str) -> dict[str, Any]:
    """EntryInfo of `path` itself (a link is not followed, but its type is its target's). Raises OSError."""
    info = os.lstat(path)
    result: dict[str, Any] = {
        "name": shown(os.path.basename(path) or path),
        "type": _type(info.st_mode),
        "path": shown(path),
        "size": str(info.st_size),
        "mode": stat.S_IMODE(info.st_mode) & 0o777,
        "permissions": _permissions(info.st_mode),
        "owner": _owner(info.st_uid),
        "group": _group(info.st_gid),
        "modifiedTime": _timestamp(info.st_mtime_ns),
    }
    if stat.S_ISLNK(info.st_mode):
        return result | _link(path)
    metadata = read_metadata(path)
    return result | ({"metadata": metadata} if metadata else {})


def _link(path: str) -> dict[str, Any]:
    """A link's extra fields; one that leads nowhere keeps the type SYMLINK."""
    fields: dict[str, Any] = {"isSymlink": True, "symlinkTarget": shown(os.path.realpath(path))}
    try:
        fields["type"] = _type(os.stat(path).st_mode)
    except OSError:
        return fields
    return fields


def metadata_of(headers: dict[str, str]) -> dict[str, str]:
    """The `X-Metadata-*` headers of an upload; raises BadMetadata for what the SDK would not send."""
    found = {
        name.removeprefix(HEADER_PREFIX): value for name, value in headers.items() if name.startswith(HEADER_PREFIX)
    }
    for key, value in found.items():
        if not _KEY.fullmatch(key):
            raise BadMetadata(f"invalid metadata key '{key}': use 1 to 200 letters, digits and !#$%&'*+-.^_`|~")
        if not _VALUE.fullmatch(value):
            raise BadMetadata(f"invalid metadata value for key '{key}': use at most 2,048 printable ASCII characters")
    return found


def read_metadata(target: str | int) -> dict[str, str]:
    """Metadata of a path or descriptor; none where the file system keeps no attributes."""
    try:
        names = [name for name in os.listxattr(target) if name.startswith(METADATA_PREFIX)]
        return {
            name.removeprefix(METADATA_PREFIX): os.getxattr(target, name).decode("utf-8", "replace") for name in names
        }
    except OSError:
        return {}


def write_metadata(fd: int, metadata: dict[str, str]) -> None:
    """Replace all metadata of an open file. Raises BadMetadata where the file system keeps none, OSError otherwise."""
    for key in read_metadata(fd).keys() - metadata.keys():
        os.removexattr(fd, METADATA_PREFIX + key)
    for key, value in metadata.items():
        try:
            os.setxattr(fd, METADATA_PREFIX + key, value.encode())
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOSPC):
                raise
            reason = (
                "this file system keeps none"
                if error.errno == errno.ENOTSUP
                else "there is no room for it on this file"
            )
            raise BadMetadata(f"metadata '{key}' cannot be stored: {reason}") from None
