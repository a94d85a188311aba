"""The ways to runs from their sandboxes and from a search, and from them to the schedule that started them."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from codecourier.registries import Remark
from sandboxes.models import Sandbox

from .filters import RunFilter
from .models import Run

LABELS = {"run_id": "Run", "follows_run": "Goes on with run"}


def remarks(sandboxes: Sequence[Sandbox]) -> Mapping[int, Remark]:
    """By the sandboxes' labels, which are of one project."""
    mine = [(one, *found) for one in sandboxes if (found := run_of(one))]
    slug = mine[0][0].project.slug if mine else ""
    return {
        one.pk: Remark(title, text, icon="player-play", url=reverse("workflows:run", args=[slug, pk]))
        for one, title, text, pk in mine
    }


def run_of(sandbox: Sandbox) -> tuple[str, str, int] | None:
    """(what the run is to it, the run's title, its number); None for a sandbox without a run."""
    for label, title in LABELS.items():
        if isinstance(pk := sandbox.labels.get(label), int):
            return title, str(sandbox.labels.get("run") or f"Run {pk}"), pk
    return None


def scheduled(run: Run) -> Remark | None:
    """The schedule that started a run."""
    pk = run.labels.get("schedule_id")
    if not isinstance(pk, int):
        return None
    url = reverse("workflows:schedule", args=[run.project.slug, pk])
    return Remark("Schedule", str(run.labels.get("schedule") or f"Schedule {pk}"), url=url)


def find(project: Any, text: str) -> Remark | None:
    """How many runs a search finds."""
    count = RunFilter({"q": text}, Run.objects.filter(project=project)).qs.count()
    if not count:
        return None
    url = f"{reverse('workflows:runs', args=[project.slug])}?{urlencode({'q': text})}"
    return Remark("Runs", f"{count} run{'' if count == 1 else 's'} with this", icon="player-play", url=url)
