"""What this app adds to the frame: its entry in the navigation, its part of the dashboard, its settings."""

from typing import Any

from django.db.models import Count

from codecourier import registries
from codecourier.registries import Card, Panel, Tab

from . import configuring
from .models import Issue, Question

PANEL = Panel(order=26, title="Issues", icon="layout-kanban", url="issues:list", key="i")


def card(project: Any) -> Card:
    """How many cards there are of each status, and what waits for a decision."""
    rows = Issue.objects.cards().filter(project=project)
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    context = {
        "project": project,
        "total": sum(counts.values()),
        "counts": [(str(status), str(status.label), counts.get(status, 0)) for status in Issue.COLUMNS],
        "questions": Question.objects.undecided().filter(project=project).count(),
    }
    return Card("issues/_dashboard.html", context)


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.tabs["issues"] = Tab("Issues", configuring.tab)
