"""What a run cost, from the bills of its sandboxes: the same numbers as on their pages."""

from collections.abc import Iterable
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
    found = Costs(by_sandbox=bills(list(sandboxes)))
    for made in found.by_sandbox.values():
        found.total += made.total
        found.tokens += made.taken + made.totals.get("output", 0)
    return found


def of_run(run: Run) -> Costs:
    """Of one run."""
    return of(run.sandboxes.select_related("template"))


def words(run: Run) -> str:
    """In words."""
    total = of_run(run).total
    return f"${total.usd:.2f}" if total.whole else f"${total.usd:.2f} and what has no price"
