"""`manage.py usage_rollups`: compare the sums of the ledger with its rows; with --rebuild, make them anew."""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand

from usage import rollups


class Command(BaseCommand):
    """Sums are only a copy of what the rows say."""

    help = "Compare the ledger's sums with its rows; with --rebuild, make them anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which days."""
        parser.add_argument("--rebuild", action="store_true")
        parser.add_argument("--first", type=date.fromisoformat, help="first day to rebuild, in UTC: 2026-11-01")
        parser.add_argument("--last", type=date.fromisoformat, help="last day to rebuild, in UTC")

    def handle(self, *_: Any, **options: Any) -> None:
        """Rebuild if asked to, then compare."""
        if options["rebuild"]:
            self.stdout.write(f"{rollups.rebuild(options['first'], options['last']):,} sums made anew.")
        days = ", ".join(rollups.check())
        self.stdout.write(f"Rows and sums disagree on {days}." if days else "Rows and sums agree.")
