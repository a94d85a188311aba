"""What runs now and is not in the ledger yet: reckoned from the bills, which go on where the ledger ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from sandboxes.bill import bills
from sandboxes.models import Sandbox


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
    made = bills(list(sandboxes))
    return Going(
        {pk: one.total.fresh for pk, one in made.items()},
        sum((one.per_second for one in made.values()), Decimal(0)),
    )
