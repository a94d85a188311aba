"""What this app adds to the frame: its entry in the navigation, its part of the dashboard, its settings."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count
from django.urls import reverse

from codecourier import registries
from codecourier.registries import Card, Panel, Remark, Tab
from sandboxes.models import Kind

from . import chain, configuring
from .listing import MOST_FOUND
from .models import Chain, Issue, IssueSession, Question

PANEL = Panel(order=26, title="Issues", icon="layout-kanban", url="issues:list", key="i")
# Of machines in which sessions of this app work.
KINDS = {Kind.ISSUE, Kind.ANSWERING}


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


def remarks(sandboxes: Sequence[Any]) -> dict[int, Remark]:
    """Of a machine of a session, which one it is and how that stands."""
    machines = [sandbox.pk for sandbox in sandboxes if sandbox.kind in KINDS]
    if not machines:
        return {}
    rows = IssueSession.objects.filter(sandbox__in=machines).select_related("project")
    return {row.sandbox_id: remark(row) for row in rows if row.sandbox_id}


def remark(session: IssueSession) -> Remark:
    """One of them."""
    url = reverse("issues:session", args=[session.project.slug, session.pk])
    return Remark(title=str(session), text=session.Status(session.status).label, url=url)


def find(project: Any, text: str) -> Remark | None:
    """How many cards a search finds, counted no further than the board counts."""
    count = Issue.objects.cards().filter(project=project).matching(text).order_by().values("pk")[:MOST_FOUND].count()
    if not count:
        return None
    url = f"{reverse('issues:list', args=[project.slug])}?{urlencode({'view': 'list', 'status': 'all', 'q': text})}"
    words = f"{count}{'+' if count == MOST_FOUND else ''} issue{'' if count == 1 else 's'} with this"
    return Remark("Issues", words, icon="layout-kanban", url=url)


def hold(project: Any) -> str:
    """A project is not deleted over chains that would go on: they are cancelled, and it is said how many."""
    rows = list(Chain.objects.filter(project=project, status=Chain.Status.RUNNING))
    for row in rows:
        chain.cancel(row, None)
    some = "chain is" if len(rows) == 1 else "chains are"
    return f"{len(rows)} {some} being cancelled. Delete the project again in a few seconds." if rows else ""


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.origins.append(origin)
    registries.remarks.append(remarks)
    registries.finders.append(find)
    registries.holds.append(hold)
    registries.tabs["issues"] = Tab("Issues", configuring.tab)
