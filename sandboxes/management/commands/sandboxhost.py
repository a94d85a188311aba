"""`manage.py sandboxhost --port N`: the local sandbox host, for any program with the `e2b` SDK."""

from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandboxes.host.__main__ import add_options, read_settings
from sandboxes.host.server import serve
from sandboxes.host.settings import HostError


class Command(BaseCommand):
    help = "Run the local sandbox host; prints E2B_API_URL, E2B_SANDBOX_URL and E2B_API_KEY first."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            serve(read_settings(Namespace(**options)))
        except HostError as error:
            raise CommandError(str(error), returncode=2) from None
