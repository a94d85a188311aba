"""What a machine is made of."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

CPU = (1, 8)


MEMORY_MB = (256, 8_192)


TIMEOUT_MS = (60_000, 14_400_000)


def between(limits: tuple[int, int], unit: str) -> list[Any]:
    """Validators for an allowed range that name the range."""
    low, high = limits
    text = f"Allowed is {low:,} to {high:,} {unit}."
    return [MinValueValidator(low, text), MaxValueValidator(high, text)]


class Template(models.Model):
    """What a machine is made of: the base image and the agent in it."""

    class Tool(models.TextChoices):
        """The agents; each is one module of `sandboxes.agents`."""

        SCRIPT = "script", "Script"
        CLAUDE = "claude", "Claude Code"
        CODEX = "codex", "Codex"
        OPENCODE = "opencode", "OpenCode"
        PI = "pi", "Pi"

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=80)
    tool = models.CharField(max_length=20, choices=Tool, default=Tool.SCRIPT)
    image = models.CharField(
        max_length=60,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9_-]*\Z", "Lower-case letters, digits, - and _ only.")],
        help_text="Name of the E2B template; the size is added to it as -<cpu>c-<memory>m.",
    )
    description = models.CharField(max_length=200, blank=True)
    install = models.TextField(blank=True, help_text="Runs as bash before the setup script, e.g. to install tools.")
    needs_mb = models.PositiveIntegerField("needs memory (MB)", default=256)
    cpu = models.PositiveSmallIntegerField(default=2, validators=between(CPU, "CPUs"))
    memory_mb = models.PositiveIntegerField("memory (MB)", default=1_024, validators=between(MEMORY_MB, "MB"))
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
