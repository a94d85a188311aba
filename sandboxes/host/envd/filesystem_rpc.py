"""`filesystem.Filesystem`: Stat, MakeDir, Move, ListDir and Remove."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: ASYNC240, PTH103, PTH104, PTH108, PTH112, PTH114, PTH120

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from typing import Any

from .connect import Call, Message, RpcError, from_oserror
from .entries import entry
from .process_rpc import caller, resolve


def _path(call: Call, name: str = "path") -> str:
    return resolve(call, call.text(name), caller(call))


async def stat(call: Call) -> Message:
    path = _path(call)
    try:
        return {"entry": entry(path)}
    except OSError as error:
        raise from_oserror(error, f"cannot read '{path}'") from None


async def make_dir(call: Call) -> Message:
    """Also makes missing parents, 0755. A folder there is already_exists, anything else invalid_argument."""
    path = _path(call)
    if os.path.isdir(path):
        raise RpcError("already_exists", f"directory already exists: {path}")
    try:
        os.makedirs(path, 0o755)
        return {"entry": entry(path)}
    except OSError as error:
        raise from_oserror(error, f"cannot make the directory '{path}'") from None


async def move(call: Call) -> Message:
    source, destination = _path(call, "source"), _path(call, "destination")
    try:
        os.makedirs(os.path.dirname(destination), 0o755, exist_ok=True)
        await asyncio.to_thread(_rename, source, destination)
        return {"entry": entry(destination)}
    except OSError as error:
        raise from_oserror(error, f"cannot move '{source}' to '{destination}'") from None


def _rename(source: str, destination: str) -> None:
    """rename(2), and a copy where the two are on different file systems (home and /tmp are)."""
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(source, destination)


async def list_dir(call: Call) -> Message:
    """Entries down to `depth` levels (0 means 1) in the order of their names; links are listed, not followed."""
    path = _path(call)
    depth = call.message.get("depth") or 1
    if not isinstance(depth, int) or depth < 0:
        raise RpcError("invalid_argument", "depth must be a whole number of at least 1")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise RpcError("invalid_argument", f"path is not a directory: {path}")
    try:
        return {"entries": await asyncio.to_thread(lambda: list(_walk(path, depth)))}
    except OSError as error:
        raise from_oserror(error, f"cannot list '{path}'") from None


def _walk(folder: str, depth: int) -> Iterator[dict[str, Any]]:
    with os.scandir(folder) as found:
        children = sorted(found, key=lambda child: child.name)
    for child in children:
        try:
            yield entry(child.path)
        except FileNotFoundError:
            continue  # removed while we listed
        if depth > 1 and child.is_dir(follow_symlinks=False):
            yield from _walk(child.path, depth - 1)


async def remove(call: Call) -> Message:
    """Removes a file, or a folder with all in it; what is not there counts as removed, as in envd."""
    path = _path(call)
    try:
        await asyncio.to_thread(_remove, path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise from_oserror(error, f"cannot remove '{path}'") from None
    return {}


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
