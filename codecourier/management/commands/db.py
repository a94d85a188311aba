"""`manage.py db start|stop|status`: the embedded PostgreSQL."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from codecourier import postgres


class Command(BaseCommand):
    """Starts, stops or describes the embedded server."""

    help = "Starts, stops or describes the embedded PostgreSQL."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what to do."""
        parser.add_argument("verb", choices=["start", "stop", "status"])

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; `status` ends with exit status 1 when the server doesn't answer."""
        if not settings.EMBEDDED_POSTGRES:
            raise CommandError("DATABASE_URL is set: that server is not CodeCourier's to start or stop.")
        try:
            self.stdout.write(getattr(self, options["verb"])())
        except postgres.PostgresError as error:
            raise CommandError(str(error)) from error

    def start(self) -> str:
        """Start it unless it runs."""
        return f"PostgreSQL answers at {postgres.ensure(settings.STATE)}"

    def stop(self) -> str:
        """Stop it if it runs."""
        return "PostgreSQL has stopped." if postgres.stop(settings.STATE) else "PostgreSQL was not running."

    def status(self) -> str:
        """Say whether it answers, and where its data is."""
        found = postgres.status(settings.STATE)
        if not found.up:
            raise CommandError(f"PostgreSQL is not running. Its data: {found.data}", returncode=1)
        return f"PostgreSQL is up (process {found.pid}).\nURL:  {found.url}\nData: {found.data}"
