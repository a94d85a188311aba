"""What a run of a workflow will probably take and cost: what its last completed ones did."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import F, Sum

from usage.models import RunSum

from .models import Run, Workflow

# So many runs tell how it is now.
LAST = 20


@dataclass(frozen=True)
class Estimate:
    """Of `count` completed runs: the middle one, the least and the most. `usd` is None where nothing is known."""

    count: int = 0
    took: timedelta | None = None
    fastest: timedelta | None = None
    slowest: timedelta | None = None
    usd: Decimal | None = None
    cheapest: Decimal | None = None
    dearest: Decimal | None = None
    # Some of what they used has no rate, so it was more.
    unpriced: bool = False

    def to_json(self) -> dict[str, Any]:
        """For a run's manifest: what it was expected to take and to cost when it was launched."""
        return {
            "runs": self.count, "seconds": self.took.total_seconds() if self.took else None,
            "usd": None if self.usd is None else str(self.usd), "unpriced": self.unpriced,
        }  # fmt: skip


def pinned(run: Run) -> Estimate:
    """What a run was expected to take and to cost when it was launched."""
    told = run.manifest.get("estimate") or {}
    return Estimate(
        count=told.get("runs") or 0,
        took=timedelta(seconds=told["seconds"]) if told.get("seconds") is not None else None,
        usd=Decimal(told["usd"]) if told.get("usd") else None,
        unpriced=bool(told.get("unpriced")),
    )


def expected(ids: Collection[int]) -> dict[int, Decimal]:
    """USD that runs were expected to cost at their launch, of those that had a history to go by."""
    rows = Run.objects.filter(pk__in=ids).values_list("pk", "manifest__estimate__usd")
    return {pk: Decimal(usd) for pk, usd in rows if usd}


def of(workflow: Workflow) -> Estimate:
    """By history; an empty one for a workflow that never completed a run."""
    rows = Run.objects.filter(workflow=workflow, status=Run.Status.COMPLETED, started_at__isnull=False)
    took = dict(rows.order_by("-id").values_list("pk", F("ended_at") - F("started_at"))[:LAST])
    if not took:
        return Estimate()
    spent = RunSum.objects.filter(run_id__in=took).order_by().values_list("run_id")
    sums = list(spent.annotate(Sum("cost"), Sum("unpriced")))
    costs, times = sorted(cost for _, cost, _ in sums), sorted(took.values())
    unpriced = any(amount for _, _, amount in sums)
    known = any(costs) or (bool(costs) and not unpriced)
    return Estimate(
        count=len(times), took=median(times), fastest=times[0], slowest=times[-1],
        usd=median(costs) if known else None, cheapest=costs[0] if known else None,
        dearest=costs[-1] if known else None, unpriced=unpriced,
    )  # fmt: skip
