"""Configuration of the workflows app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries


class WorkflowsConfig(AppConfig):
    """Steps one after another, each in its own machine, and what becomes of them."""

    name = "workflows"

    def ready(self) -> None:
        """Tell lower apps what to sweep, what answers look like and what a new project gets."""
        import_string("workflows.reactions.turn_moved")
        registries.sweepers[self.get_model("Run")] = import_string("workflows.tasks.advance_run")
        registries.sweepers[self.get_model("Schedule")] = import_string("workflows.tasks.fire_schedule")
        registries.newcomers.append(import_string("workflows.stock.welcome"))
        registries.verdicts.append(import_string("workflows.verdicts.of_runs"))
        registries.expectations.append(import_string("workflows.estimates.expected"))
        import_string("workflows.panels.register")()
        registries.contracts.update(import_string("workflows.contracts.CONTRACTS"))
