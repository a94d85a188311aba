"""What a step usually costs, from the project's own history."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from codecourier.models import Project
from usage import estimates

from .rows import entry


def run(project: Project, number: int, usd: str, minutes: int = 10, **fields: object) -> None:
    """A run of workflow 3 that cost so much: half of it at its beginning, half at its end."""
    for after in (0, minutes):
        entry(
            project, key=f"run:{number}:{after}", at=timezone.now() + timedelta(minutes=after), run_id=number,
            workflow_id=3, step="1", iteration=1, quantity=Decimal(usd) / 2, price=Decimal(1), **fields,
        ).save()  # fmt: skip


def test_without_history_nothing_is_known(project: Project):
    other = Project.objects.create(name="Other", slug="other")
    run(other, 1, "1")
    run(project, 2, "1")
    assert estimates.step(project, 3, 2) is None
    assert estimates.step(project, 4, 1) is None


def test_a_turn_costs_what_the_middle_one_did(project: Project):
    for number, usd in enumerate(["1", "2", "3", "4", "100"], 1):
        run(project, number, usd)
    assert estimates.step(project, 3, 1) == 3
