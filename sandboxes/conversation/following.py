"""What follows in a conversation, for one viewer: HTML of what is new or has changed, each part once.

A viewer applies a message as a whole and may come back with the place that it named: a part that it has already is
only brought up to date there, so nothing is doubled.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q
from django.template.loader import render_to_string

from codecourier.consumers import TICKING

from ..models import Event, Sandbox, Turn
from . import reading
from .entries import Entry, Row
from .meter import Meter
from .reading import Talk

# Who is further behind is shown the newest window instead.
BEHIND = 300
MESSAGE_CHARS = 200_000


@dataclass(frozen=True)
class Message:
    """`html` has elements with ids: those that are there are replaced, others go into the element that they name.

    With `anew` they are all there is. `after` is the place where the viewer is then.
    """

    html: str
    after: str
    anew: bool = False


class Follower:
    """Where one viewer is, and what it has been sent that may change."""

    def __init__(self, pk: int, after: str = "") -> None:
        self.pk, self.at = pk, reading.place(after)
        self.sent: dict[str, str] = {}
        # Of the turn that works, until it has used more.
        self.meters: dict[int, Meter | None] = {}
        self.job: int | None = None

    @property
    def topics(self) -> list[str]:
        """What it has to be woken by."""
        return [f"sandbox:{self.pk}", *([f"job:{self.job}"] if self.job else [])]

    def look(self) -> Iterator[Message]:
        """What the viewer doesn't have yet."""
        sandbox = Sandbox.objects.select_related("project").get(pk=self.pk)
        known = reading.keys(sandbox)
        self.job = next((job for _, job in reversed(known[-1:])), None)
        at = next((n for n, (turn, _) in enumerate(known) if self.at and turn == self.at[0]), None)
        if self.at and at is not None:
            yield from self.news(sandbox, known, at, self.at[1])
        elif known:
            yield self.anew(sandbox)

    def anew(self, sandbox: Sandbox) -> Message:
        """The newest window."""
        found = reading.latest(sandbox)
        self.at, self.sent = reading.place(found.after), {}
        context = {"conversation": found, "sandbox": sandbox, "project": sandbox.project}
        return Message(render_to_string("sandboxes/_conversation_turns.html", context), found.after, anew=True)

    def news(self, sandbox: Sandbox, known: list[tuple[int, int | None]], at: int, seq: int) -> Iterator[Message]:
        """After so many events of the turn that the viewer has come to."""
        following = known[at:]
        jobs = [job for _, job in following if job]
        unseen = ~Q(job_id=known[at][1]) | Q(seq__gt=seq)
        events = Event.objects.filter(unseen, job_id__in=jobs).order_by("job_id", "seq")
        rows = list(reading.read(events, BEHIND))
        if len(rows) > BEHIND or len(following) > reading.TURNS:
            yield self.anew(sandbox)
            return
        changed = rows + self.calls(rows)
        if any(row.kind == "usage" for row in rows):
            self.meters = {}
        found = reading.talks(sandbox, following, changed, at, self.meters)
        self.meters = {talk.turn.pk: talk.meter for talk in found if talk.turn.status == Turn.Status.RUNNING}
        before, after = self.place, self.move(found[-1], rows)
        yield from messages(self.parts(found), before, after)

    def calls(self, rows: list[Row]) -> list[Row]:
        """Calls that the viewer has, whose results are among the rows."""
        fresh = {(row.job, row.data.get("id")) for row in rows if row.kind == "tool_call"}
        late = {(row.job, str(row.data.get("id"))) for row in rows if row.kind == "tool_result"} - fresh
        return [row for job, call in sorted(late) if (row := self.call(job, call))]

    def call(self, job: int, call: str) -> Row | None:
        """The last call of that name."""
        asked = Event.objects.filter(job_id=job, kind="tool_call", data__id=call).order_by("-seq")
        return next(iter(reading.read(asked, 0)), None)

    @property
    def place(self) -> str:
        """Where the viewer is."""
        return f"{self.at[0]}.{self.at[1]}" if self.at else ""

    def move(self, last: Talk, rows: list[Row]) -> str:
        """To the last event of the last turn, shown or not."""
        mine = [row.seq for row in rows if row.job == last.turn.job_id]
        before = self.at[1] if self.at and self.at[0] == last.turn.pk else 0
        self.at = (last.turn.pk, max([before, *mine]))
        return self.place

    def parts(self, found: list[Talk]) -> Iterator[str]:
        """A whole turn where it is new, else its new and changed entries, its draft and its end."""
        for number, talk in enumerate(found):
            if number:
                yield rendered("turn", talk)
            else:
                yield from map(entry, talk.entries)
            yield from (html for name in ("draft", "end") if (html := self.changed(name, talk, show=not number)))

    def changed(self, name: str, talk: Talk, show: bool) -> str:
        """A part that differs from what was sent; a browser lets its times tick by itself."""
        html = rendered(name, talk)
        key, still = f"{name}-{talk.turn.pk}", TICKING.sub(r"\1", html)
        same = self.sent.get(key) == still
        self.sent[key] = still
        return html if show and not same else ""


def messages(parts: Iterator[str], before: str, after: str) -> Iterator[Message]:
    """In pieces that a socket takes; only with the last one the viewer has come to a new place."""
    pieces, size = list[str](), 0
    for html in parts:
        if pieces and size + len(html) > MESSAGE_CHARS:
            yield Message("".join(pieces), before)
            pieces, size = [], 0
        pieces.append(html)
        size += len(html)
    if pieces or before != after:
        yield Message("".join(pieces), after)


def rendered(name: str, talk: Talk) -> str:
    """A part of a turn."""
    return render_to_string(f"sandboxes/_conversation_{name}.html", {"talk": talk, "turn": talk.turn})


def entry(one: Entry) -> str:
    """One event."""
    return render_to_string(one.template, {"entry": one})
