"""The moments that show a lesson: places that a session names are looked up, and kept with their words."""

from collections.abc import Sequence

from sandboxes.models import Event, Turn

from .models import Evidence, Extraction, Lesson

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
    kind, words = message_of(turn) if seq == 0 else event_of(turn, seq)
    if not kind:
        return None
    return Evidence(
        lesson=lesson, sandbox_id=turn.sandbox_id, turn=turn.pk, job=turn.job_id, seq=seq, kind=kind,
        excerpt=words[:EXCERPT],
    )  # fmt: skip


def message_of(turn: Turn) -> tuple[str, str]:
    """What the turn was asked."""
    return "message", turn.prompt


def event_of(turn: Turn, seq: int) -> tuple[str, str]:
    """(kind, words) of an event; two empty texts when there is none."""
    event = Event.objects.filter(job=turn.job_id, seq=seq).first() if turn.job_id else None
    if event is None:
        return "", ""
    return event.kind, str(event.data.get(WORDS.get(event.kind, "text")) or "")
