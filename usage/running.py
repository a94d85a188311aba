"""What runs now and is not in the ledger yet: reckoned from the bills, which go on where the ledger ends."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import Sum

from sandboxes.bill import bills
from sandboxes.models import Sandbox

from .models import Entry


@dataclass
class Going:
    """USD that are not recorded yet by sandbox, and what all of them add each second."""

    usd: dict[int, Decimal] = field(default_factory=dict)
    per_second: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """Of all of them."""
        return sum(self.usd.values(), Decimal(0))


def going(sandboxes: Iterable[Sandbox]) -> Going:
    """Of these sandboxes."""
    rows = list(sandboxes)
    recorded, found = recorded_of([row.pk for row in rows]), Going()
    for pk, made in bills(rows).items():
        found.usd[pk] = max(made.total.usd - recorded[pk], Decimal(0))
        found.per_second += made.per_second
    return found


def recorded_of(ids: list[int]) -> Mapping[int, Decimal]:
    """USD in the ledger, by sandbox."""
    rows = Entry.objects.filter(sandbox_id__in=ids).order_by().values_list("sandbox_id").annotate(sum=Sum("cost"))
    return defaultdict(Decimal, {pk: usd or Decimal(0) for pk, usd in rows if pk is not None})
