"""Start-up, signals and shut-down of the daemon."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH104

import argparse
import asyncio
import ctypes
import os
import signal
import sys

from .control import start_forwarder
from .processes import Table
from .routes import Api
from .wire import Link

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
STOP_SECONDS = 5.0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="envd", description="The daemon inside a local sandbox; reads the control secret as one line from stdin."
    )
    parser.add_argument("--socket", required=True, help="unix socket to listen on")
    parser.add_argument("--egress", help="unix socket of the host's egress proxy")
    parser.add_argument("--forward-port", type=int, default=3128, help="loopback port that leads to the egress proxy")
    parser.add_argument("--gateway", help="unix socket of the host's gateway to model endpoints")
    parser.add_argument("--gateway-port", type=int, default=3129, help="loopback port that leads to the gateway")
    return parser.parse_args(argv)


def _take_secret() -> str:
    """The first line of stdin, which is closed after it so that no child can ask for it again."""
    secret = sys.stdin.readline().strip()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return secret


def main(argv: list[str]) -> int:
    """Exit status: 0 after SIGTERM or SIGINT, 2 for a start that cannot work (said on stderr)."""
    options = _options(argv)
    secret = _take_secret()
    if not secret:
        sys.stderr.write("envd: no control secret: write it as one line to stdin.\n")
        return 2
    os.umask(0o022)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        asyncio.run(_run(options, secret))
    except OSError as error:
        sys.stderr.write(f"envd: cannot start: {error}\n")
        return 2
    return 0


async def _run(options: argparse.Namespace, secret: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    table = Table()
    table.watch_children()
    own_ports: set[int] = set()
    for door, port in ((options.egress, options.forward_port), (options.gateway, options.gateway_port)):
        if door:
            await start_forwarder(door, port)
            own_ports.add(port)
    api = Api(secret, table, own_ports)
    # Bound under another name first: whoever sees the socket can connect to it.
    waiting = f"{options.socket}.new"
    await loop.create_unix_server(lambda: Link(api.handle), waiting, backlog=256)
    os.rename(waiting, options.socket)
    await stop.wait()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await table.stop()
    except TimeoutError:
        sys.stderr.write("envd: some processes did not end, leaving them to the kernel\n")
