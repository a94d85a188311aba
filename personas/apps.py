"""Configuration of the personas app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries
from codecourier.registries import Panel


class PersonasConfig(AppConfig):
    """Reusable configuration of agents."""

    name = "personas"

    def ready(self) -> None:
        """Tell the base app what a new project gets and where the pages are."""
        registries.newcomers.append(import_string("personas.stock.welcome"))
        registries.panels.append(Panel(50, "Personas", "mask", "personas:list", "p"))
        registries.panels.append(Panel(60, "Assets", "books", "personas:assets", "a"))
