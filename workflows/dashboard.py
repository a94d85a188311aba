"""A project's runs on its dashboard: what needs somebody, what is at work, what was last, how often it goes well."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from codecourier.registries import Card

from . import listing
from .models import Run, StepRun
from .reasons import Reason

RECENT = 8
# A failed run needs somebody for so long, unless it was run again; success is reckoned over so long.
NEEDS, COUNTS = timedelta(days=7), timedelta(days=30)
S = Run.Status


def card(project: Any) -> Card:
    """A constant number of questions, however many runs there are."""
    rows = Run.objects.filter(project=project).defer("prompt", "context", "manifest", "setup_script")
    shown = rows.select_related("created_by")
    active, recent = list(shown.active()[:RECENT]), list(shown.exclude(status__in=Run.OPEN)[:RECENT])
    listing.dress(project, [*active, *recent])
    at_work(active)
    context = {
        "project": project, "active": active, "recent": recent, "needs": needs(shown), "any": bool(active or recent),
        "told": listing.told(counts(rows)), "days": COUNTS.days,
        "pending": sum(run.status == S.PENDING for run in active),
    }  # fmt: skip
    return Card("workflows/_dashboard.html", context)


def counts(rows: QuerySet[Run]) -> dict[str, int]:
    """Of the last while, by status."""
    since = rows.filter(created_at__gte=timezone.now() - COUNTS)
    return dict(since.order_by().values_list("status").annotate(Count("pk")))


def at_work(active: Sequence[Run]) -> None:
    """Which steps of each are at work, beside the rows."""
    found, known = defaultdict[int, list[StepRun]](list), {run.pk: run for run in active}
    fields = ("run_id", "kind", "step", "iteration", "candidate", "status")
    for row in StepRun.objects.open().filter(run__in=known).only(*fields).order_by("id"):
        found[row.run_id].append(row)
    names = dict(Run.objects.filter(pk__in=known).values_list("pk", "manifest__steps"))
    for run in active:
        run.__dict__["working"] = list(dict.fromkeys(said(row, names[run.pk]) for row in found[run.pk]))


def said(row: StepRun, steps: Sequence[dict[str, Any]]) -> str:
    """A step at work, in words."""
    name = steps[row.step]["name"] if row.step < len(steps) else row.get_kind_display()
    what = "" if row.kind in {StepRun.Kind.STEP, StepRun.Kind.EVALUATOR} else f", {row.get_kind_display().lower()}"
    return f"{name}{what}{f', iteration {row.iteration}' if row.iteration > 1 else ''}"


def needs(rows: QuerySet[Run]) -> list[Run]:
    """Those that wait for somebody: held while they run, or failed lately and not run again."""
    held = rows.filter(status=S.RUNNING).exclude(held="")
    failed = rows.filter(status=S.FAILED, ended_at__gte=timezone.now() - NEEDS, retries=None)
    found = [*held[:RECENT], *failed[:RECENT]][:RECENT]
    for run in found:
        run.__dict__["why"] = why(run)
    return found


def why(run: Run) -> str:
    """In a word what is to be done."""
    if run.status == S.RUNNING:
        return "Waits for you"
    return "Not approved" if run.reason == Reason.NOT_APPROVED else "Failed"
