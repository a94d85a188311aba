"""The rates of now for what was used before: shown first, then entered as corrections. Nothing else does that."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from . import ledger, rollups
from .models import Entry, Rate

LOCK = 0x2E9
BATCH = 500


@dataclass
class Difference:
    """What one model's metric cost until now and would cost; `unpriced` rows had no price before."""

    rows: int = 0
    unpriced: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)


def standing(since: datetime | None = None, until: datetime | None = None, model: str = "") -> QuerySet[Entry]:
    """The rows that count: neither taken back nor taking one back."""
    rows = Entry.objects.filter(corrections=None, quantity__gt=0)
    rows = rows.filter(at__gte=since) if since else rows
    rows = rows.filter(at__lt=until) if until else rows
    rows = rows.filter(model=model) if model else rows
    return rows.order_by("service", "model", "at", "turn_id", "id")


def changes(rows: QuerySet[Entry]) -> Iterator[tuple[Entry, Rate | None]]:
    """Those that cost something else at the rates as they are now, each with its rate."""
    for entry, rate in ledger.priced(rows.iterator(chunk_size=2000), together):
        if (rate.per_unit if rate else None) != entry.price:
            yield entry, rate


def together(entry: Entry) -> tuple[object, ...]:
    """As in the ledger."""
    return (entry.service, entry.model, entry.at, entry.turn_id)


def difference(rows: QuerySet[Entry]) -> dict[tuple[str, str, str], Difference]:
    """What would change, by service, model and metric."""
    found = dict[tuple[str, str, str], Difference]()
    for entry, rate in changes(rows):
        line = found.setdefault((entry.service, entry.model, entry.metric), Difference())
        line.rows += 1
        line.unpriced += entry.cost is None
        line.before += entry.cost or 0
        line.after += rate.per_unit * entry.quantity if rate else 0
    return found


def apply(rows: QuerySet[Entry]) -> int:
    """Enter the corrections; the number of corrected rows. One that is corrected already is not corrected again."""
    count, batch = 0, list[tuple[Entry, Rate | None]]()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for change in changes(rows):
            batch.append(change)
            if len(batch) == BATCH:
                count += enter(batch)
                batch.clear()
        count += enter(batch)
    return count


def enter(batch: list[tuple[Entry, Rate | None]]) -> int:
    """Each row taken back, and entered anew."""
    new = list[Entry]()
    for entry, rate in batch:
        new.append(corrected(entry, "back", -entry.quantity, entry.rate_id, entry.price))
        new.append(corrected(entry, "anew", entry.quantity, rate.pk if rate else None, rate.per_unit if rate else None))
    rollups.add(Entry.objects.bulk_create(new))
    return len(batch)


def corrected(entry: Entry, what: str, quantity: Decimal, rate: int | None, price: Decimal | None) -> Entry:
    """A row like this one with another quantity or price."""
    fields = {field.attname: getattr(entry, field.attname) for field in Entry._meta.concrete_fields}
    fields |= {
        "id": None, "key": f"fix:{entry.pk}:{what}", "corrects_id": entry.pk, "quantity": quantity, "rate_id": rate,
        "price": price, "cost": None if price is None else price * quantity, "recorded_at": timezone.now(),
    }  # fmt: skip
    return Entry(**fields)
