"""Events as they are shown: each becomes an entry with a template, a tool's call and result one entry together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from codecourier import markdown

from ..models import Turn
from . import tools

# What is seen of a text before "Show all", and how much Markdown one page may render.
TEXT_CHARS, PAGE_CHARS = 16 * 1024, 192 * 1024
NOTE_CHARS = 2_000
# The rest is part of others (a result of its call, usage of the turn) or says nothing to people.
SHOWN = ("text", "thinking", "tool_call", "retry", "error", "raw")
TEMPLATES = {
    "text": "text",
    "thinking": "thinking",
    "tool_call": "tool",
    "retry": "note",
    "error": "note",
    "raw": "raw",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it was read; of very large data only what a line of it needs, under "large" then."""

    job: int
    seq: int
    t_ms: int
    kind: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class Entry:
    """One thing in a conversation, as its template needs it."""

    turn: Turn
    job: int
    seq: int
    kind: str
    t_ms: int
    data: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    html: SafeString | None = None

    @property
    def id(self) -> str:
        """Of its element, unique on the page."""
        return f"event-{self.job}-{self.seq}"

    @property
    def into(self) -> str:
        """The element that it belongs into."""
        return f"events-{self.turn.pk}"

    @property
    def url(self) -> str:
        """All of it."""
        sandbox = self.turn.sandbox
        return reverse("sandboxes:event", args=[sandbox.project.slug, sandbox.pk, self.job, self.seq])

    @property
    def template(self) -> str:
        """What shows it."""
        return f"sandboxes/_event_{TEMPLATES[self.kind]}.html"

    @property
    def text(self) -> str:
        """What is seen of its text."""
        return str(self.data.get("text") or "")[: TEXT_CHARS if self.kind in {"text", "thinking"} else NOTE_CHARS]

    @property
    def began_at(self) -> datetime | None:
        """About when it was printed."""
        return self.turn.started_at + timedelta(milliseconds=self.t_ms) if self.turn.started_at else None

    @property
    def cut(self) -> bool:
        """There is more of it."""
        return len(self.text) < len(str(self.data.get("text") or ""))

    # --- a tool call ---

    @property
    def name(self) -> str:
        """The tool's own name."""
        return str(self.data.get("name") or "tool")[:60]

    @property
    def icon(self) -> str:
        """The same for the same kind of tool, whatever its name."""
        return tools.icon(self.name)

    @property
    def telling(self) -> str:
        """What the call is about."""
        return tools.telling(self.data.get("input"))

    @property
    def counts(self) -> tuple[int, int] | None:
        """Lines added and removed."""
        return None if self.data.get("large") else tools.counts(self.data.get("input"))

    @property
    def state(self) -> str:
        """running, done, failed, or open: the turn ended and no result came."""
        if self.result is None:
            return "running" if self.turn.status == Turn.Status.RUNNING else "open"
        return "failed" if self.result.get("error") or self.exit else "done"

    @property
    def exit(self) -> int:
        """The exit status, 0 where there is none."""
        value = self.result.get("exit") if self.result else None
        return value if type(value) is int else 0

    @property
    def seconds(self) -> float | None:
        """How long the tool took, where the agent says."""
        return _number(self.result.get("seconds") if self.result else None)

    # --- a retry ---

    @property
    def status(self) -> int | None:
        """The HTTP status that the model provider answered with."""
        value = self.data.get("status")
        return value if type(value) is int else None

    @property
    def waits(self) -> timedelta | None:
        """How long it waits before it tries again."""
        value = _number(self.data.get("wait_ms"))
        return timedelta(milliseconds=value) if value else None

    @property
    def next_at(self) -> datetime | None:
        """When it tries again, while that is ahead."""
        if self.turn.status != Turn.Status.RUNNING or self.waits is None or self.began_at is None:
            return None
        at = self.began_at + self.waits
        return at if at > timezone.now() else None


def _number(value: Any) -> float | None:
    """A time that an agent told; None for whatever can't be one."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 10**9 else None


def of_rows(rows: Iterable[Row], turns: Mapping[int, Turn], results: Mapping[tuple[int, str], Any]) -> list[Entry]:
    """Entries in the rows' order; `turns` by job, `results` by job and call. The newest texts are rendered first."""
    found = [of_row(row, turns[row.job], results) for row in rows if row.kind in SHOWN]
    left = PAGE_CHARS
    for one in reversed(found):
        if one.kind == "text":
            left -= len(one.text)
            one.html = markdown.rendered(one.text) if left >= 0 else markdown.as_written(one.text)
    return found


def of_row(row: Row, turn: Turn, results: Mapping[tuple[int, str], Any]) -> Entry:
    """One row as it is shown."""
    result = results.get((row.job, str(row.data.get("id")))) if row.kind == "tool_call" else None
    return Entry(turn, row.job, row.seq, row.kind, row.t_ms, row.data, result)
