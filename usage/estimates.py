"""What a turn of a workflow's step usually costs in a project, for `budgets.reserve(amount=...)`."""

from decimal import Decimal
from statistics import median

from django.db.models import Sum

from codecourier.models import Project

from .models import Entry

# So many of the newest turns are looked at.
TURNS = 30


def step(project: Project, workflow_id: int, step: str | int) -> Decimal | None:
    """USD that one turn of a step usually costs; None without history."""
    rows = Entry.objects.filter(
        project=project, workflow_id=workflow_id, run_id__isnull=False, step=str(step)
    ).order_by()
    turns = rows.values("run_id", "iteration", "candidate").annotate(usd=Sum("cost")).order_by("-run_id")[:TURNS]
    costs = [row["usd"] for row in turns if row["usd"] is not None]
    return median(costs) if costs else None
