"""What this app adds to the frame: its entry in the navigation, what runs now, its part of the dashboard."""

from typing import Any

from django.db.models import Count, Q

from codecourier import registries
from codecourier.registries import Card, Panel, Tab

from . import configuring, fleet
from .models import Kind, Sandbox, SessionConfig, Turn
from .publishing import configuring as work

RECENT = 8
PANEL = Panel(order=20, title="Sandboxes", icon="box", url="sandboxes:list", key="s")
PULLS = Panel(order=30, title="Pull requests", icon="git-pull-request", url="sandboxes:pulls", key="q")


def running(project: Any) -> int:
    """Sandboxes that hold a machine that works or is being made."""
    return Sandbox.objects.kept().filter(project=project, status__in=["creating", "running"]).count()


def card(project: Any) -> Card:
    """What runs now, what was last, and how many there are of each status."""
    rows = Sandbox.objects.kept().filter(project=project)
    shown = rows.select_related("template", "created_by")
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    context = {
        "project": project,
        "alive": shown.alive()[:RECENT],
        "recent": shown.filter(status__in=Sandbox.FINAL)[:RECENT],
        "counts": [(key, label, counts.get(key, 0)) for key, label in Sandbox.Status.choices],
        "total": sum(counts.values()),
    }
    return Card("sandboxes/_dashboard.html", context)


def use(persona: Any) -> Card:
    """The kinds of session that a persona is the default of, and the last sandboxes that it worked in."""
    rows = Sandbox.objects.kept().filter(project=persona.project, labels__contains={"persona_id": persona.pk})
    turns = Turn.objects.filter(sandbox__in=rows)
    over = {status: Count("pk", filter=Q(status=status)) for status in (Turn.Status.SUCCEEDED, Turn.Status.FAILED)}
    kinds = SessionConfig.objects.filter(persona=persona).values_list("kind", flat=True)
    context = {
        "persona": persona,
        "project": persona.project,
        "sessions": [Kind(kind).label for kind in kinds],
        "recent": rows.select_related("template", "created_by")[:RECENT],
        "total": rows.count(),
        "turns": turns.aggregate(total=Count("pk"), **{str(name): count for name, count in over.items()}),
    }
    return Card("sandboxes/_persona.html", context)


def hold(project: Any) -> str:
    """A project is not deleted over machines that live: they are stopped, and it is said how many."""
    rows = list(Sandbox.objects.filter(project=project, released_at=None))
    for sandbox in rows:
        fleet.stop(sandbox, None)
    some = "sandbox is" if len(rows) == 1 else "sandboxes are"
    return f"{len(rows)} {some} being stopped. Delete the project again in a few seconds." if rows else ""


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels += [PANEL, PULLS]
    registries.running.append(running)
    registries.cards.append(card)
    registries.uses.append(use)
    registries.holds.append(hold)
    registries.tabs["sandboxes"] = Tab("Sandboxes", configuring.tab)
    registries.tabs["work"] = Tab("Work", work.tab)
