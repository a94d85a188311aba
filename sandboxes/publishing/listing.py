"""The list of a project's pull requests."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import QueryDict
from django.template.loader import render_to_string

from codecourier.models import Project
from sandboxes import remarks, spending
from sandboxes.models import PullRequest

PAGE = 25
P = PullRequest.Status
# What people look for, by the name in the URL; the first is what they see without asking.
VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "active": ("Active", (P.DRAFT, P.OPEN, P.PUSHING, P.PUSHED, P.BLOCKED, P.FAILED)),
    "draft": ("Draft", (P.DRAFT,)),
    "open": ("Open", (P.OPEN,)),
    "stuck": ("Need you", (P.BLOCKED, P.FAILED)),
    "merged": ("Merged", (P.MERGED,)),
    "closed": ("Closed", (P.CLOSED,)),
    "all": ("All", tuple(P.values)),
}


def listing(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of rows with their cost, and how many there are in each view."""
    rows = PullRequest.objects.filter(project=project)
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    view = params.get("view", "")
    view = view if view in VIEWS else "active"
    found = rows.filter(status__in=VIEWS[view][1])
    if text := params.get("q", "").strip():
        number = Q(number=int(text.lstrip("#"))) if text.lstrip("#").isdecimal() and len(text) < 9 else Q()
        found = found.filter(Q(title__icontains=text) | Q(branch__icontains=text) | number)
    related = found.select_related("sandbox", "created_by")
    page = Paginator(related, PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    costs = spending.of_pulls(shown)
    for row in shown:
        row.sandbox.project = project
        row.__dict__["cost"] = costs[row.pk]
    remarks.put([row.sandbox for row in shown])
    query = params.copy()
    query.pop("page", None)
    return {
        "project": project,
        "page": page,
        "rows": shown,
        "view": view,
        "views": [(name, label, sum(counts.get(one, 0) for one in kinds)) for name, (label, kinds) in VIEWS.items()],
        "query": query.urlencode(),
        "any": bool(counts),
    }


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    template = "sandboxes/pull_list.html"
    return {name: render_to_string(f"{template}#{name}", {**context, "live": True}) for name in ("views", "rows")}
