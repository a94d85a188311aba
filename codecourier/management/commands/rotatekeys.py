"""`manage.py rotatekeys`: encrypt every secret anew, after a new key was put before the old one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from codecourier import rotation
from codecourier.crypto import Undecryptable


class Command(BaseCommand):
    """Run it after prepending a key to ENCRYPTION_KEYS and restarting; the old key may go afterwards."""

    help = "Encrypts every stored secret anew under the first of ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """All of it or nothing."""
        try:
            done = rotation.rotate()
        except Undecryptable as error:
            raise CommandError(f"{error} Nothing was changed. Add the key they were written with.") from error
        for label, count in done.items():
            self.stdout.write(f"{count:6} {label}")
