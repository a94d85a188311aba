"""What a sandbox has used, and what that costs so far."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from . import transcripts
from .agents import AGENTS
from .models import Phase, Sandbox, Turn
from .price import Cost, Prices

SECOND = Decimal(1)
WITHOUT_MACHINE = {Phase.Name.TEMPLATE, Phase.Name.CREATE}


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


def bill(sandbox: Sandbox, turns: Iterable[Turn], phases: Iterable[Phase]) -> Bill:
    """The bill of a sandbox with these turns, in their order, and phases."""
    prices, found = Prices(), list[Line]()
    for number, turn in enumerate(turns, 1):
        turn.sandbox = sandbox
        found += lines(prices, number, turn)
    before, since = clock(sandbox, list(phases))
    seconds = before + (elapsed(timezone.now() - since) if since else 0)
    return Bill(
        lines=found,
        totals={name: sum((line.used or {}).get(name, 0) for line in found) for name in transcripts.TOKENS},
        tokens=sum((line.cost for line in found), Cost()),
        seconds=seconds,
        machine=prices.machine(sandbox, seconds),
        settled=prices.machine(sandbox, before),
        since=since,
        per_second=prices.machine(sandbox, SECOND).usd if since else Decimal(0),
    )


def lines(prices: Prices, number: int, turn: Turn) -> Iterator[Line]:
    """A line for each model of a turn; one without a model where tokens were used and not told."""
    usage = used(turn)
    if usage is None:
        yield Line(number, turn, "", None, Cost(uncounted=True))
        return
    at = turn.started_at or turn.created_at
    for model, tokens in sorted(usage.items()):
        yield Line(number, turn, model, tokens, prices.tokens(turn.sandbox.tool, model, tokens, at))


def used(turn: Turn) -> Mapping[str, Mapping[str, int]] | None:
    """Tokens by model, of a turn that runs those so far; None where the agent told none in the end."""
    if turn.job is None or not AGENTS[turn.sandbox.tool].structured:
        return {}
    if turn.status == Turn.Status.RUNNING:
        return transcripts.usage(turn.job) or {}
    return turn.usage if isinstance(turn.usage, dict) else None


def clock(sandbox: Sandbox, phases: list[Phase]) -> tuple[Decimal, datetime | None]:
    """Seconds for which its machine has run, and since when it runs again: a boot counts once there is a machine."""
    boot = [phase for phase in phases if phase.started_at and phase.name not in WITHOUT_MACHINE]
    over = [(phase.ended_at or sandbox.ended_at, phase.started_at) for phase in boot]
    took = sum((end - start for end, start in over if end and start), timedelta())
    now = next((phase.started_at for phase in boot if not phase.ended_at), None)
    ran = Decimal(sandbox.ran_ms) / 1000
    return elapsed(took) + ran, None if sandbox.final else sandbox.running_since or now


def elapsed(span: timedelta) -> Decimal:
    """In seconds, to the millisecond."""
    return Decimal(round(span / timedelta(milliseconds=1))) / 1000
