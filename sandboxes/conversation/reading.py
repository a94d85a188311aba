"""Reading a conversation: the newest window of it, older ones, a single event. Bounded, whatever an agent printed.

A place in it is written `<turn>.<seq>`: after so many events of that turn. Jobs of turns are made in their order, so
(job, seq) orders the events of a sandbox.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import JSONField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils.safestring import SafeString

from codecourier import markdown

from ..models import Event, Sandbox, Turn
from ..price import Prices
from . import entries, tools
from .entries import Entry, Row
from .meter import Meter, meter

# A window is full with so many events, or so many turns.
EVENTS, TURNS = 200, 40
DRAFT_CHARS, PROMPT_CHARS = 8_000, 8_000
# Of data beyond so many bytes only the beginnings of its texts are read, which is all that a line shows.
LARGE_BYTES, TEXT_CHARS, ARGUMENT_CHARS = 64 * 1024, 20_000, 400
SLIM = """CASE WHEN octet_length(data::text) <= %s THEN data ELSE jsonb_build_object(
    'large', true, 'id', data->'id', 'name', data->'name', 'status', data->'status', 'bytes', data->'bytes',
    'text', left(data->>'text', %s),
    'input', CASE jsonb_typeof(data->'input') WHEN 'object' THEN (
        SELECT jsonb_object_agg(left(key, 100), left(value #>> '{}', %s))
        FROM (SELECT * FROM jsonb_each(data->'input') LIMIT 20) AS arguments
    ) ELSE to_jsonb(left(data->>'input', %s)) END
) END"""


@dataclass(frozen=True)
class Draft:
    """What streams right now."""

    kind: str
    text: str
    html: SafeString | None


@dataclass(frozen=True)
class Talk:
    """One turn as it is shown: the message, what the agent did so far, how it stands."""

    turn: Turn
    number: int
    entries: list[Entry] = field(default_factory=list)
    meter: Meter | None = None

    @property
    def model(self) -> str:
        """Who answers, where that is known, and how hard it may think."""
        said = self.meter.models if self.meter else ()
        model = ", ".join(said) or self.turn.model or self.turn.sandbox.designer_model
        return " · ".join(filter(None, [model, self.turn.effort or self.turn.sandbox.effort]))

    @property
    def script(self) -> bool:
        """The message is a script."""
        return self.turn.sandbox.tool == "script"

    @property
    def message(self) -> SafeString | str:
        """What is seen of the message at once."""
        text = self.turn.prompt[:PROMPT_CHARS]
        return text if self.script else markdown.rendered(text)

    @property
    def cut(self) -> bool:
        """There is more of the message."""
        return len(self.turn.prompt) > PROMPT_CHARS

    @property
    def draft(self) -> Draft | None:
        """Bounded by its end, which is what moves."""
        draft = self.turn.job.draft if self.turn.job and self.turn.status == Turn.Status.RUNNING else {}
        text = str(draft.get("text") or "")[-DRAFT_CHARS:]
        kind = str(draft.get("kind"))
        return Draft(kind, text, markdown.rendered(text) if kind == "text" else None) if text else None


@dataclass(frozen=True)
class Read:
    """What a page has read of a sandbox already: its turns with all that is shown of them, and prices."""

    turns: Sequence[Turn]
    prices: Prices


@dataclass(frozen=True)
class Page:
    """A window: `older` is the place before it (empty at the beginning), `after` the one where it ends."""

    talks: list[Talk]
    older: str = ""
    after: str = ""


Place = tuple[int, int]


def place(text: str) -> Place | None:
    """A place from a URL; None for whatever isn't one."""
    turn, _, seq = text.partition(".")
    good = all(part.isascii() and part.isdigit() and len(part) < 19 for part in (turn, seq))
    return (int(turn), int(seq)) if good else None


def keys(sandbox: Sandbox) -> list[tuple[int, int | None]]:
    """(turn, job) of all that have left the queue, in their order."""
    begun = Turn.objects.filter(sandbox=sandbox).exclude(status=Turn.Status.QUEUED)
    return list(begun.order_by("position", "pk").values_list("pk", "job_id"))


def page(sandbox: Sandbox, before: str = "", already: Read | None = None) -> Page:
    """The newest window, or the one that ends before a place."""
    known = keys(sandbox)
    asked = place(before)
    until = next((at for at, (turn, _) in enumerate(known) if asked and turn == asked[0]), None)
    limit = Q()
    if asked and until is not None:
        limit = ~Q(job_id=known[until][1]) | Q(seq__lt=asked[1]) if asked[1] else limit
        known = known[: until + bool(asked[1])]
    jobs = {job: at for at, (_, job) in enumerate(known) if job}
    rows = list(read(Event.objects.filter(limit, job_id__in=jobs, kind__in=entries.SHOWN).order_by("-job_id", "-seq")))
    return _window(sandbox, known, jobs, rows, already)


def latest(sandbox: Sandbox) -> Page:
    """The newest window."""
    return page(sandbox)


def _window(
    sandbox: Sandbox,
    known: list[tuple[int, int | None]],
    jobs: dict[int, int],
    rows: list[Row],
    already: Read | None,
) -> Page:
    """A page of turns and events (newest first, one more than fit) that were found."""
    first, older = 0, ""
    if len(rows) > EVENTS:
        further = rows.pop()
        first = jobs[rows[-1].job]
        older = f"{known[first][0]}.{rows[-1].seq if further.job == rows[-1].job else 0}"
    if len(known) - first > TURNS:
        first = len(known) - TURNS
        older = f"{known[first][0]}.0"
    elif first and not older:
        older = f"{known[first][0]}.0"
    shown = [row for row in reversed(rows) if jobs[row.job] >= first]
    made = talks(sandbox, known[first:], shown, first, already=already)
    return Page(made, older, _end(made))


def _end(made: list[Talk]) -> str:
    last = made[-1] if made else None
    return f"{last.turn.pk}.{last.entries[-1].seq if last.entries else 0}" if last else ""


def read(events: QuerySet[Event], most: int = EVENTS) -> Iterable[Row]:
    """Rows of so many events and one more."""
    sizes = [LARGE_BYTES, TEXT_CHARS, ARGUMENT_CHARS, TEXT_CHARS]
    slim = RawSQL(SLIM, sizes, output_field=JSONField())  # noqa: S611 (a constant)
    found = events.annotate(slim=slim).values_list("job_id", "seq", "t_ms", "kind", "slim")[: most + 1]
    return (Row(job, seq, t_ms, kind, data if isinstance(data, dict) else {}) for job, seq, t_ms, kind, data in found)


def talks(
    sandbox: Sandbox,
    known: list[tuple[int, int | None]],
    rows: list[Row],
    first: int,
    meters: Mapping[int, Meter | None] | None = None,
    already: Read | None = None,
) -> list[Talk]:
    """Turns with their entries; `first` is the number of turns before them, `meters` what is known of them already."""
    already = already or Read(load(sandbox, [turn for turn, _ in known]), Prices.recalling(sandbox))
    loaded = {turn.pk: turn for turn in already.turns}
    by_job = {turn.job_id: turn for turn in loaded.values() if turn.job_id}
    said = defaultdict[int, list[Entry]](list)
    # At the end of a turn its usage is settled.
    told = {turn: known for turn, known in (meters or {}).items() if loaded[turn].status == Turn.Status.RUNNING}
    for one in entries.of_rows(rows, by_job, results(rows)):
        said[one.turn.pk].append(one)
    return [
        Talk(loaded[turn], number, said[turn], told[turn] if turn in told else meter(loaded[turn], already.prices))
        for number, (turn, _) in enumerate(known, first + 1)
        if turn in loaded
    ]


def load(sandbox: Sandbox, turns: list[int]) -> list[Turn]:
    """Turns with all that is shown of them."""
    loaded = list(Turn.objects.filter(pk__in=turns).select_related("created_by", "job").prefetch_related("attachments"))
    for turn in loaded:
        turn.sandbox = sandbox
    return loaded


def results(rows: Iterable[Row]) -> dict[tuple[int, str], Mapping[str, Any]]:
    """How the calls among some rows ended, by job and call, without what they gave."""
    calls = [(row.job, str(row.data.get("id")), row.seq) for row in rows if row.kind == "tool_call"]
    if not calls:
        return {}
    found = Event.objects.filter(
        job_id__in={job for job, _, _ in calls}, kind="tool_result", data__id__in=[call for _, call, _ in calls]
    ).order_by("job_id", "seq")
    told = found.values_list("job_id", "data__id", "data__error", "data__exit", "data__seconds")
    return {
        (job, str(call)): {"error": error, "exit": code, "seconds": seconds} for job, call, error, code, seconds in told
    }


@dataclass(frozen=True)
class Opened:
    """A single event from inside: a tool call's sections, a text as HTML, or the text of anything else."""

    entry: Entry
    sections: list[tools.Section]
    html: SafeString | None
    text: str


def one(sandbox: Sandbox, job: int, seq: int, whole: bool) -> Opened | None:
    """An event with all that belongs to it; None when there is no such event in this sandbox."""
    row = Event.objects.filter(job_id=job, seq=seq, job__sandbox=sandbox, kind__in=entries.SHOWN).first()
    turn = Turn.objects.filter(job_id=job).select_related("job").first()
    if row is None or turn is None or not isinstance(row.data, dict):
        return None
    turn.sandbox = sandbox
    entry, text = Entry(turn, job, seq, row.kind, row.t_ms, row.data), str(row.data.get("text") or "")
    parts = tools.sections(row.data.get("input"), result(row), whole) if row.kind == "tool_call" else []
    return Opened(entry, parts, markdown.rendered(text) if row.kind == "text" else None, text)


def result(call: Event) -> Mapping[str, Any] | None:
    """What a tool call gave."""
    after = Event.objects.filter(job_id=call.job_id, kind="tool_result", seq__gt=call.seq)
    found = after.filter(data__id=call.data.get("id")).order_by("seq").first()
    return found.data if found and isinstance(found.data, dict) else None
