"""Configuration of the learnings app."""

from django.apps import AppConfig


class LearningsConfig(AppConfig):
    """Registers the app; its rows and pages come with its own issue."""

    name = "learnings"
