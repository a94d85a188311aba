"""What this app adds to the frame: its entries in the navigation, a part of the dashboard, links on its sandboxes."""

from codecourier import registries
from codecourier.registries import Panel

from . import dashboard, origins

PANELS = [
    Panel(order=22, title="Workflows", icon="route", url="workflows:list", key="w"),
    Panel(order=24, title="Runs", icon="player-play", url="workflows:runs", key="r"),
]


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels += PANELS
    registries.cards.insert(0, dashboard.card)
    registries.remarks.append(origins.remarks)
    registries.origins.append(origins.scheduled)
    registries.finders.append(origins.find)
