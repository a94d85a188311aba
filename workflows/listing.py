"""The lists of a project's workflows and runs, as their pages and sockets show them."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import QueryDict
from django.template.loader import render_to_string

from codecourier.models import Project, User
from sandboxes.models import PullRequest

from . import costs, estimates
from .filters import RunFilter
from .models import Block, Firing, Run, Schedule, Source, Step, Workflow

PAGE = 30
RECENT = 10
S = Run.Status
# What people look for, by the name in the URL; the first is what they see without asking.
VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "all": ("All", tuple(S.values)),
    "active": ("Active", Run.OPEN),
    **{str(status.value): (str(status.label), (status.value,)) for status in S},
}


def runs(project: Project, user: User, params: QueryDict) -> dict[str, Any]:
    """One page of rows with what they cost, and how many there are of each status. Unknown values filter nothing."""
    rows = Run.objects.filter(project=project)
    chosen = RunFilter(params, rows)
    narrowed = chosen.qs
    counts = dict(narrowed.order_by().values_list("status").annotate(Count("pk")))
    view = params.get("status", "")
    view = view if view in VIEWS else "all"
    found = narrowed.filter(status__in=VIEWS[view][1]).select_related("workflow", "created_by")
    page = Paginator(found, PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    dress(project, shown)
    return {
        "project": project,
        "page": page,
        "rows": shown,
        "view": view,
        "views": [entry(params, name, view, counts) for name in VIEWS],
        "workflows": Workflow.objects.filter(project=project),
        "sources": Source.choices,
        "people": User.objects.filter(memberships__project=project).order_by("name", "email"),
        "query": without(params, "page"),
        "narrowed": any(params.get(name) for name in ("q", "status", "workflow", "source", "who")),
        "any": bool(page.paginator.count) or rows.exists(),
    }


def entry(params: QueryDict, name: str, chosen: str, counts: dict[str, int]) -> dict[str, Any]:
    """One view with its count and the query that shows it."""
    label, statuses = VIEWS[name]
    query = QueryDict(without(params, "page", "status"), mutable=True)
    if name != "all":
        query["status"] = name
    count = sum(counts.get(status, 0) for status in statuses)
    return {"name": name, "label": label, "count": count, "query": query.urlencode(), "chosen": name == chosen}


def without(params: QueryDict, *names: str) -> str:
    """A query without these."""
    query = params.copy()
    for name in names:
        query.pop(name, None)
    return query.urlencode()


def dress(project: Project, shown: list[Run]) -> None:
    """What rows show besides their own columns: the cost and the pull request, in few queries for all of them."""
    spent = costs.of_runs(shown)
    branches = [run.work_branch for run in shown if run.work_branch]
    requests = {row.branch: row for row in pulls(project, branches)}
    for run in shown:
        run.__dict__["costs"] = spent[run.pk]
        run.__dict__["pull"] = requests.get(run.work_branch)


def pulls(project: Project, branches: Iterable[str]) -> QuerySet[PullRequest]:
    """Of these branches, the newest of a branch last."""
    return PullRequest.objects.filter(project=project, branch__in=branches).order_by("id")


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts of the list of runs, by name."""
    shown = {**context, "live": True}
    return {name: render_to_string(f"workflows/run_list.html#{name}", shown) for name in ("rows", "count", "views")}


def workflows(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of workflows with their steps and how their runs went."""
    archived = "archived" in params
    rows = Workflow.objects.filter(project=project, archived_at__isnull=not archived)
    if text := params.get("q", "").strip():
        rows = rows.filter(Q(name__icontains=text) | Q(description__icontains=text))
    page = Paginator(rows.prefetch_related("steps__persona"), PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    for row, told in zip(shown, histories(shown), strict=True):
        row.__dict__["told"] = told
    return {
        "project": project, "page": page, "rows": shown, "archived": archived, "query": without(params, "page"),
        "narrowed": bool(text), "others": Workflow.objects.filter(project=project).exists(),
    }  # fmt: skip


def histories(shown: list[Workflow]) -> list[dict[str, Any]]:
    """How the runs of each went, in two questions for all of them."""
    counts = defaultdict[int, dict[str, int]](dict)
    rows = Run.objects.filter(workflow__in=shown).order_by()
    for pk, status, count in rows.values_list("workflow", "status").annotate(Count("pk")):
        counts[pk][status] = count
    newest = rows.order_by("workflow_id", "-id").distinct("workflow_id").defer("manifest", "prompt", "context")
    last = {run.workflow_id: run for run in newest}
    return [{**told(counts[row.pk]), "last": last.get(row.pk)} for row in shown]


def told(counts: dict[str, int]) -> dict[str, Any]:
    """Counts of runs by status in words; those that somebody cancelled say nothing of success."""
    over = counts.get(S.COMPLETED, 0) + counts.get(S.FAILED, 0)
    return {
        "total": sum(counts.values()),
        "active": sum(counts.get(status, 0) for status in Run.OPEN),
        "over": over,
        "completed": counts.get(S.COMPLETED, 0),
        "rate": round(100 * counts.get(S.COMPLETED, 0) / over) if over else None,
    }


def workflow(row: Workflow) -> dict[str, Any]:
    """The page of one workflow: its steps, who uses it, its last runs."""
    recent = list(Run.objects.filter(workflow=row).select_related("workflow", "created_by")[:RECENT])
    dress(row.project, recent)
    people = Run.objects.filter(workflow=row, created_by__isnull=False).order_by()
    return {
        "project": row.project,
        "workflow": row,
        "items": items(row.steps.select_related("persona", "block", "judge")),
        "told": histories([row])[0],
        "rows": recent,
        "estimate": estimates.of(row),
        "schedules": row.schedules.all(),
        "people": User.objects.filter(pk__in=people.values("created_by")).order_by("name", "email")[:RECENT],
    }


def items(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Steps in order, those of one block together: {"block": Block | None, "steps": [...]}."""
    groups = groupby(steps, key=lambda step: step.block or step)
    return [{"block": key if isinstance(key, Block) else None, "steps": list(group)} for key, group in groups]


def schedules(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of schedules with how the last time of each went."""
    rows = Schedule.objects.filter(project=project)
    if text := params.get("q", "").strip():
        rows = rows.filter(Q(name__icontains=text) | Q(prompt__icontains=text) | Q(workflow__name__icontains=text))
    if params.get("paused"):
        rows = rows.filter(paused_at__isnull=False)
    page = Paginator(rows.select_related("workflow"), PAGE).get_page(params.get("page"))
    shown = list(page.object_list)
    newest = Firing.objects.filter(schedule__in=shown).order_by("schedule_id", "-planned_at").distinct("schedule_id")
    last = {row.schedule_id: row for row in newest.select_related("run")}
    for schedule in shown:
        schedule.__dict__["last"] = last.get(schedule.pk)
    return {
        "project": project, "page": page, "rows": shown, "query": without(params, "page"),
        "narrowed": bool(text or params.get("paused")),
    }  # fmt: skip
