"""What a sandbox has used, and what that costs so far."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Model, QuerySet
from django.utils import timezone

from codecourier.lifecycle import Transition

from . import metering, transcripts
from .agents import AGENTS
from .metering import IDLE, Piece
from .models import Phase, Sandbox, Turn
from .price import Cost, Prices

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Line:
    """The tokens of one turn with one model; `used` is None where the agent told none."""

    number: int
    turn: Turn
    model: str
    used: Mapping[str, int] | None
    cost: Cost


@dataclass(frozen=True)
class Bill:
    """All of it so far; of the machine `settled` is what it cost until `since`, from when on it costs `per_second`."""

    lines: list[Line] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    tokens: Cost = field(default_factory=Cost)
    seconds: Decimal = Decimal(0)
    machine: Cost = field(default_factory=Cost)
    settled: Cost = field(default_factory=Cost)
    since: datetime | None = None
    per_second: Decimal = Decimal(0)
    # The same by turn, as far as it is settled, and the one that the machine works for since then.
    of_turns: Mapping[int, Cost] = field(default_factory=dict)
    works_for: int | None = None
    # What it was made from, for whoever shows them beside it.
    phases: Sequence[Phase] = ()

    @property
    def total(self) -> Cost:
        """Tokens and machine."""
        return self.tokens + self.machine

    @property
    def base(self) -> Cost:
        """The same as it was at `since`, which stays as it is while the machine runs."""
        return self.tokens + self.settled

    @property
    def taken(self) -> int:
        """Tokens of input in all, cached or not."""
        return sum(self.totals[name] for name in ("input", "cache_read", "cache_write"))

    @property
    def models(self) -> str:
        """The models that were used, in the order in which they were."""
        return ", ".join(dict.fromkeys(line.model for line in self.lines if line.model))


def bill(
    sandbox: Sandbox,
    turns: Iterable[Turn],
    phases: Iterable[Phase],
    history: Iterable[Transition] | None = None,
    prices: Prices | None = None,
) -> Bill:
    """The bill of a sandbox with all its turns, in their order, phases and moves; `prices` that recall it."""
    prices, turns, now, phases = prices or Prices.recalling(sandbox), list(turns), timezone.now(), list(phases)
    found = list[Line]()
    for number, turn in enumerate(turns, 1):
        turn.sandbox = sandbox
        found += lines(prices, number, turn)
    pieces = [*metering.pieces(sandbox, turns, phases, sandbox.history if history is None else history, now)]
    over = [(piece.turn, prices.machine(sandbox, [piece], now)) for piece in pieces if piece.end]
    settled, going = sum((cost for _, cost in over), Cost()), next((piece for piece in pieces if not piece.end), None)
    return Bill(
        lines=found,
        totals={name: sum((line.used or {}).get(name, 0) for line in found) for name in transcripts.TOKENS},
        tokens=sum((line.cost for line in found), Cost()),
        seconds=sum((metering.elapsed((piece.end or now) - piece.start) for piece in pieces), Decimal(0)),
        machine=settled + (prices.machine(sandbox, [going], now) if going else Cost()),
        settled=settled,
        since=going.start if going else None,
        per_second=prices.machine(sandbox, [Piece(now - SECOND, now, IDLE)], now).usd if going else Decimal(0),
        of_turns=of_turns([*((line.turn, line.cost) for line in found), *over]),
        works_for=going.turn.pk if going and going.turn else None,
        phases=phases,
    )


def of_turns(costs: Iterable[tuple[Turn | None, Cost]]) -> dict[int, Cost]:
    """Costs of the same turn together, by its id."""
    found = defaultdict[int, Cost](Cost)
    for turn, cost in costs:
        if turn:
            found[turn.pk] += cost
    return found


def bills(sandboxes: Sequence[Sandbox]) -> dict[int, Bill]:
    """The bills of many at once, by their ids, with a handful of questions."""
    ids, prices = [sandbox.pk for sandbox in sandboxes], Prices.recalling(*sandboxes)
    told = Turn.objects.filter(sandbox__in=ids).select_related("job").defer("prompt", "answer", "job__draft")
    turns = grouped(told, "sandbox_id")
    running = [turn for of in turns.values() for turn in of if turn.status == Turn.Status.RUNNING and turn.job_id]
    so_far = transcripts.usages([turn.job_id for turn in running if turn.job_id])
    for turn in running:
        turn.__dict__["so_far"] = so_far.get(turn.job_id or 0)
    phases = grouped(Phase.objects.filter(sandbox__in=ids), "sandbox_id")
    moves = grouped(Transition.objects.filter(kind=Sandbox._meta.label_lower, object_id__in=ids), "object_id")
    return {
        sandbox.pk: bill(sandbox, turns[sandbox.pk], phases[sandbox.pk], moves[sandbox.pk], prices)
        for sandbox in sandboxes
    }


def grouped[Row: Model](rows: QuerySet[Row], by: str) -> Mapping[int, list[Row]]:
    """Rows by whose they are."""
    found = defaultdict[int, list[Row]](list)
    for row in rows:
        found[getattr(row, by)].append(row)
    return found


def lines(prices: Prices, number: int, turn: Turn) -> Iterator[Line]:
    """A line for each model of a turn; one without a model where tokens were used and not told."""
    usage = used(turn)
    if usage is None:
        yield Line(number, turn, "", None, Cost(uncounted=True))
        return
    for model, tokens in sorted(usage.items()):
        yield Line(number, turn, model, tokens, prices.turn(turn, {model: tokens}))


def used(turn: Turn) -> Mapping[str, Mapping[str, int]] | None:
    """Tokens by model, of a turn that runs those so far; None where the agent told none in the end."""
    if turn.job is None or not AGENTS[turn.sandbox.tool].structured:
        return {}
    if turn.status == Turn.Status.RUNNING:
        return (turn.__dict__["so_far"] if "so_far" in turn.__dict__ else transcripts.usage(turn.job)) or {}
    return turn.usage if isinstance(turn.usage, dict) else None
