"""What people decide about lessons: approve, reject, edit, merge; each is one move and one audit entry."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from codecourier import audit
from codecourier.models import Project, User
from sandboxes.turns import NotPossible

from . import extraction
from .models import Lesson

S = Lesson.Status
# What is asked by a button, and where it leads.
VERBS: dict[str, tuple[str, str]] = {
    "approve": (S.APPROVED, "Approved"),
    "reject": (S.REJECTED, "Rejected"),
    "reopen": (S.PENDING, "Back in the inbox"),
}


def decide(lesson: Lesson, user: User, verb: str, why: str = "") -> None:
    """Approve, reject or reopen; NotPossible from where that doesn't lead, nothing when it is there already."""
    to = VERBS[verb][0]
    if lesson.status == to:
        return
    if to not in lesson.EDGES[lesson.status]:
        raise NotPossible(f"Lesson {lesson.pk} is {lesson.status}: it can't be decided any more.")
    with transaction.atomic():
        if lesson.move(to, detail=why.strip()[:500], decided_by=user, decided_at=timezone.now()):
            audit.note(user, f"lesson.{to}", lesson)


def bulk(project: Project, user: User, verb: str, lessons: Iterable[Lesson]) -> int:
    """The same for many; those that it doesn't lead to are left as they are. The number of those that moved."""
    to, moved = VERBS[verb][0], 0
    for lesson in lessons:
        if to in lesson.EDGES[lesson.status]:
            decide(lesson, user, verb)
            moved += 1
    return moved


def write(lesson: Lesson, user: User) -> Lesson:
    """A new one by a person, who approves it by writing it."""
    now = timezone.now()
    lesson.status, lesson.created_by, lesson.decided_by, lesson.decided_at = S.APPROVED, user, user, now
    with transaction.atomic():
        extraction.compare(lesson)
        lesson.save()
        lesson.record("", lesson.status, now)
        audit.note(user, "lesson.written", lesson)
        lesson.nudge()
    return lesson


def edit(lesson: Lesson, user: User, fields: Sequence[str]) -> None:
    """Keep changed words; versions that were compiled before stay as they are."""
    if lesson.status == S.MERGED:
        raise NotPossible(f"Lesson {lesson.pk} is part of lesson {lesson.merged_into_id}. Edit that one.")
    lesson.edited_by, lesson.edited_at = user, timezone.now()
    with transaction.atomic():
        extraction.compare(lesson)
        changed = [*fields, "edited_by", "edited_at", "similar_to", "similarity"]
        lesson.save(update_fields=changed)
        audit.note(user, "lesson.edited", lesson, fields=sorted(fields))
        lesson.nudge()


def merge(lesson: Lesson, into: Lesson, user: User) -> None:
    """One becomes part of another, which keeps its words and gets the graver severity, the roles and the evidence."""
    if into.pk == lesson.pk or into.project_id != lesson.project_id or into.status == S.MERGED:
        raise NotPossible("It can only be merged into another lesson of the project that is not merged itself.")
    if S.MERGED not in lesson.EDGES[lesson.status]:
        raise NotPossible(f"Lesson {lesson.pk} is {lesson.status}: reopen it first.")
    with transaction.atomic():
        if not lesson.move(S.MERGED, merged_into=into, decided_by=user, decided_at=timezone.now()):
            return
        Lesson.objects.filter(merged_into=lesson).update(merged_into=into)
        Lesson.objects.filter(similar_to=lesson).exclude(pk=into.pk).update(similar_to=into)
        Lesson.objects.filter(pk=into.pk, similar_to=lesson).update(similar_to=None, similarity=None)
        into.severity = max(into.severity, lesson.severity)
        into.roles = sorted({*into.roles, *lesson.roles}) if into.roles and lesson.roles else []
        into.save(update_fields=["severity", "roles"])
        audit.note(user, "lesson.merged", lesson, into=into.pk)


def merge_all(lessons: Sequence[Lesson], user: User) -> Lesson:
    """Several into one of them: the first that is approved, else the oldest. NotPossible for fewer than two."""
    open_ones = [one for one in lessons if S.MERGED in one.EDGES[one.status]]
    if len(open_ones) < 2:
        raise NotPossible("Choose at least two lessons that are pending or approved.")
    into = min(open_ones, key=lambda one: (one.status != S.APPROVED, one.pk))
    with transaction.atomic():
        for one in open_ones:
            if one.pk != into.pk:
                merge(one, into, user)
    return into


def figures(project: Project) -> dict[str, Any]:
    """How many there are of each status and severity, and how often people said yes."""
    rows = list(Lesson.objects.filter(project=project).values_list("status", "severity", "category"))
    said = [status for status, _, _ in rows if status in {S.APPROVED, S.REJECTED, S.MERGED}]
    useful = sum(status != S.REJECTED for status in said)
    approved = [(severity, category) for status, severity, category in rows if status == S.APPROVED]
    return {
        "statuses": [(value, label, sum(status == value for status, _, _ in rows)) for value, label in S.choices],
        "share": round(100 * useful / len(said)) if said else None,
        "severities": counted(Lesson.Severity.choices[::-1], [severity for severity, _ in approved]),
        "categories": counted(Lesson.Category.choices, [category for _, category in approved]),
        "total": len(rows),
    }


def counted(choices: Sequence[tuple[Any, str]], found: Sequence[Any]) -> list[tuple[Any, str, int]]:
    """(value, label, number) of those that there are."""
    return [(value, label, found.count(value)) for value, label in choices if value in found]
