"""`manage.py reprice`: what was used before, at the rates as they are now. Shows the difference; --apply enters it."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from usage import repricing


def day(text: str) -> datetime:
    """The beginning of a day in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Command(BaseCommand):
    """Corrections are new rows: the old ones stay."""

    help = "Show what the ledger would cost at the rates as they are now; with --apply, enter the corrections."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to look at."""
        parser.add_argument("--since", type=day, help="first day, in UTC: 2026-11-01")
        parser.add_argument("--until", type=day, help="the day after the last one, in UTC")
        parser.add_argument("--model", default="", help="as the ledger calls it")
        parser.add_argument("--apply", action="store_true", help="enter the corrections")

    def handle(self, *_: Any, **options: Any) -> None:
        """Show, then perhaps do."""
        rows = repricing.standing(options["since"], options["until"], options["model"])
        found = repricing.difference(rows)
        for (service, model, metric), line in sorted(found.items()):
            more = f", {line.unpriced:,} of them had no price" if line.unpriced else ""
            self.stdout.write(
                f"{service} {model or 'machines'} {metric}: {line.rows:,} rows{more}: "
                f"{line.before:f} -> {line.after:f} USD ({line.after - line.before:+f})"
            )
        if not found:
            self.stdout.write("Nothing costs anything else at the rates as they are now.")
        elif options["apply"]:
            self.stdout.write(f"{repricing.apply(rows):,} rows corrected.")
        else:
            self.stdout.write("Nothing was changed. The same with --apply enters the corrections.")
