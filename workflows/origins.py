"""What this app says of sandboxes that work for a run: which run that is, with its address."""

from collections.abc import Mapping, Sequence

from django.urls import reverse

from codecourier.registries import Remark
from sandboxes.models import Sandbox

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
