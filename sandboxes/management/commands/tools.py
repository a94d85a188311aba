"""`manage.py tools`: fetch the agents' programs for local sandboxes, before anybody waits for them."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes import tools
from sandboxes.agents import AGENTS

PACKAGED = sorted(name for name, agent in AGENTS.items() if agent.package)


class Command(BaseCommand):
    """Exit status 0 when all that was asked for is there, 1 with a sentence when one is not."""

    help = "Installs the agents' programs at their pinned versions, once. A boot does the same when one is missing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Which, and where to."""
        parser.add_argument("tool", nargs="*", metavar="TOOL", help=", ".join(PACKAGED))
        parser.add_argument("--into", type=Path, default=settings.TOOLS, metavar="DIR", help="Default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        """One after the other; what is there already is only named."""
        for name in options["tool"] or PACKAGED:
            place = place_of(name, options["into"])
            try:
                tools.install(place, self.say)
            except tools.InstallError as error:
                raise CommandError(str(error)) from error
            self.say(f"{name} {place.package.version} is installed.")

    def say(self, line: str) -> None:
        """To stdout, at once: a boot shows these lines as they come."""
        self.stdout.write(line)
        self.stdout.flush()


def place_of(name: str, root: Path) -> tools.Place:
    """Where a tool belongs; CommandError when there is no such tool to install."""
    package = AGENTS[name].package if name in AGENTS else None
    if package is None:
        raise CommandError(f"There is no tool {name!r} to install. Known: {', '.join(PACKAGED)}.", returncode=2)
    return tools.Place(root.absolute(), name, package)
