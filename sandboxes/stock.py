"""Templates that every installation starts with."""

from .models import Template


def templates() -> None:
    """The script template; an administrator's changes stay."""
    Template.objects.get_or_create(
        slug="script",
        defaults={
            "name": "Script",
            "tool": Template.Tool.SCRIPT,
            "image": "script",
            "description": "Runs your message as a bash script: tests, linters, migrations. No key needed.",
        },
    )
