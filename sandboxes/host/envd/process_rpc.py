"""`process.Process`: the calls of envd's process service, as JSON."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH110, PTH112

import asyncio
import base64
import binascii
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

from . import users
from .connect import Call, Message, RpcError, Send
from .output import event
from .processes import Process, Spec, Table
from .users import Identity

SIGNALS = {"SIGNAL_SIGTERM": signal.SIGTERM, 15: signal.SIGTERM, "SIGNAL_SIGKILL": signal.SIGKILL, 9: signal.SIGKILL}


def caller(call: Call) -> users.User:
    """The user a call runs as; an unknown one is unauthenticated, as in envd."""
    try:
        return users.find(users.basic_name(call.headers), call.identity)
    except users.UnknownUser as error:
        raise RpcError("unauthenticated", str(error)) from None


def resolve(call: Call, path: str, user: users.User) -> str:
    try:
        return users.resolve(path, user, call.identity)
    except users.BadPath as error:
        raise RpcError("invalid_argument", str(error)) from None


class ProcessService:
    """Start and Connect answer with the same stream: a start event, data, an end event."""

    def __init__(self, table: Table) -> None:
        self.table = table

    async def start(self, call: Call, send: Send) -> None:
        """The call's deadline kills the process; a caller that leaves does not."""
        process = self.table.start(_spec(call))
        await _follow(process, call, send, owner=True)

    async def connect(self, call: Call, send: Send) -> None:
        """The call's deadline ends only this stream."""
        process = self.table.find(call.message.get("process"), finished=True)
        try:
            async with asyncio.timeout(call.deadline):
                await _follow(process, call, send)
        except TimeoutError:
            raise RpcError(
                "deadline_exceeded", "the connection to the process reached its timeout; the process goes on"
            ) from None

    async def list(self, call: Call) -> Message:
        return {"processes": [_info(process) for process in self.table.running()]}

    async def update(self, call: Call) -> Message:
        process = self.table.find(call.message.get("process"))
        if call.message.get("pty") is not None:
            process.resize(*_size(call.message["pty"]))
        return {}

    async def send_input(self, call: Call) -> Message:
        process = self.table.find(call.message.get("process"))
        await process.write(*_input(call.message.get("input")))
        return {}

    async def stream_input(self, messages: AsyncIterator[Message], identity: Identity) -> Message:
        process: Process | None = None
        async for message in messages:
            if "start" in message:
                process = self.table.find(_object(message["start"]).get("process"))
            elif "data" in message:
                if process is None:
                    raise RpcError("invalid_argument", "the stream must begin by naming its process (start)")
                await process.write(*_input(_object(message["data"]).get("input")))
            elif "keepalive" not in message:
                raise RpcError("unimplemented", "an input event must be start, data or keepalive")
        return {}

    async def send_signal(self, call: Call) -> Message:
        """SIGKILL is answered once the process is reaped, so that a caller who lists next does not find it."""
        process = self.table.find(call.message.get("process"))
        wanted = call.message.get("signal")
        number = SIGNALS.get(wanted) if isinstance(wanted, (str, int)) else None
        if number is None:
            raise RpcError(
                "unimplemented", f"signal {wanted!r} is not supported, send SIGNAL_SIGTERM or SIGNAL_SIGKILL"
            )
        process.signal(number)
        if number == signal.SIGKILL:
            await process.reaped.wait()
        return {}

    async def close_stdin(self, call: Call) -> Message:
        self.table.find(call.message.get("process")).close_stdin()
        return {}


async def _follow(process: Process, call: Call, send: Send, owner: bool = False) -> None:
    """The stream of one subscriber."""
    subscriber = process.subscribe(owner)
    try:
        await send(event("start", {"pid": process.pid}))
        while (batch := await subscriber.take(call.ping_seconds)) is not None:
            await send(*batch)
    finally:
        process.unsubscribe(subscriber)


def _spec(call: Call) -> Spec:
    user = caller(call)
    message = call.message
    config = _object(message.get("process"))
    envs = _object(config.get("envs"))
    argv = [config.get("cmd", ""), *_list(config.get("args"))]
    if not all(isinstance(text, str) for text in (*argv, *envs, *envs.values())):
        raise RpcError("invalid_argument", "cmd, args and envs must be strings")
    tag = message.get("tag")
    return Spec(
        argv=argv,
        cwd=_cwd(call, str(config.get("cwd") or ""), user),
        env=users.environment(user, call.identity, envs),
        config=config,
        tag=str(tag) if tag is not None else None,
        size=_size(message["pty"]) if message.get("pty") is not None else None,
        stdin=message.get("stdin") is not False,
        seconds=call.deadline,
    )


def _cwd(call: Call, path: str, user: users.User) -> str:
    cwd = resolve(call, path, user)
    if not os.path.isdir(cwd):
        raise RpcError(
            "invalid_argument",
            f"cwd '{cwd}' does not exist" if not os.path.exists(cwd) else f"cwd '{cwd}' is not a directory",
        )
    return cwd


def _size(value: Any) -> tuple[int, int]:
    size = _object(_object(value).get("size"))
    try:
        rows, cols = int(size.get("rows", 0)), int(size.get("cols", 0))
    except (TypeError, ValueError):
        rows = cols = -1
    if rows < 0 or cols < 0:
        raise RpcError("invalid_argument", "the terminal's size must be whole numbers of rows and cols")
    return rows, cols


def _input(value: Any) -> tuple[str, bytes]:
    """("stdin" or "pty", bytes)."""
    for kind in ("stdin", "pty"):
        if kind in _object(value):
            return kind, _bytes(value[kind])
    raise RpcError("unimplemented", "input must carry stdin or pty")


def _bytes(value: Any) -> bytes:
    """Protobuf's JSON allows both alphabets, with or without padding."""
    try:
        text = str(value).replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RpcError("invalid_argument", "input must be base64") from None


def _info(process: Process) -> Message:
    info: Message = {"pid": process.pid, "config": process.spec.config}
    return info | ({"tag": process.spec.tag} if process.spec.tag is not None else {})


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RpcError("invalid_argument", "expected a JSON object in the message")
    return value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RpcError("invalid_argument", "expected a list in the message")
    return value
