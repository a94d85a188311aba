"""Configuration of the workflows app."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Registers the app; its rows and pages come with its own issue."""

    name = "workflows"
