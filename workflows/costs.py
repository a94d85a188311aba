"""What a run cost, from the bills of its sandboxes: the same numbers as on their pages."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sandboxes import spending
from sandboxes.bill import Bill, Line
from sandboxes.metering import BILLED
from sandboxes.price import Cost
from sandboxes.spending import Costs

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


def of_run(run: Run) -> Costs:
    """Of one run."""
    return of_runs([run])[run.pk]


def of_runs(runs: Sequence[Run]) -> dict[int, Costs]:
    """Of many by their ids."""
    return spending.of_runs([run.pk for run in runs])


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
