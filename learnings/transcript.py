"""What a session reads of finished work: the parts of it that say most, in their order, within a number of tokens.

messages of people ─> ends, verdicts ─> errors, failed tools ─> last words ─> other messages ─> words ─> calls

Every part begins with its place, `[turn.seq]`, which a lesson names as its evidence. Bounded in what is read of the
database, too: of long texts and outputs only so much as a part may have, of long work the newest events.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left, Right

from sandboxes import transcripts
from sandboxes.models import Event, Kind, Sandbox, Turn

from .tokens import count, cut

# Characters of a message, an answer, what an agent said, what a tool was given and gave.
MESSAGE, ANSWER, SAID, GIVEN, GAVE = 4_000, 4_000, 1_500, 300, 1_000
MOST_EVENTS, MOST_TURNS = 20_000, 500
KINDS = ("text", "thinking", "tool_call", "tool_result", "error")
# What is said of every part that is missing between two others.
GAP = "…"
ROOM = count(f"\n{GAP}\n")
# A message that is cut shorter says nothing.
LEAST = 30
LABELS = ("persona", "role", "step", "iteration")
BROKEN = Q(data__error=True) | Q(data__exit__gt=0)


class Weight:
    """The order in which parts are chosen."""

    HEAD, PERSON, END, FAULT, LAST, MESSAGE, SAID, CALL, THOUGHT = range(9)


@dataclass(frozen=True)
class Part:
    """A piece of a transcript; `at` orders them as they happened."""

    at: tuple[int, int, int]
    weight: int
    text: str
    tokens: int = 0


@dataclass(frozen=True)
class Reading:
    """What is sent: a text, its tokens at most, how many parts there were and how many are not in it."""

    text: str
    tokens: int
    parts: int
    left_out: int


class Row(NamedTuple):
    """An event, as much of it as may be sent."""

    job: int
    seq: int
    kind: str
    said: str
    gave: str
    given: str
    name: str
    call: str
    exit: str


def compose(sandboxes: Sequence[Sandbox], tokens: int) -> Reading:
    """The transcripts of these, the most telling parts of at most so many tokens."""
    found = [replace(part, tokens=count(part.text) + ROOM) for part in parts(sandboxes)]
    chosen = choose(found, tokens)
    text = written(found, chosen)
    return Reading(text, count(text), len(found), len(found) - len(chosen))


def choose(found: Sequence[Part], tokens: int) -> dict[int, str]:
    """Text by position: by weight, of the same weight the newest first; a long message of people is cut."""
    chosen, left = dict[int, str](), tokens - ROOM
    order = sorted(range(len(found)), key=lambda place: (found[place].weight, -place))
    for place in order:
        part, most = found[place], left // 3 if found[place].weight <= Weight.PERSON else left
        text = part.text if part.tokens <= most else ""
        if not text and most < left and most > LEAST:
            text = cut(part.text, most - ROOM)
        if text:
            chosen[place] = text
            left -= count(text) + ROOM
    return chosen


def written(found: Sequence[Part], chosen: Mapping[int, str]) -> str:
    """The chosen parts in their order, with a mark wherever something is missing."""
    lines, before = list[str](), -1
    for place in sorted(chosen):
        if place > before + 1:
            lines.append(GAP)
        lines.append(chosen[place])
        before = place
    if before < len(found) - 1:
        lines.append(GAP)
    return "\n".join(lines)


def parts(sandboxes: Iterable[Sandbox]) -> Iterator[Part]:
    """All of them, in their order."""
    for number, sandbox in enumerate(sandboxes):
        yield Part((number, 0, 0), Weight.HEAD, head(sandbox))
        turns = list(
            sandbox.turns.exclude(status=Turn.Status.QUEUED)
            .select_related("job")
            .order_by("position", "pk")[:MOST_TURNS]
        )
        rows = events(turns)
        for order, turn in enumerate(turns, 1):
            turn.sandbox = sandbox
            for seq, (weight, text) in enumerate(of_turn(turn, order == 1, rows.get(turn.job_id or 0, []))):
                yield Part((number, order, seq), weight, text)


def head(sandbox: Sandbox) -> str:
    """What a sandbox was, in a line."""
    told = [
        f"{name} {sandbox.labels[name]}" for name in ("persona", "role", "step", "iteration") if name in sandbox.labels
    ]
    end = f"{sandbox.status}. {sandbox.detail}" if sandbox.final else "It goes on"
    return f"=== Sandbox {sandbox.pk}: {line(str(sandbox), 200)}. {', '.join(map(str, told))} {line(end, 300)}"


def of_turn(turn: Turn, first: bool, rows: list[Row]) -> Iterator[tuple[int, str]]:
    """A turn's parts: the message, what its agent did, how it ended, what it answered."""
    person = turn.created_by_id is not None
    weight = Weight.HEAD if first else Weight.PERSON if person else Weight.MESSAGE
    # In a run's machines the workflow speaks in the name of whoever started it.
    said = person and not first and turn.sandbox.kind == Kind.STANDALONE
    who = "message of a person, who had seen what came before" if said else "message"
    yield weight, f"[{turn.pk}.0] {who}: {shortened(turn.prompt, MESSAGE)}"
    last = next((row.seq for row in reversed(rows) if row.kind == "text"), 0)
    calls = {row.call: row for row in rows if row.kind == "tool_call"}
    broken = {row.call for row in rows if row.kind == "tool_result"}
    for row in rows:
        yield from of_event(turn, row, row.seq == last, calls, broken)
    if turn.status != Turn.Status.SUCCEEDED:
        printed = "" if rows or turn.job is None else transcripts.stderr(turn.job)[-GAVE:]
        yield Weight.END, f"[{turn.pk}.0] the turn ended: {turn.status}. {line(turn.detail, 500)}\n{printed}".rstrip()
    if turn.answer is not None:
        yield Weight.END, f"[{turn.pk}.0] answered: {shortened(json.dumps(turn.answer, ensure_ascii=False), ANSWER)}"


def of_event(turn: Turn, row: Row, last: bool, calls: Mapping[str, Row], broken: set[str]) -> Iterator[tuple[int, str]]:
    """An event's part. A call that failed is told with what it gave, in one."""
    place = f"[{turn.pk}.{row.seq}]"
    if row.kind == "text":
        yield Weight.LAST if last else Weight.SAID, f"{place} agent: {row.said}"
    elif row.kind == "thinking":
        yield Weight.THOUGHT, f"{place} agent thinks: {row.said}"
    elif row.kind == "error":
        yield Weight.FAULT, f"{place} error: {row.said}"
    elif row.kind == "tool_call" and row.call not in broken:
        yield Weight.CALL, f"{place} {line(row.name, 60)}: {line(row.given, GIVEN)}"
    elif row.kind == "tool_result":
        call = calls.get(row.call)
        what = f"{line(call.name, 60)}: {line(call.given, GIVEN)}" if call else "a tool"
        status = f" (exit status {row.exit})" if row.exit not in {"", "0"} else ""
        yield Weight.FAULT, f"{place} failed{status}: {what}\n{row.gave}"


def events(turns: Sequence[Turn]) -> dict[int, list[Row]]:
    """By job, in their order; of tools' results only those that failed."""
    jobs = [turn.job_id for turn in turns if turn.job_id]
    wanted = Event.objects.filter(job_id__in=jobs, kind__in=KINDS).filter(~Q(kind="tool_result") | BROKEN)
    text = {name: KeyTextTransform(name, "data") for name in ("text", "output", "input", "name", "id", "exit")}
    rows = wanted.annotate(
        said=Left(text["text"], SAID), gave=Right(text["output"], GAVE), given=Left(text["input"], GIVEN),
        tool=Left(text["name"], 60), call=Left(text["id"], 120), ended=Left(text["exit"], 12),
    )  # fmt: skip
    found = rows.order_by("-job_id", "-seq")[:MOST_EVENTS]
    by_job: dict[int, list[Row]] = {}
    for values in found.values_list("job_id", "seq", "kind", "said", "gave", "given", "tool", "call", "ended"):
        by_job.setdefault(values[0], []).append(Row(*values[:3], *(value or "" for value in values[3:])))
    return {job: rows[::-1] for job, rows in by_job.items()}


def shortened(text: str, most: int) -> str:
    """Its beginning."""
    return text if len(text) <= most else f"{text[:most]} {GAP}"


def line(text: Any, most: int) -> str:
    """On one line."""
    return shortened(" ".join(str(text)[: 2 * most].split()), most)
