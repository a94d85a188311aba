"""Configuration of the issues app."""

from django.apps import AppConfig


class IssuesConfig(AppConfig):
    """Registers the app; its rows and pages come with its own issue."""

    name = "issues"
