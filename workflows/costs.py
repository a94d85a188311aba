"""What a run cost, from the bills of its sandboxes: the same numbers as on their pages."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import reduce
from operator import or_

from django.db.models import Q

from sandboxes.bill import Bill, Line, bills
from sandboxes.metering import BILLED
from sandboxes.models import Sandbox
from sandboxes.price import Cost

from .models import Run, StepRun


@dataclass(frozen=True)
class Spent:
    """What a step cost, or all of them; `per_second` is what comes to `base` since then, as long as it works."""

    total: Cost = field(default_factory=Cost)
    tokens: int = 0
    base: Decimal = Decimal(0)
    since: datetime | None = None
    per_second: Decimal = Decimal(0)

    def __add__(self, other: "Spent") -> "Spent":
        """Both together, reckoned from the earlier moment on."""
        since = min((one.since for one in (self, other) if one.since), default=None)
        return Spent(
            self.total + other.total, self.tokens + other.tokens, self.at(since) + other.at(since), since,
            self.per_second + other.per_second,
        )  # fmt: skip

    def at(self, moment: datetime | None) -> Decimal:
        """What it would have been then, had it grown all the time."""
        if moment is None or self.since is None:
            return self.base
        return self.base - self.per_second * Decimal((self.since - moment).total_seconds())


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
    # Each by the index on labels, which knows what they contain.
    theirs = reduce(or_, (Q(labels__contains={"run_id": run.pk}) for run in runs), Q(pk__in=[]))
    sandboxes = list(Sandbox.objects.filter(theirs).select_related("template"))
    made, mine = bills(sandboxes), defaultdict[int, list[int]](list)
    for sandbox in sandboxes:
        mine[sandbox.labels["run_id"]].append(sandbox.pk)
    return {run.pk: added((pk, made[pk]) for pk in mine[run.pk]) for run in runs}


def of_rows(rows: Sequence[StepRun], bills: Mapping[int, Bill]) -> dict[int, Spent]:
    """What each row's turns cost, by the rows' ids, with the machine time for them: together it is all of it.

    A turn belongs to the last row that began in its sandbox; what another run did costs this one nothing.
    """
    found = dict[int, Spent]()
    mine = defaultdict[int, list[StepRun]](list)
    for row in rows:
        if row.sandbox_id and row.turn_id and not row.reused:
            mine[row.sandbox_id].append(row)
    for sandbox, inside in mine.items():
        if made := bills.get(sandbox):
            found |= split(sorted(inside, key=lambda row: row.turn_id or 0), made)
    return found


def split(rows: Sequence[StepRun], made: Bill) -> dict[int, Spent]:
    """The bill of one sandbox among its rows, which are in order."""
    found, used = dict.fromkeys((row.pk for row in rows), Spent()), defaultdict[int, int](int)
    for line in made.lines:
        used[line.turn.pk] += tokens(line)
    works = [made.works_for] if made.works_for else []
    for turn in dict.fromkeys([*made.of_turns, *used, *works]):
        owner = next((row.pk for row in reversed(rows) if (row.turn_id or 0) <= turn), rows[0].pk)
        cost = made.of_turns.get(turn, Cost())
        found[owner] += Spent(cost, used[turn], cost.usd) if turn not in works else working(made, cost, used[turn])
    return found


def working(made: Bill, cost: Cost, tokens: int) -> Spent:
    """Of the turn that a machine works for, whose settled cost is this."""
    since = Cost(made.total.usd - made.base.usd)
    return Spent(cost + since, tokens, cost.usd, made.since, made.per_second)


def tokens(line: Line) -> int:
    """In and out, cached or not."""
    return sum((line.used or {}).get(name, 0) for name in BILLED)


def words(run: Run) -> str:
    """In words."""
    total = of_run(run).total
    return f"${total.usd:.2f}" if total.whole else f"${total.usd:.2f} and what has no price"
