"""What this app adds to the frame: its entry in the navigation, its cards, what it says of sandboxes, its settings."""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse

from codecourier import registries
from codecourier.registries import Card, Panel, Remark, Tab
from sandboxes.agents import AGENTS
from sandboxes.models import Kind, Sandbox

from . import configuring
from .models import Extraction, Lesson

PANEL = Panel(order=70, title="Learnings", icon="bulb", url="learnings:inbox", key="l")
SHOWN = 3
E = Extraction.Status


def card(project: Any) -> Card:
    """Lessons that wait for somebody."""
    pending = Lesson.objects.pending().filter(project=project).order_by("-severity", "pk")
    total = pending.count()
    context = {"project": project, "pending": pending[:SHOWN] if total else [], "total": total}
    return Card("learnings/_dashboard.html", context)


def readings(sandboxes: Sequence[Sandbox]) -> dict[int, Remark]:
    """Whether lessons were drawn from them; of those that were not read only where that could be done."""
    rows = Extraction.objects.filter(sandboxes__in=sandboxes).order_by("pk")
    known = {row[0]: row[1:] for row in rows.values_list("sandboxes", "pk", "status", "found", "detail")}
    slug = sandboxes[0].project.slug
    return {one.pk: remark(slug, one, known.get(one.pk)) for one in sandboxes if one.pk in known or readable(one)}


def readable(sandbox: Sandbox) -> bool:
    """Whether an agent works there on somebody's behalf."""
    return AGENTS[sandbox.tool].structured and sandbox.kind in {Kind.STANDALONE, Kind.STEP}


def remark(slug: str, sandbox: Sandbox, known: tuple[int, str, int, str] | None) -> Remark:
    """One sandbox's status, with what can be done."""
    act = reverse("learnings:read", args=[slug, sandbox.pk])
    if known is None:
        return Remark("Lessons", "Not read", act=act, word="Read it now")
    number, status, found, detail = known
    url = f"{reverse('learnings:sessions', args=[slug])}#extraction-{number}"
    if status == E.FAILED:
        return Remark("Lessons", f"Could not be read. {detail}", "bulb-off", url, act, "Try again")
    if status == E.DONE:
        said = f"{found} proposed" if found else "Read, none found"
        return Remark("Lessons", said, "bulb" if found else "", url, act, "Read again")
    return Remark("Lessons", "Being read" if status == E.RUNNING else "Waits to be read", "hourglass", url)


def versions(sandboxes: Sequence[Sandbox]) -> dict[int, Remark]:
    """Which version of the project's lessons they were told."""
    slug = sandboxes[0].project.slug
    told = {one.pk: one.labels["learnings"] for one in sandboxes if type(one.labels.get("learnings")) is int}
    return {
        pk: Remark("Learnings", f"Version {number}", url=reverse("learnings:version", args=[slug, number]))
        for pk, number in told.items()
    }


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.remarks += [readings, versions]
    registries.tabs["learnings"] = Tab("Learnings", configuring.tab)
