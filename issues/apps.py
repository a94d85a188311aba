"""Configuration of the issues app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries


class IssuesConfig(AppConfig):
    """Sessions that find issues and answer questions, and what becomes of their cards."""

    name = "issues"

    def ready(self) -> None:
        """Tell the base app what to sweep, and what sessions answer with."""
        import_string("issues.reactions.turn_moved")
        registries.contracts["findings"] = import_string("issues.contract.Findings")
        registries.contracts["answers"] = import_string("issues.contract.Answers")
        registries.sweepers[self.get_model("IssueSession")] = import_string("issues.tasks.advance_session")
        registries.sweepers[self.get_model("Chain")] = import_string("issues.tasks.advance_chain")
        registries.chores.append(import_string("issues.work.sweep"))
        import_string("issues.panels.register")()
