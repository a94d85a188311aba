"""What a run will cost, from the project's own history."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from codecourier.models import Project
from sandboxes.models import Template
from tests.sandboxes.pages import make
from usage import estimates

from .rows import entry


def run(project: Project, number: int, usd: str, minutes: int = 10, **fields: object) -> None:
    """A run of workflow 3 that cost so much: half of it at its beginning, half at its end."""
    for after in (0, minutes):
        entry(
            project, key=f"run:{number}:{after}", at=timezone.now() + timedelta(minutes=after), run_id=number,
            workflow_id=3, step="1", iteration=1, quantity=Decimal(usd) / 2, price=Decimal(1), **fields,
        ).save()  # fmt: skip


def test_without_history_it_says_so(project: Project):
    other = Project.objects.create(name="Other", slug="other")
    run(other, 1, "1")
    run(project, 2, "1")
    assert estimates.of(project, 4) is None
    assert estimates.of(project, 3, finished={}) is None
    assert estimates.step(project, 3, 2) is None


def test_the_middle_half_of_the_runs_is_the_range(project: Project):
    for number, usd in enumerate(["1", "2", "3", "4", "100"], 1):
        run(project, number, usd, minutes=number)
    found = estimates.of(project, 3)
    assert found
    assert (found.low, found.likely, found.high) == (Decimal(2), Decimal(3), Decimal(4))
    assert round(found.likely_time / timedelta(minutes=1)) == 3
    assert (found.runs, found.whole) == (5, True)
    assert estimates.step(project, 3, 1) == 3


def test_finished_ones_are_named_with_their_time(project: Project):
    for number, usd in enumerate(["1", "2", "3"], 1):
        run(project, number, usd)
    found = estimates.of(project, 3, finished={1: 60, 2: 120})
    assert found
    assert (found.low, found.high, found.runs) == (Decimal(1), Decimal(2), 2)
    assert found.high_time == timedelta(minutes=2)


def test_runs_with_a_living_machine_don_t_count_yet(project: Project, template: Template):
    make(project, template, labels={"run_id": 1})
    run(project, 1, "1")
    assert estimates.of(project, 3) is None
    run(project, 2, "1")
    assert estimates.of(project, 3)


def test_what_had_no_price_is_said(project: Project):
    run(project, 1, "1")
    entry(project, run_id=1, workflow_id=3, price=None).save()
    found = estimates.of(project, 3)
    assert found
    assert not found.whole
