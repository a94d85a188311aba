"""What other apps say of sandboxes, in lists and on their pages."""

from collections.abc import Sequence

from codecourier import registries
from codecourier.registries import Remark

from .models import Sandbox


def remarks(sandboxes: Sequence[Sandbox]) -> dict[int, list[Remark]]:
    """By the number of each; a fixed number of queries, however many there are."""
    told = [ask(sandboxes) for ask in registries.remarks] if sandboxes else []
    return {one.pk: [said[one.pk] for said in told if one.pk in said] for one in sandboxes}


def put(sandboxes: Sequence[Sandbox]) -> None:
    """Beside the rows, for templates."""
    said = remarks(sandboxes)
    for one in sandboxes:
        one.__dict__["remarks"] = said[one.pk]
