"""The ledger: every fact that is complete, written once, at the rate of its time.

`meter` works out all facts of a sandbox and writes those that are missing, so it may be asked any number of times: at
the end of a turn and of a running stretch by reactions, in between and after a lost task by `sweep`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from sandboxes import bill, metering
from sandboxes.metering import Fact
from sandboxes.models import Orphan, Sandbox, Turn
from sandboxes.price import Cost
from sandboxes.price import name as name_of

from . import rollups
from .models import Entry, Meter, Rate, Reservation
from .prices import Tariff, tariff

S = Sandbox.Status
# A machine that runs on is metered so often, so that budgets see it.
EVERY = timedelta(minutes=15)
# Labels that are texts, with the lengths of their columns.
TEXTS = {"step": 120, "candidate": 40, "issue": 40, "workflow": 200, "persona": 200, "role": 40, "source": 40}
# What `sweep` hands out at once.
MANY = 200


class Tariffs(dict[tuple[str, str], Tariff]):
    """What models cost, each asked for once."""

    def __missing__(self, which: tuple[str, str]) -> Tariff:
        self[which] = tariff(*which)
        return self[which]


def meter(pk: int) -> int:
    """Write what is complete of a sandbox and not written yet; the number of new entries."""
    with transaction.atomic():
        Meter.objects.bulk_create([Meter(sandbox_id=pk)], ignore_conflicts=True)
        mark = Meter.objects.select_for_update().get(pk=pk)
        sandbox = Sandbox.objects.select_related("project", "created_by").filter(pk=pk).first()
        if mark.closed or sandbox is None:
            return 0
        now = timezone.now()
        count = write(complete(sandbox, now), lambda fact: labels(sandbox, fact.turn), sandbox_id=pk)
        mark.looked_at, mark.closed = now, sandbox.final
        mark.save()
        metered = sandbox.turns.exclude(status__in=Turn.OPEN).values("pk")
        Reservation.objects.filter(turn_id__in=metered, released_at=None).update(released_at=now)
    return count


def complete(sandbox: Sandbox, now: datetime) -> Iterator[Fact]:
    """The facts of a sandbox that change no more."""
    turns = list(sandbox.turns.select_related("job", "created_by"))
    for turn in turns:
        turn.sandbox = sandbox
        if turn.final:
            yield from metering.tokens(turn, bill.used(turn) or {})
    for piece in metering.pieces(sandbox, turns, sandbox.phases.all(), sandbox.history, now):
        if piece.end:
            yield from metering.machine(sandbox, piece, now)


def write(facts: Iterable[Fact], labelled: Callable[[Fact], dict[str, Any]], **known: Any) -> int:
    """Enter the facts that are new; `known` narrows down where they would be found. Call it under a lock."""
    there = set(Entry.objects.filter(corrects=None, **known).values_list("key", flat=True))
    new = [fact for fact in facts if fact.key not in there]
    rows = [
        Entry(
            key=fact.key, fact=fact.key, service=fact.service, model=fact.model, metric=fact.metric,
            activity=fact.activity, quantity=fact.quantity, at=fact.at, day=fact.at.astimezone(UTC).date(),
            **price(rate, fact.quantity), **labelled(fact),
        )
        for fact, rate in priced(new, together)
    ]  # fmt: skip
    rollups.add(Entry.objects.bulk_create(rows, batch_size=500))
    return len(rows)


def price(rate: Rate | None, quantity: Decimal) -> dict[str, Any]:
    """What is entered of a price."""
    if rate is None:
        return {"rate_id": None, "price": None, "cost": None}
    return {"rate_id": rate.pk, "price": rate.per_unit, "cost": rate.per_unit * quantity}


def priced[Row: (Fact, Entry)](
    rows: Iterable[Row], together: Callable[[Row], Any]
) -> Iterator[tuple[Row, Rate | None]]:
    """Each with its rate; what belongs together has a price for all of it or for none."""
    tariffs = Tariffs()
    for _, found in groupby(rows, together):
        same = list(found)
        rates = tariffs[same[0].service, same[0].model].rates(same[0].at)
        whole = {row.metric for row in same} <= rates.keys()
        for row in same:
            yield row, rates[row.metric] if whole else None


def together(fact: Fact) -> tuple[Any, ...]:
    """What has a price for all of it or for none."""
    return (fact.service, fact.model, fact.at, fact.turn)


def labels(sandbox: Sandbox, turn: Turn | None) -> dict[str, Any]:
    """Whose work it was: by the turn's labels, which are the sandbox's of its time."""
    known = turn.labels if turn and turn.labels else sandbox.labels
    person = (turn and turn.created_by) or sandbox.created_by
    return {
        "sandbox_id": sandbox.pk,
        "turn_id": turn.pk if turn else None,
        "project_id": sandbox.project_id,
        "project_name": sandbox.project.name,
        "person_id": person.pk if person else None,
        "person_name": str(person or "")[:200],
        "kind": sandbox.kind,
        "run_id": number(known.get("run_id", known.get("run"))),
        "iteration": number(known.get("iteration")),
        "workflow_id": number(known.get("workflow_id")),
        "persona_id": number(known.get("persona_id")),
        **{name: text(known.get(name), longest) for name, longest in TEXTS.items()},
    }


def number(value: Any) -> int | None:
    """A whole number, also one that is written as a text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int and abs(value) < 2**31 else None


def text(value: Any, longest: int) -> str:
    """What a label says, as long as its column."""
    return "" if value is None else str(value)[:longest]


def recorded(sandboxes: Collection[int]) -> Mapping[str, Decimal | None]:
    """What is in the ledger of sandboxes, corrections included; see `registries.ledgers`."""
    found = dict[str, Decimal | None]()
    rows = Entry.objects.filter(sandbox_id__in=sandboxes).order_by("id")
    for fact, quantity, cost in rows.values_list("fact", "quantity", "cost"):
        # Of a fact that was corrected, the last row says what it costs now.
        if quantity > 0:
            found[fact] = cost
    return found


def removed(runs: Collection[int]) -> Mapping[int, tuple[Cost, int]]:
    """What is in the ledger of runs for sandboxes that were deleted; see `registries.removed`."""
    gone = ~Exists(Sandbox.objects.filter(pk=OuterRef("sandbox_id")))
    rows = Entry.objects.filter(gone, run_id__in=runs).order_by().values_list("run_id", "service", "model")
    tokens, bare = Sum("quantity", filter=~Q(metric__endswith="_seconds")), Count("pk", filter=Q(cost=None))
    found = dict[int, tuple[Cost, int]]()
    for run, service, model, usd, used, unpriced in rows.annotate(Sum("cost"), tokens=tokens, bare=bare):
        cost, count = found.get(run, (Cost(), 0))
        names = (name_of(service, model),) if unpriced else ()
        found[run] = (cost + Cost(usd or Decimal(0), names), count + int(used or 0))
    return found


# --- what nobody reacted to ---


def sweep(enqueue: Callable[[int], Any]) -> int:
    """Hand out the sandboxes that have something to be written; the number of them."""
    pending = list(waiting().values_list("pk", flat=True)[:MANY])
    for pk in pending:
        enqueue(pk)
    return len(pending)


def waiting() -> QuerySet[Sandbox]:
    """Those whose meter is open and behind: over, moved since, or running for a while."""
    marks = Meter.objects.filter(sandbox_id=OuterRef("pk"))
    rows = Sandbox.objects.order_by("pk").annotate(looked_at=Subquery(marks.values("looked_at")))
    closed = Meter.objects.filter(closed=True).values("sandbox_id")
    behind = Q(looked_at=None) | Q(status__in=Sandbox.FINAL) | Q(status_at__gte=F("looked_at"))
    behind |= Q(status__in=[S.CREATING, S.RUNNING], looked_at__lt=timezone.now() - EVERY)
    return rows.exclude(pk__in=closed).filter(behind)


def orphans() -> int:
    """Enter what machines cost that nobody claimed; the number of new entries."""
    count = 0
    for orphan in Orphan.objects.filter(what=Orphan.What.MACHINE, seconds__gt=0, cpu__gt=0).order_by("-pk")[:MANY]:
        with transaction.atomic():
            Orphan.objects.select_for_update().get(pk=orphan.pk)
            count += write(unclaimed(orphan), partial(claimed, orphan), key__startswith=f"orphan:{orphan.pk}:")
    return count


def unclaimed(orphan: Orphan) -> Iterator[Fact]:
    """The time of a machine that nobody claimed."""
    start = orphan.found_at - timedelta(seconds=orphan.seconds)
    for piece in metering.cut(metering.Piece(start, orphan.found_at, Entry.Activity.ORPHAN), (), orphan.found_at):
        seconds = metering.elapsed((piece.end or orphan.found_at) - piece.start)
        mark = (piece.start - start) // timedelta(microseconds=1)
        for metric, quantity in metering.size(orphan.cpu, orphan.memory_mb, seconds).items():
            key = f"orphan:{orphan.pk}:{mark}:{metric}"
            yield Fact(key, orphan.provider, "", metric, quantity, piece.start, piece.activity, None)


def claimed(orphan: Orphan, _: Fact) -> dict[str, Any]:
    """Whose it would have been; no run asked for it, and none costs more for it than its page says."""
    if orphan.sandbox is None:
        return {}
    return {**labels(orphan.sandbox, None), "run_id": None, "step": "", "iteration": None, "candidate": ""}
