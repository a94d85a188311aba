"""From approved lessons to what machines are told: a document for each role, a version of all of them, one active.

draft ──> compile: an immutable Version ──> activate ──> `registries.additions` ──> the briefing of every new machine

A role's document has the lessons for it and those for all, the gravest first, as far as the size limit allows; what
was left out is said at its end and on the version's page.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from codecourier import audit
from codecourier.models import Project, User
from codecourier.registries import Addition
from personas.briefing import LEARNINGS
from sandboxes.turns import NotPossible

from .models import LearningSettings, Lesson, Version

HEAD = "What earlier work on this project taught. Follow what applies to your task."
LEFT_OUT = "{} less severe lesson{} left out here to keep this short."


@dataclass(frozen=True)
class Document:
    """One role's: the Markdown, the lessons in it and those that did not fit."""

    text: str
    lessons: list[Lesson]
    left_out: list[Lesson]


@dataclass(frozen=True)
class Draft:
    """What would be compiled now, by role; under the empty key what machines without a role get."""

    documents: dict[str, Document] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """The Markdown by role."""
        return {role: document.text for role, document in self.documents.items()}

    @property
    def digest(self) -> str:
        """SHA-256 over roles and documents."""
        return hashlib.sha256(json.dumps(self.texts, sort_keys=True).encode()).hexdigest()

    @property
    def lessons(self) -> list[Lesson]:
        """Those that are in any of them."""
        found = {lesson.pk: lesson for document in self.documents.values() for lesson in document.lessons}
        return list(found.values())

    @property
    def left_out(self) -> dict[str, list[int]]:
        """Numbers of lessons by role, of the roles that miss some."""
        missing = {role: [lesson.pk for lesson in one.left_out] for role, one in self.documents.items()}
        return {role: numbers for role, numbers in missing.items() if numbers}


def draft(project: Project) -> Draft:
    """From the lessons that are approved now; none without any."""
    rows = Lesson.objects.approved().filter(project=project).annotate(support=Count("merged"))
    approved = list(rows.order_by("-severity", "-support", "pk"))
    if not approved:
        return Draft()
    most = LearningSettings.of(project).most_chars
    roles = {"", *(role for lesson in approved for role in lesson.roles)}
    return Draft({role: document(approved, role, most) for role in sorted(roles)})


def document(approved: Sequence[Lesson], role: str, most: int) -> Document:
    """The gravest that fit, by category."""
    mine = [lesson for lesson in approved if not lesson.roles or role in lesson.roles]
    left = most - len(HEAD) - len(left_out_line(len(mine)))
    chosen, missing, begun = list[Lesson](), list[Lesson](), set[str]()
    for lesson in mine:
        size = len(entry(lesson)) + (0 if lesson.category in begun else len(heading(lesson.category)))
        if size <= left:
            chosen.append(lesson)
            begun.add(lesson.category)
            left -= size
        else:
            missing.append(lesson)
    return Document("".join(written(chosen, len(missing))), chosen, missing)


def written(chosen: Sequence[Lesson], missing: int) -> Iterator[str]:
    """The pieces of the Markdown."""
    yield HEAD + "\n" if chosen or missing else ""
    for category in Lesson.Category.values:
        entries = [entry(lesson) for lesson in chosen if lesson.category == category]
        if entries:
            yield heading(category)
            yield from entries
    if missing:
        yield left_out_line(missing)


def heading(category: str) -> str:
    """Of the lessons about one thing."""
    return f"\n## {Lesson.Category(category).label}\n\n"


def entry(lesson: Lesson) -> str:
    """One lesson, on one line whatever its words are."""
    when, then, why = (" ".join(text.split()) for text in (lesson.trigger, lesson.behaviour, lesson.description))
    grave = "**Critical.** " if lesson.severity == Lesson.Severity.CRITICAL else ""
    return f"- {grave}**{when.rstrip('.:')}:** {then} *({why.rstrip('.')}.)*\n"


def left_out_line(number: int) -> str:
    """What is said of those that did not fit."""
    return "\n" + LEFT_OUT.format(number, " is" if number == 1 else "s are") + "\n"


def compile_now(project: Project, user: User | None, note: str = "", activate: bool = False) -> Version:
    """A new version, made active if asked; NotPossible when there is nothing in it or it would be like the last."""
    made = draft(project)
    if not made.lessons:
        raise NotPossible("No lesson is approved yet, so there is nothing to compile.")
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        last = Version.objects.filter(project=project).first()
        if last and last.digest == made.digest:
            raise NotPossible(f"Nothing has changed since version {last.number}. Activate that one.")
        version = Version.objects.create(
            project=project, number=last.number + 1 if last else 1, documents=made.texts, digest=made.digest,
            left_out=made.left_out, note=note.strip()[:200], made_by=user,
        )  # fmt: skip
        version.lessons.set(made.lessons)
        audit.note(user, "learnings.compiled", version, lessons=len(made.lessons))
        if activate:
            switch(project, user, version)
    return version


def switch(project: Project, user: User | None, version: Version | None) -> None:
    """Make a version what later machines are told, an older one as well; None for no version."""
    if version and version.project_id != project.pk:
        raise NotPossible("That version is another project's.")
    with transaction.atomic():
        choices = {"active": version, "activated_at": timezone.now(), "activated_by": user}
        LearningSettings.objects.update_or_create(project=project, defaults=choices)
        audit.note(user, "learnings.activated", version or project, version=version.number if version else 0)


def additions(project: Any, role: str) -> list[Addition]:
    """What a new machine of a project and role is told; nothing while no version is active."""
    version = LearningSettings.of(project).active
    return [Addition(LEARNINGS, version.document(role), version.number)] if version else []
