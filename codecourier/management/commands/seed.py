"""`manage.py seed`: stock rows and the first account."""

from typing import Any

from django.core.management.base import BaseCommand

from codecourier.seed import seed


class Command(BaseCommand):
    """Run after `migrate`, as often as you like."""

    help = "Makes the stock rows and the first account where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        user = seed()
        self.stdout.write(f"The first account is {user.email}.")
