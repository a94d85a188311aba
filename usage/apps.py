"""Configuration of the usage app."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """Registers the app; its rows and pages come with its own issue."""

    name = "usage"
