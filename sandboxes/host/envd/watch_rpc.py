"""`filesystem.Filesystem`: watching folders, as a stream and by polling."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH110, PTH112, PTH118, PTH123

import asyncio
import json
import os
import secrets
from typing import Any

from .connect import Call, Message, RpcError, Send, envelope, from_oserror
from .entries import entry, shown
from .inotify import Inotify, Overflow
from .process_rpc import caller, resolve

PENDING_LIMIT = 65_536
NETWORK_TYPES = ("nfs", "cifs", "smb", "fuse", "9p")

START = envelope(b'{"start":{}}')
KEEPALIVE = envelope(b'{"keepalive":{}}')


def _mount_type(path: str) -> str:
    """Type of the mount that holds `path` (proc(5), mountinfo: the mount point is field 5, the type follows ` - `)."""
    best, kind = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            point = fields.split()[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
            if len(point) >= len(best) and os.path.commonpath((point, path)) == point:
                best, kind = point, rest.split()[0]
    return kind


class Watcher:
    """Collects a folder's events until somebody takes them."""

    def __init__(self, root: str, recursive: bool, include_entry: bool) -> None:
        self._root = root
        self._include_entry = include_entry
        self._pending: list[Message] = []
        self._failure: RpcError | None = None
        self._wake = asyncio.Event()
        self._inotify = Inotify(root, recursive, self._notify)
        asyncio.get_running_loop().add_reader(self._inotify.fd, self._drain)

    def _notify(self, name: str, kind: str) -> None:
        event: Message = {"name": shown(name), "type": kind}
        if self._include_entry:
            event |= self._entry(name)
        self._pending.append(event)
        self._wake.set()

    def _entry(self, name: str) -> Message:
        try:
            return {"entry": entry(os.path.normpath(os.path.join(self._root, name)))}
        except OSError:
            return {}  # gone by now: the event is told without it

    def _drain(self) -> None:
        try:
            self._inotify.drain()
            if len(self._pending) > PENDING_LIMIT:
                raise Overflow
        except Overflow:
            self._fail(
                RpcError(
                    "data_loss",
                    "events came faster than they were fetched and some were lost; list the folder and watch it anew",
                )
            )
        except OSError as error:
            self._fail(from_oserror(error, f"cannot go on watching '{self._root}'"))

    def _fail(self, failure: RpcError) -> None:
        self._failure, self._pending = failure, []
        asyncio.get_running_loop().remove_reader(self._inotify.fd)
        self._wake.set()

    def take(self) -> list[Message]:
        """All events up to now. Raises the failure that ended the watching."""
        if self._failure is None:
            self._drain()
        if self._failure is not None:
            raise self._failure
        self._wake.clear()
        events, self._pending = self._pending, []
        return events

    async def wait(self, seconds: float) -> list[Message]:
        """The next events, or none after that many silent seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return []
        return self.take()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._inotify.fd)
        self._inotify.close()


class WatchService:
    def __init__(self) -> None:
        self._watchers: dict[str, Watcher] = {}

    async def watch_dir(self, call: Call, send: Send) -> None:
        """The call's deadline ends the stream."""
        watcher = _open(call)
        try:
            async with asyncio.timeout(call.deadline):
                await send(START)
                while True:
                    events = await watcher.wait(call.ping_seconds)
                    await send(*(map(_encode, events) if events else [KEEPALIVE]))
        except TimeoutError:
            raise RpcError("deadline_exceeded", "the watch reached its timeout") from None
        finally:
            watcher.close()

    async def create(self, call: Call) -> Message:
        watcher_id = "w" + secrets.token_hex(10)
        self._watchers[watcher_id] = _open(call)
        return {"watcherId": watcher_id}

    async def events(self, call: Call) -> Message:
        return {"events": self._find(call).take()}

    async def remove(self, call: Call) -> Message:
        self._find(call).close()
        del self._watchers[call.text("watcherId")]
        return {}

    def _find(self, call: Call) -> Watcher:
        watcher = self._watchers.get(call.text("watcherId"))
        if watcher is None:
            raise RpcError("not_found", f"watcher with id {call.text('watcherId')} not found")
        return watcher


def _encode(event: dict[str, Any]) -> bytes:
    return envelope(json.dumps({"filesystem": event}).encode())


def _open(call: Call) -> Watcher:
    path = resolve(call, call.text("path"), caller(call))
    if not os.path.exists(path):
        raise RpcError("not_found", f"path {path} not found")
    if not os.path.isdir(path):
        raise RpcError("invalid_argument", f"path {path} is not a directory, only folders can be watched")
    if not call.message.get("allowNetworkMounts") and _mount_type(os.path.realpath(path)).startswith(NETWORK_TYPES):
        raise RpcError(
            "invalid_argument",
            f"cannot watch path on network filesystem: {path} (allow_network_mounts permits it)",
        )
    try:
        return Watcher(path, bool(call.message.get("recursive")), bool(call.message.get("includeEntry")))
    except OSError as error:
        raise from_oserror(error, f"cannot watch '{path}'") from None
