"""Board and list of a project's cards, as their pages and sockets show them."""

from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.functional import cached_property

from codecourier.models import Project, User
from workflows.models import Workflow

from .filters import PRIORITY_CHOICES, STATUSES, IssueFilter
from .models import Issue, IssueSession, IssueSettings, Priority, Question

# Cards of a column and of a page.
COLUMN, PAGE = 25, 50
# More than so many are not counted one by one.
MANY, MOST_FOUND = 2_000, 1_000
VIEWS = ("board", "list")
S = Issue.Status


class Capped(Paginator):
    """Counts no further than people read: of a hundred thousand rows nobody opens the last page."""

    @cached_property
    def count(self) -> int:
        """At most MANY."""
        found: int = self.object_list.order_by().values("pk")[:MANY].count()  # type: ignore[attr-defined]
        return found


def listing(project: Project, user: User, params: QueryDict) -> dict[str, Any]:
    """The board or the list, narrowed; unknown values filter nothing."""
    view = params.get("view", "")
    view = view if view in VIEWS else "board"
    made = board(project, user, params) if view == "board" else table(project, user, params)
    return {
        **made,
        "project": project,
        "view": view,
        "views": [(name, name.capitalize(), with_(params, view=name)) for name in VIEWS],
        "statuses": STATUSES,
        "priorities": PRIORITY_CHOICES,
        "workflows": Workflow.objects.kept().filter(project=project),
        "default_workflow": IssueSettings.of(project).workflow_id,
        "narrowed": any(params.get(name) for name in ("q", "status", "priority", "session", "label", "mine")),
        "tabs": tabs(project),
        "query": without(params, "page"),
    }


def board(project: Project, user: User, params: QueryDict) -> dict[str, Any]:
    """Four columns in the order of work, each with its first cards and its count."""
    asked = params.copy()
    asked["status"] = "all"
    rows = IssueFilter(asked, cards(project), request=user).qs
    searched = bool(asked.get("q", "").strip())
    counts = counted(rows, searched=searched)
    columns = [column(rows, status, counts.get(status, 0), params) for status in Issue.COLUMNS]
    for entry in columns:
        entry["capped"] = searched and entry["count"] == MOST_FOUND
    dress([issue for entry in columns for issue in entry["rows"]])
    return {
        "columns": columns,
        "total": sum(entry["count"] for entry in columns),
        "any": bool(counts) or known(project),
    }


def column(rows: QuerySet[Issue], status: str, count: int, params: QueryDict) -> dict[str, Any]:
    """One status: what is to be done first, or for what is over, what came last."""
    found = rows.filter(status=status)
    found = found.order_by("-status_at", "-pk") if status == S.COMPLETED else found.order_by("rank", "pk")
    return {
        "key": str(status),
        "label": str(S(status).label),
        "count": count,
        "rows": list(found[:COLUMN]),
        "more": max(0, count - COLUMN),
        "query": with_(params, view="list", status=str(status)),
        "fixed": status in {S.RUNNING, S.COMPLETED},
    }


def table(project: Project, user: User, params: QueryDict) -> dict[str, Any]:
    """One page of rows by priority."""
    asked = params.copy()
    asked.setdefault("status", "open")
    rows = IssueFilter(asked, cards(project), request=user).qs.order_by("priority", "rank", "pk")
    page = Capped(rows, PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    dress(shown)
    groups = [
        {"key": label.lower(), "label": label, "value": value, "rows": [row for row in shown if row.priority == value]}
        for value, label in Priority.choices
    ]
    return {
        "page": page, "groups": groups, "rows": shown, "status": asked["status"], "total": page.paginator.count,
        "capped": page.paginator.count >= MANY, "any": bool(shown) or known(project),
    }  # fmt: skip


def cards(project: Project) -> QuerySet[Issue]:
    """With what a row shows."""
    return Issue.objects.cards().filter(project=project).defer("search", "words").select_related("run", "created_by")


def known(project: Project) -> bool:
    """Whether there is any card at all."""
    return Issue.objects.filter(project=project).exists()


def counted(rows: QuerySet[Issue], *, searched: bool) -> dict[str, int]:
    """How many there are of each status; of what is searched for, no more than MOST_FOUND are counted."""
    if not searched:
        return dict(rows.order_by().values_list("status").annotate(Count("pk")))
    found = {
        str(status): rows.filter(status=status).order_by().values("pk")[:MOST_FOUND].count() for status in Issue.COLUMNS
    }
    return {status: count for status, count in found.items() if count}


def dress(rows: Sequence[Issue]) -> None:
    """Tell each row how many possible duplicates wait for a decision."""
    numbers = [issue.pk for issue in rows]
    waiting = Issue.objects.filter(duplicate_of__in=numbers, status=S.NEW).order_by()
    counts = dict(waiting.values_list("duplicate_of").annotate(Count("pk")))
    for issue in rows:
        issue.repeated = counts.get(issue.pk, 0)  # type: ignore[attr-defined]


def tabs(project: Project) -> list[tuple[str, str, str, int]]:
    """The pages of this app: URL name, label, icon, and how much waits there."""
    waiting = Question.objects.undecided().filter(project=project).count()
    running = IssueSession.objects.running().filter(project=project).count()
    return [
        ("issues:list", "Cards", "layout-kanban", 0),
        ("issues:sessions", "Sessions", "zoom-scan", running),
        ("issues:questions", "Questions", "help-circle", waiting),
        ("issues:chains", "Chains", "link", 0),
    ]


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**context, "live": True}
    return {name: render_to_string(f"issues/issue_list.html#{name}", shown) for name in ("cards", "count", "tabs")}


def with_(params: QueryDict, **changes: str) -> str:
    """The query with these instead, from its first page."""
    query = params.copy()
    query.pop("page", None)
    for name, value in changes.items():
        query[name] = value
    return query.urlencode()


def without(params: QueryDict, name: str) -> str:
    """The query without one of its parts."""
    query = params.copy()
    query.pop(name, None)
    return query.urlencode()
