"""`/control/...`: the host's own calls, and the forwarders to the host's proxy and gateway."""

import asyncio
import json
import os
from typing import Any

from .ports import listening
from .users import Identity
from .wire import Exchange, HttpError, Request

PIECE = 64 * 1024
MAX_INIT = 1024 * 1024


async def read_identity(request: Request) -> Identity:
    """The JSON of `/control/init`; HttpError 400 when it is not of the agreed shape."""
    try:
        value = json.loads(await request.body.all(MAX_INIT))
        return _identity(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HttpError(
            400,
            f"init needs an object with sandbox_id, access_token, envs, default_user and default_workdir: {error!r}",
        ) from None


def _identity(value: dict[str, Any]) -> Identity:
    return Identity(
        sandbox_id=str(value["sandbox_id"]),
        access_token=value.get("access_token") or None,
        default_user=str(value.get("default_user") or "user"),
        default_workdir=value.get("default_workdir") or None,
        envs={str(name): str(text) for name, text in (value.get("envs") or {}).items()},
        features=dict(value.get("features") or {}),
    )


async def connect(exchange: Exchange) -> None:
    """101, then raw bytes to and from a TCP port in here; 502 when nothing listens."""
    port = _port(exchange.request)
    try:
        reader, writer = await _dial(port)
    except OSError as error:
        raise HttpError(502, f"nothing in the sandbox listens on port {port}: {error.strerror}") from None
    exchange.keep = True
    exchange.link.half_open = True
    try:
        exchange.begin(101, {"connection": "Upgrade", "upgrade": "tcp"})
        await splice(exchange.reader, exchange.writer, reader, writer)
    finally:
        exchange.keep = False
        writer.close()


def _port(request: Request) -> int:
    text = request.query.get("port", "")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise HttpError(400, "port must be a number from 1 to 65535")
    if request.headers.get("upgrade", "").lower() != "tcp":
        raise HttpError(400, "send Connection: Upgrade and Upgrade: tcp")
    return int(text)


async def _dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Servers listen on one loopback family or on both; IPv4 is tried first and its error is the one told."""
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        try:
            return await asyncio.open_connection("::1", port)
        except OSError:
            raise error from None


async def splice(
    a_in: asyncio.StreamReader, a_out: asyncio.StreamWriter, b_in: asyncio.StreamReader, b_out: asyncio.StreamWriter
) -> None:
    """Bytes both ways until both directions have ended, or either side breaks."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(a_in, b_out))
            group.create_task(_pump(b_in, a_out))
    except* OSError:
        pass  # one side broke off; the caller closes both


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(PIECE):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


async def start_forwarder(door: str, port: int) -> asyncio.Server:
    """Splice each connection to 127.0.0.1:`port` into a socket of the host's. Raises OSError: the port is taken."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(door)
        except OSError:
            writer.close()  # the host is away: to the program it looks like a server that hung up
            return
        try:
            await splice(reader, writer, up_reader, up_writer)
        finally:
            up_writer.close()
            writer.close()

    return await asyncio.start_server(forward, "127.0.0.1", port)


async def answer_ports(exchange: Exchange, own: set[int]) -> None:
    await exchange.answer_json(200, await asyncio.to_thread(listening, own))


async def sync(exchange: Exchange) -> None:
    """Flush the file systems, before the host copies or freezes them."""
    await asyncio.to_thread(os.sync)
    await exchange.answer(204)
