"""What this app adds to the frame: its entry in the navigation, its part of the dashboard, its settings."""

from typing import Any

from django.db.models import Count
from django.urls import reverse

from codecourier import registries
from codecourier.registries import Card, Panel, Remark, Tab

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


def origin(run: Any) -> Remark | None:
    """The chain that a run is a link of, else the card that it does."""
    for label, name, title in (("chain", "issues:chain", "Chain"), ("issue", "issues:detail", "Issue")):
        if isinstance(pk := run.labels.get(label), int):
            text = f"{title} {pk}" if label == "issue" else f"{title} {pk}, link {run.labels.get('link', 0) + 1}"
            return Remark(title, text, url=reverse(name, args=[run.project.slug, pk]))
    return None


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.origins.append(origin)
    registries.tabs["issues"] = Tab("Issues", configuring.tab)
