"""What a run cost, from the bills of its sandboxes: the same numbers as on their pages."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sandboxes.bill import Bill, bills
from sandboxes.models import Sandbox
from sandboxes.price import Cost

from .models import Run


@dataclass
class Costs:
    """In all, and by sandbox; `per_second` is what ticks just now."""

    total: Cost = field(default_factory=Cost)
    by_sandbox: dict[int, Bill] = field(default_factory=dict)
    tokens: int = 0

    @property
    def per_second(self) -> Decimal:
        """USD that running machines cost each second."""
        return sum((made.per_second for made in self.by_sandbox.values()), Decimal(0))


def of(sandboxes: Iterable[Sandbox]) -> Costs:
    """Of these sandboxes."""
    return added(bills(list(sandboxes)).items())


def added(made: Iterable[tuple[int, Bill]]) -> Costs:
    """Of sandboxes with their bills."""
    found = Costs()
    for pk, one in made:
        found.by_sandbox[pk] = one
        found.total += one.total
        found.tokens += one.taken + one.totals.get("output", 0)
    return found


def of_run(run: Run) -> Costs:
    """Of one run."""
    return of(run.sandboxes.select_related("template"))


def of_runs(runs: Sequence[Run]) -> dict[int, Costs]:
    """Of many by their ids, with a handful of questions however many they are."""
    where = {"project__in": {run.project_id for run in runs}, "labels__run_id__in": [run.pk for run in runs]}
    sandboxes = list(Sandbox.objects.filter(**where).select_related("template"))
    made, mine = bills(sandboxes), defaultdict[int, list[int]](list)
    for sandbox in sandboxes:
        mine[sandbox.labels["run_id"]].append(sandbox.pk)
    return {run.pk: added((pk, made[pk]) for pk in mine[run.pk]) for run in runs}


def words(run: Run) -> str:
    """In words."""
    total = of_run(run).total
    return f"${total.usd:.2f}" if total.whole else f"${total.usd:.2f} and what has no price"
