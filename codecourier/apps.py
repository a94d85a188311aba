"""Configuration of the base app."""

from django.apps import AppConfig

from codecourier import registries
from codecourier.registries import Panel


class CodecourierConfig(AppConfig):
    """People, projects, and what every app stands on."""

    name = "codecourier"
    verbose_name = "CodeCourier"

    def ready(self) -> None:
        """The pages of every project that are not about work."""
        registries.panels.append(Panel(900, "Members", "users", "members", "m"))
        registries.panels.append(Panel(910, "Settings", "settings", "settings", "t", needs="settings"))
