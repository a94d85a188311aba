"""Configuration of the usage app."""

from django.apps import AppConfig
from django.utils.module_loading import import_string

from codecourier import registries


class UsageConfig(AppConfig):
    """What everything costs."""

    name = "usage"

    def ready(self) -> None:
        """Answer what things cost, and start with the list prices."""
        registries.pricers.append(import_string("usage.prices.tariff"))
        import_string("usage.panels.register")()
        registries.ledgers.append(import_string("usage.ledger.recorded"))
        registries.removed.append(import_string("usage.ledger.removed"))
        import_string("usage.reactions.turn_moved")
        registries.refusals.append(import_string("usage.holding.refusal"))
        registries.admissions.append(import_string("usage.holding.admission"))
        registries.chores.append(import_string("usage.upkeep.watch"))
        registries.chores.append(import_string("usage.upkeep.sweep"))
        registries.chores.append(import_string("usage.upkeep.check"))
        registries.seeds.append(import_string("usage.stock.rates"))
