"""A whole host: state folder, fleet, listener, and how it all starts and stops."""

import asyncio
import compileall
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import cast

from aiohttp import web

from . import adoption, bwrap, disk, rootfs, watch
from .envd import ENVD_VERSION
from .fleet import Fleet
from .record import write_atomically
from .rest import Rest
from .router import Front
from .settings import HostError, Settings

logger = logging.getLogger(__name__)
BACKLOG = 512


def prepare_state(settings: Settings) -> None:
    """Make the folders; raises HostError when that isn't possible."""
    try:
        for folder in (settings.state, settings.sandboxes, settings.tombstones):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.tools:
            settings.tools.mkdir(parents=True, exist_ok=True)
        rootfs.write(settings.state / "root")
    except OSError as error:
        raise HostError(
            f"The state folder {settings.state} cannot be written ({error.strerror}); choose another with --state."
        ) from None
    disk.images_work()
    # The sandboxes see the daemon read-only: compiled here once, not at each of their starts.
    compileall.compile_dir(Path(__file__).with_name("envd"), quiet=2)


def lock_state(settings: Settings) -> int:
    """Keep a second host out of the same folder while the descriptor is open; raises HostError."""
    handle = os.open(settings.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise HostError(
            f"Another sandbox host uses the state folder {settings.state}; stop it or choose another with --state."
        ) from None
    return handle


def api_key(settings: Settings) -> str:
    """The installation's key, made at the first start; readable by the owner alone."""
    path = settings.state / "api_key"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    write_atomically(path, f"e2b_{secrets.token_hex(20)}\n")
    return path.read_text().strip()


class Host:
    """One running host; `run` ends on SIGTERM or SIGINT."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.key = api_key(settings)
        self.fleet = Fleet(settings, ENVD_VERSION)
        self.runner = web.AppRunner(
            Rest(self.fleet, self.key).application(), access_log=None, shutdown_timeout=settings.boot_seconds
        )
        self.stopping = asyncio.Event()
        self.services: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        await adoption.take_over(self.fleet)
        await self.runner.setup()
        server = await self.listen()
        port = server.sockets[0].getsockname()[1]
        fleet = self.fleet
        fleet.domain = f"localhost:{port}"
        self.announce(port)
        self.services = [fleet.spawn(work) for work in (fleet.pool.fill(), fleet.reap(), *watch.services(fleet))]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        await self.stopping.wait()
        server.close()
        await self.stop()

    async def listen(self) -> asyncio.Server:
        """Raises HostError when the port is taken."""
        rest = cast(web.Server, self.runner.server)
        loop = asyncio.get_running_loop()
        address, port = self.settings.address, self.settings.port
        try:
            return await loop.create_server(lambda: Front(self.fleet, rest), address, port, backlog=BACKLOG)
        except OSError as error:
            reason = error.strerror or error
            raise HostError(
                f"Port {port} of {address} cannot be used ({reason}); choose another with --port."
            ) from None

    def announce(self, port: int) -> None:
        url = f"http://{self.settings.address}:{port}"
        for line in (f"E2B_API_URL={url}", f"E2B_SANDBOX_URL={url}", f"E2B_API_KEY={self.key}"):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    async def stop(self) -> None:
        """Nobody's machines always go; those in use only when the host was told so."""
        for task in self.services:
            task.cancel()
        await asyncio.gather(*self.services, return_exceptions=True)
        await self.runner.cleanup()  # waits for requests on their way: a create among them is in the fleet then
        if self.settings.kill_on_exit:
            await self.fleet.end_all("killed")
        await self.fleet.settle()


async def start(settings: Settings) -> None:
    await Host(settings).run()


def serve(settings: Settings) -> None:
    """Run a host until SIGTERM or SIGINT; raises HostError when it can't start."""
    bwrap.probe()
    prepare_state(settings)
    lock = lock_state(settings)
    try:
        asyncio.run(start(settings))
    finally:
        os.close(lock)


def sweep(settings: Settings) -> int:
    """End every sandbox of a state folder and remove what it left; returns how many there were.

    Raises HostError while a host runs on it.
    """
    prepare_state(settings)
    lock = lock_state(settings)
    try:
        return asyncio.run(adoption.sweep(settings, ENVD_VERSION))
    finally:
        os.close(lock)
