"""What the pages list: the inbox, the library, the readings. All that narrows them is in the URL."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import QueryDict
from django.template.loader import render_to_string

from codecourier.models import Project
from personas.roles import CHOICES
from sandboxes.models import Sandbox

from . import curation
from .models import Extraction, LearningSettings, Lesson, Version

PAGE, QUEUE, WENT, RECENT = 50, 15, 20, 50
RELATED = ("extraction", "created_by", "decided_by", "edited_by", "similar_to", "merged_into")


def views(project: Project) -> dict[str, Any]:
    """What the bar of all these pages shows."""
    return {"project": project, "waiting": Lesson.objects.pending().filter(project=project).count()}


def inbox(project: Project, at: str = "") -> dict[str, Any]:
    """One pending lesson, the gravest first or the one that is asked for, and what is before and behind it."""
    rows = Lesson.objects.pending().filter(project=project).order_by("-severity", "pk")
    numbers = list(rows.values_list("pk", flat=True))
    place = numbers.index(int(at)) if at.isdecimal() and len(at) < 18 and int(at) in numbers else 0
    lesson = rows.select_related(*RELATED).filter(pk=numbers[place]).first() if numbers else None
    return {
        **views(project),
        "lesson": lesson,
        "number": place + 1,
        "before": numbers[place - 1] if place else None,
        "after": numbers[place + 1] if place + 1 < len(numbers) else None,
        "following": numbers[place + 1] if place + 1 < len(numbers) else (numbers[place - 1] if place else None),
        "queue": rows[max(0, place - 3) :][:QUEUE],
        "figures": curation.figures(project),
        "any": bool(numbers) or Lesson.objects.filter(project=project).exists(),
        **(told(lesson) if lesson else {}),
    }


def told(lesson: Lesson) -> dict[str, Any]:
    """What is shown of one lesson beside its words."""
    settings = LearningSettings.of(lesson.project)
    return {
        "evidence": list(lesson.evidence),
        "readings": list(lesson.readings.select_related("project")),
        "merged": list(lesson.merged.all()),
        "threshold": settings.threshold,
        "alike": round(100 * lesson.similarity) if lesson.similarity is not None else None,
    }


def library(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of lessons, and how many there are of each status. Unknown values narrow nothing."""
    rows = Lesson.objects.filter(project=project)
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    status = params.get("status", "")
    status = status if status in {*Lesson.Status.values, "all"} else Lesson.Status.APPROVED
    found = rows if status == "all" else rows.filter(status=status)
    page = Paginator(narrowed(found, params).annotate(support=Count("merged", distinct=True)), PAGE)
    shown = page.get_page(params.get("page"))
    query = params.copy()
    query.pop("page", None)
    return {
        **views(project),
        "page": shown,
        "rows": list(shown.object_list),
        "status": status,
        "statuses": [*((value, label, counts.get(value, 0)) for value, label in Lesson.Status.choices),
                     ("all", "All", sum(counts.values()))],
        "severities": Lesson.Severity.choices[::-1],
        "categories": Lesson.Category.choices,
        "roles": CHOICES,
        "query": query.urlencode(),
        "figures": curation.figures(project),
        "any": bool(counts),
    }  # fmt: skip


def narrowed(rows: QuerySet[Lesson], params: QueryDict) -> Any:
    """By words, severity, category and role."""
    found = Lesson.objects.filter(pk__in=rows.values("pk"))
    if text := params.get("q", "").replace("\0", "").strip()[:200]:
        found = found.holding(text)
    if (severity := params.get("severity", "")) in {str(value) for value in Lesson.Severity.values}:
        found = found.filter(severity=int(severity))
    if (category := params.get("category", "")) in Lesson.Category.values:
        found = found.filter(category=category)
    if (role := params.get("role", "")) in dict(CHOICES):
        found = found.filter(roles__contains=[role]) | found.filter(roles=[])
    return found.order_by("-severity", "-pk")


def sessions(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of readings, the newest first."""
    rows = Extraction.objects.filter(project=project)
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    status = params.get("status", "")
    found = rows.filter(status=status) if status in Extraction.Status.values else rows
    related = found.select_related("session", "asked_by").prefetch_related("sandboxes")
    page = Paginator(related, PAGE).get_page(params.get("page"))
    return {
        **views(project),
        "page": page,
        "rows": list(page.object_list),
        "status": status if status in Extraction.Status.values else "",
        "statuses": [("", "All", sum(counts.values())),
                     *((value, label, counts.get(value, 0)) for value, label in Extraction.Status.choices)],
        "query": f"status={status}" if status else "",
        "choices": LearningSettings.of(project),
    }  # fmt: skip


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live part of the readings."""
    return {"rows": render_to_string("learnings/session_list.html#rows", {**context, "live": True})}


def went_to(lesson: Lesson) -> dict[str, Any]:
    """The versions that it is in, and the sandboxes that were told one of those in a role that it concerns."""
    versions = list(lesson.versions.order_by("-number"))
    which = Q(pk=None)
    for one in versions[:RECENT]:
        which |= Q(labels__contains={"learnings": one.number})
    told = Sandbox.objects.filter(which, project=lesson.project)
    if lesson.roles:
        told = told.filter(labels__role__in=lesson.roles)
    return {"versions": versions, **machines(told)}


def had(version: Version) -> dict[str, Any]:
    """The sandboxes that were told a version."""
    return machines(Sandbox.objects.filter(project=version.project, labels__contains={"learnings": version.number}))


def machines(rows: QuerySet[Sandbox]) -> dict[str, Any]:
    """The newest of some sandboxes, and how many there are; steps with the number of their run."""
    return {"told": list(rows.order_by("-pk")[:WENT]), "told_total": rows.count()}
