"""Configuration of the learnings app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries


class LearningsConfig(AppConfig):
    """Lessons from finished work, which reach later machines once a person approved them."""

    name = "learnings"

    def ready(self) -> None:
        """Tell lower apps what to sweep, to answer with, to add and to show; models can't be imported before."""
        import_string("learnings.reactions.turn_moved")
        registries.sweepers[self.get_model("Extraction")] = import_string("learnings.tasks.advance_extraction")
        registries.contracts["lessons"] = import_string("learnings.contract.Lessons")
        registries.additions.append(import_string("learnings.compiling.additions"))
        import_string("learnings.panels.register")()
