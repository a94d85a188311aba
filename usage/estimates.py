"""What a run will cost and how long it will take, from the project's own history of that workflow.

estimates.of(project, workflow.pk, finished={run.pk: seconds, ...})   # None: there is no history
estimates.step(project, workflow.pk, step)                            # for `budgets.reserve(amount=...)`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import Max, Min, Q, QuerySet, Sum

from codecourier.models import Project
from sandboxes.models import Sandbox

from .ledger import number
from .models import Entry

# So many of the newest runs are looked at.
RUNS = 30
UNPRICED = Sum("quantity", filter=Q(cost=None))


@dataclass(frozen=True)
class Estimate:
    """Of cost in USD and time: half of the runs lay between low and high, likely is the one in the middle."""

    low: Decimal
    likely: Decimal
    high: Decimal
    low_time: timedelta
    likely_time: timedelta
    high_time: timedelta
    runs: int
    # Whether all that those runs used had a price.
    whole: bool


def of(project: Project, workflow_id: int, finished: Mapping[int, float] | None = None) -> Estimate | None:
    """From the runs that `finished` names, with their seconds; without it from all whose machines are over."""
    rows = history(project, workflow_id)
    known = rows.filter(run_id__in=finished) if finished is not None else rows.exclude(run_id__in=alive(project))
    sums = list(
        known.values("run_id")
        .annotate(usd=Sum("cost"), unpriced=UNPRICED, first=Min("at"), last=Max("at"))
        .order_by("-run_id")[:RUNS]
    )
    if not sums:
        return None
    times = [(finished or {}).get(row["run_id"] or 0, (row["last"] - row["first"]).total_seconds()) for row in sums]
    costs = spread([row["usd"] or Decimal(0) for row in sums])
    spans = spread([timedelta(seconds=time) for time in times])
    return Estimate(*costs, *spans, runs=len(sums), whole=not any(row["unpriced"] for row in sums))


def step(project: Project, workflow_id: int, step: str | int) -> Decimal | None:
    """USD that one turn of a step usually costs; None without history."""
    rows = history(project, workflow_id).filter(step=str(step))
    turns = rows.values("run_id", "iteration", "candidate").annotate(usd=Sum("cost")).order_by("-run_id")[:RUNS]
    costs = [row["usd"] for row in turns if row["usd"] is not None]
    return median(costs) if costs else None


def history(project: Project, workflow_id: int) -> QuerySet[Entry]:
    """All that the workflow's runs used."""
    return Entry.objects.filter(project=project, workflow_id=workflow_id, run_id__isnull=False).order_by()


def alive(project: Project) -> set[int]:
    """The runs that still have a machine."""
    labels = Sandbox.objects.alive().filter(project=project, labels__has_key="run_id").values_list("labels", flat=True)
    return {run for known in labels if (run := number(known.get("run_id"))) is not None}


def spread(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The first quartile, the middle, the third; of few the ends."""
    ordered = sorted(values)
    edge = len(ordered) // 4 if len(ordered) > 3 else 0
    return ordered[edge], median(ordered), ordered[-1 - edge]
