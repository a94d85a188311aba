"""What a sandbox has used, as facts that never change once they are complete: tokens of turns, pieces of machine time.

Machine time is read from the status history, so it counts only while the machine ran, whoever crashed meanwhile. It is
cut at every quarter of an hour (prices change there, and days begin there in every time zone) and wherever a turn
begins or ends. Each fact has a key: however often it is worked out, it is the same one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2s

from codecourier.lifecycle import Transition

from .agents.access import FAMILIES
from .models import Phase, Sandbox, Turn
from .transcripts import HOUR

# Reasoning is part of the output.
BILLED = ("input", "output", "cache_read", "cache_write")
QUARTER = timedelta(minutes=15)
# A quarter is over for good once what happened in it must have been written down.
GRACE = timedelta(minutes=2)
WITHOUT_MACHINE = {Phase.Name.TEMPLATE, Phase.Name.CREATE}
START = datetime(2000, 1, 1, tzinfo=UTC)
TURN, BOOT, IDLE = "turn", "boot", "idle"


@dataclass(frozen=True)
class Fact:
    """A quantity of one metric; `turn` is the one that it was for, or whose labels tell whose it was."""

    key: str
    service: str
    model: str
    metric: str
    quantity: Decimal
    at: datetime
    activity: str
    turn: Turn | None


@dataclass(frozen=True)
class Piece:
    """A stretch of machine time with one purpose; without an end it goes on."""

    start: datetime
    end: datetime | None
    activity: str
    turn: Turn | None = None


def tokens(turn: Turn, usage: Mapping[str, Mapping[str, int]]) -> Iterator[Fact]:
    """A turn's tokens by model and metric; `usage` as in `Turn.usage`."""
    at = turn.started_at or turn.created_at
    for model, used in sorted(usage.items()):
        mark = blake2s(model.encode(errors="replace"), digest_size=8).hexdigest()
        hour = used.get(HOUR, 0)
        for metric, quantity in {**{name: used.get(name, 0) for name in BILLED}, HOUR: hour}.items():
            quantity -= hour if metric == "cache_write" else 0
            if quantity > 0:
                key, paid = f"turn:{turn.pk}:{metric}:{mark}", service(turn.sandbox.tool, model)
                yield Fact(key, paid, model[:120], metric, Decimal(quantity), at, TURN, turn)


def service(tool: str, model: str) -> str:
    """Who is paid for a model's tokens: named before a slash, else known by its name, else by the tool."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix if prefix in FAMILIES else "openrouter"
    family = next((name for name, pattern in FAMILIES.items() if pattern.match(model)), "")
    return family or {"claude": "anthropic", "codex": "openai"}.get(tool, "openrouter")


def machine(sandbox: Sandbox, piece: Piece, now: datetime) -> list[Fact]:
    """A piece of machine time, until now where it goes on, at the size that the provider says."""
    seconds = elapsed((piece.end or now) - piece.start)
    cpu, memory_mb = sandbox.real_cpu or sandbox.cpu, sandbox.real_memory_mb or sandbox.memory_mb
    mark = (piece.start - START) // timedelta(microseconds=1)
    return [
        Fact(f"machine:{sandbox.pk}:{mark}:{metric}", sandbox.provider, "", metric, quantity, piece.start,
             piece.activity, piece.turn)
        for metric, quantity in size(cpu, memory_mb, seconds).items()
    ]  # fmt: skip


def size(cpu: int, memory_mb: int, seconds: Decimal) -> dict[str, Decimal]:
    """The quantities of machine time."""
    gib = (Decimal(memory_mb) / 1024 * seconds).quantize(Decimal("0.000001"))
    return {"vcpu_seconds": cpu * seconds, "gib_seconds": gib}


def elapsed(span: timedelta) -> Decimal:
    """In seconds, exactly."""
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000


def pieces(
    sandbox: Sandbox, turns: Sequence[Turn], phases: Iterable[Phase], history: Iterable[Transition], now: datetime
) -> Iterator[Piece]:
    """All of its machine time; a boot counts once there is a machine."""
    if not sandbox.provider:
        return
    begun = sorted((turn for turn in turns if turn.started_at), key=lambda turn: turn.started_at or START)
    first = begun[0] if begun else None
    for phase in phases:
        if phase.started_at and phase.name not in WITHOUT_MACHINE:
            end = phase.ended_at or sandbox.ended_at
            yield from cut(Piece(phase.started_at, end, BOOT, first), (), now)
    for start, end in running(history):
        yield from told_apart(Piece(start, end, IDLE, first), begun, now)


def running(history: Iterable[Transition]) -> Iterator[tuple[datetime, datetime | None]]:
    """From when until when it ran."""
    start = None
    for move in history:
        if start:
            yield start, move.at
        start = move.at if move.new == Sandbox.Status.RUNNING else None
    if start:
        yield start, None


def told_apart(piece: Piece, turns: list[Turn], now: datetime) -> Iterator[Piece]:
    """Working for a turn, or idle after the one before."""
    edges = {at for turn in turns for at in (turn.started_at, turn.ended_at) if at}
    for part in cut(piece, edges, now):
        before = [turn for turn in turns if (turn.started_at or now) <= part.start]
        last = before[-1] if before else piece.turn
        works = bool(before) and (before[-1].ended_at is None or part.start < before[-1].ended_at)
        yield Piece(part.start, part.end, TURN if works else IDLE, last)


def cut(piece: Piece, edges: Iterable[datetime], now: datetime) -> Iterator[Piece]:
    """At these moments, and at every quarter that is over for good."""
    until = piece.end or now
    marks = {at for at in edges if piece.start < at < until} | set(quarters(piece.start, until, piece.end is None, now))
    start = piece.start
    for at in sorted(marks):
        yield Piece(start, at, piece.activity, piece.turn)
        start = at
    if piece.end is None or piece.end > start:
        yield Piece(start, piece.end, piece.activity, piece.turn)


def quarters(start: datetime, until: datetime, goes_on: bool, now: datetime) -> Iterator[datetime]:
    """The quarters of an hour between."""
    at = start - (start - START) % QUARTER + QUARTER
    while at < until and not (goes_on and at > now - GRACE):
        yield at
        at += QUARTER
