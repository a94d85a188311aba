"""The list of a project's sandboxes, as its page and its socket both show it."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import QueryDict
from django.template.loader import render_to_string

from codecourier import registries
from codecourier.models import Project, User

from . import remarks
from .bill import bills
from .filters import SandboxFilter
from .models import Kind, Sandbox

PAGE = 50


def listing(project: Project, user: User, params: QueryDict) -> dict[str, Any]:
    """One page of rows, the filter's form, and how many there are of each kind. Unknown values filter nothing."""
    asked = params.copy()
    asked.setdefault("kind", Kind.STANDALONE)
    trash = asked.get("trash", "").lower() in {"true", "1", "on"}
    rows = Sandbox.objects.filter(project=project, deleted_at__isnull=not trash)
    chosen = SandboxFilter(asked, rows.select_related("template", "created_by"), request=user)
    page = Paginator(chosen.qs, PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    remarks.put(shown)
    costs = bills(shown)
    for row in shown:
        row.__dict__["bill"] = costs[row.pk]
    text = params.get("q", "").strip()
    return {
        "project": project,
        "filter": chosen,
        "page": page,
        "rows": shown,
        "elsewhere": [said for find in registries.finders if (said := find(project, text))] if text else [],
        "kinds": kinds(rows, asked),
        "trash": trash,
        "query": _without(params, "page"),
        "narrowed": any(params.get(name) for name in ("q", "status", "mine", "kind", "persona")),
        "any": bool(page.paginator.count) or rows.exists(),
    }


def kinds(rows: Any, asked: QueryDict) -> list[dict[str, Any]]:
    """Every kind that the project has, with its count and the query that shows it; standalone always."""
    counts = dict(rows.order_by().values_list("kind").annotate(Count("pk")))
    known = [kind for kind in Kind if counts.get(kind) or kind == Kind.STANDALONE]
    entries = [(str(kind.value), str(kind.label), counts.get(kind, 0)) for kind in known]
    if len(known) > 1:
        entries.append(("all", "All", sum(counts.values())))
    return [
        {"key": key, "label": label, "count": count, "query": _with(asked, kind=key), "chosen": asked["kind"] == key}
        for key, label, count in entries
    ]


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    template = "sandboxes/sandbox_list.html"
    shown = {**context, "live": True}
    return {name: render_to_string(f"{template}#{name}", shown) for name in ("rows", "count", "kinds")}


def _with(params: QueryDict, **changes: str) -> str:
    query = params.copy()
    query.pop("page", None)
    for name, value in changes.items():
        query[name] = value
    return query.urlencode()


def _without(params: QueryDict, name: str) -> str:
    query = params.copy()
    query.pop(name, None)
    return query.urlencode()
