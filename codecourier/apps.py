"""Configuration of the base app."""

from django.apps import AppConfig


class CodecourierConfig(AppConfig):
    """People, projects, and what every app stands on."""

    name = "codecourier"
    verbose_name = "CodeCourier"
