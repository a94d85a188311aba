"""Configuration of the sandboxes app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries


class SandboxesConfig(AppConfig):
    """Machines, what runs in them and what they print."""

    name = "sandboxes"

    def ready(self) -> None:
        """Tell the base app what to sweep; models can't be imported before this moment."""
        import_string("sandboxes.reactions.job_moved")
        sandbox = self.get_model("Sandbox")
        registries.sweepers[sandbox] = import_string("sandboxes.tasks.advance_sandbox")
        registries.sweepers[self.get_model("Build")] = import_string("sandboxes.tasks.advance_build")
        registries.sweepers[self.get_model("PullRequest")] = import_string("sandboxes.tasks.advance_pull_request")
        registries.seeds.append(import_string("sandboxes.stock.templates"))
        registries.seeds.append(import_string("sandboxes.stock.models"))
        import_string("sandboxes.panels.register")()
        registries.sealed.append(("sandboxes.Job.fold", self.get_model("Job"), "fold"))
        registries.farewells.append(import_string("sandboxes.upkeep.say_stopped"))
        registries.chores.append(import_string("sandboxes.upkeep.enforce"))
        registries.chores.append(import_string("sandboxes.upkeep.reconcile"))
        registries.chores.append(import_string("sandboxes.upkeep.purge"))
        registries.chores.append(import_string("sandboxes.metrics.sample"))
