"""Configuration of the personas app."""

from django.apps import AppConfig


class PersonasConfig(AppConfig):
    """Registers the app; its rows and pages come with its own issue."""

    name = "personas"
