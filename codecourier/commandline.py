"""The way from argv to a management command: settings checked, the embedded database up."""

import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from codecourier import postgres

# These start the database themselves, or never touch it.
WITHOUT_DATABASE = frozenset(
    {"", "up", "db", "demo", "launch", "run", "sandboxhost", "help", "version", "collectstatic"}
)


def run(argv: list[str]) -> int:
    """Run one command; a wrong setting or a dead database is one sentence on stderr and exit status 2."""
    try:
        if settings.EMBEDDED_POSTGRES and (argv[1:2] or [""])[0] not in WITHOUT_DATABASE:
            postgres.ensure(settings.STATE)
        execute_from_command_line(argv)
    except (ImproperlyConfigured, postgres.PostgresError) as error:
        sys.stderr.write(f"CodeCourier can't start: {error}\n")
        return 2
    return 0
