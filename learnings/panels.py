"""What this app adds to the frame: its entry in the navigation, its card, what it says of sandboxes, its settings."""

from typing import Any

from codecourier import registries
from codecourier.registries import Card, Panel, Tab

from . import configuring, remarks
from .models import Lesson

PANEL = Panel(order=70, title="Learnings", icon="bulb", url="learnings:inbox", key="l")
SHOWN = 3


def card(project: Any) -> Card:
    """Lessons that wait for somebody."""
    pending = Lesson.objects.pending().filter(project=project).order_by("-severity", "pk")
    total = pending.count()
    context = {"project": project, "pending": pending[:SHOWN] if total else [], "total": total}
    return Card("learnings/_dashboard.html", context)


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.remarks += [remarks.readings, remarks.versions]
    registries.tabs["learnings"] = Tab("Learnings", configuring.tab)
