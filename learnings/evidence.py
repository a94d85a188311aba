"""The moments that show a lesson: places that a session names are looked up, and kept with their words."""

from collections.abc import Sequence

from sandboxes.models import Event, Turn

from .models import Evidence, Extraction, Lesson
from .transcript import KINDS

# Of the words at a place.
EXCERPT = 600
# Where in an event's data they are.
WORDS = {"tool_call": "input", "tool_result": "output"}


def keep(lesson: Lesson, row: Extraction, places: Sequence[str]) -> list[Evidence]:
    """Those places that are in what was read; others are left out, as nobody can look there."""
    found = [moment(lesson, row, place) for place in dict.fromkeys(places)]
    return Evidence.objects.bulk_create(one for one in found if one)


def moment(lesson: Lesson, row: Extraction, place: str) -> Evidence | None:
    """One place, `turn.seq`."""
    turn_id, seq = (int(part) for part in place.split("."))
    turn = Turn.objects.filter(pk=turn_id, sandbox__in=row.sandboxes.all()).first()
    if turn is None:
        return None
    found = ("message", turn.prompt, 0) if seq == 0 else event_of(turn, seq)
    if found is None:
        return None
    kind, words, shown = found
    return Evidence(
        lesson=lesson, sandbox_id=turn.sandbox_id, turn=turn.pk, job=turn.job_id, seq=shown, kind=kind,
        excerpt=words[:EXCERPT],
    )  # fmt: skip


def event_of(turn: Turn, seq: int) -> tuple[str, str, int] | None:
    """(kind, words, the number under which the conversation shows it) of an event that a session was sent."""
    events = Event.objects.filter(job=turn.job_id)
    event = events.filter(seq=seq, kind__in=KINDS).first() if turn.job_id else None
    if event is None:
        return None
    words = str(event.data.get(WORDS.get(event.kind, "text")) or "")
    if event.kind != "tool_result":
        return event.kind, words, seq
    # It is shown inside of its call.
    call = events.filter(kind="tool_call", seq__lt=seq, data__id=event.data.get("id")).order_by("-seq").first()
    return event.kind, words, call.seq if call else seq
