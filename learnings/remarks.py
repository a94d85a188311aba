"""What is said of sandboxes and runs: which version of the lessons they were told, and what was drawn from them."""

from collections.abc import Iterable, Sequence

from django.urls import reverse

from codecourier.models import Project
from codecourier.registries import Remark
from sandboxes.agents import AGENTS
from sandboxes.models import Kind, Sandbox

from .models import Extraction

E = Extraction.Status
# Number, status, lessons found, detail.
type Known = tuple[int, str, int, str]


def readings(sandboxes: Sequence[Sandbox]) -> dict[int, Remark]:
    """Whether lessons were drawn from them; of those that were not read only where that could be done."""
    rows = Extraction.objects.filter(sandboxes__in=sandboxes).order_by("pk")
    known = {row[0]: row[1:] for row in rows.values_list("sandboxes", "pk", "status", "found", "detail")}
    slug = sandboxes[0].project.slug
    acts = {one.pk: reverse("learnings:read", args=[slug, one.pk]) for one in sandboxes if readable(one)}
    shown = [one.pk for one in sandboxes if one.pk in known or one.pk in acts]
    return {pk: remark(slug, acts.get(pk, ""), known.get(pk)) for pk in shown}


def readable(sandbox: Sandbox) -> bool:
    """Whether an agent works there on somebody's behalf."""
    return AGENTS[sandbox.tool].structured and sandbox.kind in {Kind.STANDALONE, Kind.STEP}


def remark(slug: str, act: str, known: Known | None) -> Remark:
    """How the reading of something stands, with what can be done."""
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


def of_run(project: Project, run: int, told: Iterable[int], over: bool) -> list[Remark]:
    """What a run's page says: the versions that its machines are told, and whether lessons were drawn from it."""
    act = reverse("learnings:read-run", args=[project.slug, run]) if over else ""
    rows = Extraction.objects.filter(project=project, key=f"run-{run}").values_list("pk", "status", "found", "detail")
    known = rows.first()
    named = [
        Remark("Learnings", f"Version {number}", url=reverse("learnings:version", args=[project.slug, number]))
        for number in told
    ]
    return [*named, *([remark(project.slug, act, known)] if known or over else [])]
