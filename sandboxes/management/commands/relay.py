"""`manage.py relay`: follows running jobs and stores what they print, until SIGTERM or Ctrl-C."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from sandboxes.relay import Relay


class Command(BaseCommand):
    """Any number of them may run: they share the jobs by leases."""

    help = "Follows running commands, stores their output and looks after what is due."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop, then store what was taken."""
        asyncio.run(run())


async def run() -> None:
    """One relay in this loop."""
    relay = Relay()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, relay.stopping.set)
    await relay.run()
