"""`manage.py up`: everything on this machine, until Ctrl-C."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from codecourier import npm, postgres, up


class Command(BaseCommand):
    """Options in, lines out; the work is in `codecourier.up`."""

    help = "Starts CodeCourier on this machine and prints a sign-in link; Ctrl-C stops it."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add where to listen and what to run."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on, 0 for any (default: 8000)")
        parser.add_argument("--workers", type=int, help="worker processes for short steps (default: 4)")
        parser.add_argument("--no-host", action="store_true", help="don't run the local sandbox host")
        parser.add_argument(
            "--host-port",
            type=int,
            default=up.HOST_PORT,
            help="the sandbox host's port, if free (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        wanted = up.Options(
            options["host"], options["port"], options["workers"], not options["no_host"], options["host_port"]
        )
        try:
            up.up(wanted, self.say)
        except (up.UpError, postgres.PostgresError, npm.NpmError) as error:
            raise CommandError(str(error)) from error

    def say(self, line: str) -> None:
        """Print one line at once; it may come from any thread."""
        self.stdout.write(f"{line}\n", ending="")
        self.stdout.flush()
