"""The plan of a provider: so many machines at once, so many new ones per second, and a line for the rest."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from codecourier.models import Project
from sandboxes import e2b, fleet, slots
from sandboxes.models import Phase, Sandbox, Template
from tests.faults import Faults
from tests.sandboxes.pages import make

Launch = Callable[..., Sandbox]
Look = Callable[[], None]
CLOUD = e2b.Provider(e2b.CLOUD, "e2b_of-the-tests")


def create_phase(sandbox: Sandbox) -> Phase:
    """The phase `create` as it stands."""
    return sandbox.phases.get(name="create")


def waiting(sandbox: Sandbox) -> str:
    """What the page says of its wait."""
    return create_phase(sandbox).detail


def in_line(project: Project, template: Template, count: int) -> list[Sandbox]:
    """Sandboxes whose machine is to be made now, in the order in which they came."""
    account = e2b.account(CLOUD)
    rows = [make(project, template, "creating", due_at=timezone.now(), account=account) for _ in range(count)]
    for row in rows:
        Phase.objects.create(
            sandbox=row, name="create", position=1, status="running", started_at=timezone.now(),
            deadline_at=timezone.now() + timedelta(minutes=2),
        )  # fmt: skip
    return rows


def test_what_the_plan_has_no_room_for_waits_in_its_order(
    provider: Faults, launch: Launch, look: Look, settings: LazySettings
) -> None:
    settings.LOCAL_MAX_RUNNING = 1
    first, second, third = (launch() for _ in range(3))
    look()
    assert waiting(second) == "Waiting for a slot, 1st in line."
    assert waiting(third) == "Waiting for a slot, 2nd in line."
    assert len(e2b.machines(e2b.local_provider())) == 1
    second.refresh_from_db()
    assert (create_phase(second).deadline_at, second.deadline_at) == (None, None), "time in line is not the boot's"
    fleet.stop(first, None)
    look()
    look()
    second.refresh_from_db()
    assert second.status == "running", second.detail
    assert waiting(third) == "Waiting for a slot, 1st in line."


def test_who_sleeps_takes_no_slot_and_waits_for_one_to_wake(
    provider: Faults, launch: Launch, look: Look, settings: LazySettings
) -> None:
    settings.LOCAL_MAX_RUNNING = 1
    sleeper = launch()
    look()
    sleeper.refresh_from_db()
    fleet.pause(sleeper, None)
    look()
    busy = launch()
    look()
    busy.refresh_from_db()
    assert busy.status == "running"
    sleeper.refresh_from_db()
    fleet.wake(sleeper, None)
    look()
    sleeper.refresh_from_db()
    assert sleeper.status == "paused"
    assert sleeper.detail.startswith("Waiting for a slot")
    fleet.stop(busy, None)
    look()
    look()
    sleeper.refresh_from_db()
    assert sleeper.status == "running"


def test_a_provider_without_room_costs_no_time_and_no_failure(provider: Faults, launch: Launch, look: Look) -> None:
    full = provider.add("POST", "/v2/sandboxes", status=429)
    sandbox = launch()
    for _ in range(2):
        look()
        phase = create_phase(sandbox)
        assert phase.deadline_at
        assert phase.deadline_at > timezone.now() + timedelta(seconds=100)
        assert "no room just now. Trying again." in phase.detail
        Phase.objects.filter(pk=phase.pk).update(deadline_at=timezone.now() + timedelta(seconds=5))
    full.times = 0
    look()
    sandbox.refresh_from_db()
    assert sandbox.status == "running"
    phase = create_phase(sandbox)
    assert phase.status == "succeeded"
    assert "room" not in phase.detail


@pytest.mark.django_db(transaction=True)
def test_several_workers_together_keep_to_the_rate_and_the_order(
    project: Project, template: Template, settings: LazySettings
) -> None:
    settings.E2B_CREATES_PER_SECOND = 2
    rows = in_line(project, template, 6)
    granted = workers(rows, until=len(rows))
    times = [at for at, _ in granted]
    for at in times:
        within = [other for other in times if at <= other < at + timedelta(seconds=1)]
        assert len(within) <= 2, times
    order = [pk for _, pk in granted]
    pairs = [set(order[start : start + 2]) for start in range(0, 6, 2)]
    assert pairs == [{row.pk for row in rows[start : start + 2]} for start in range(0, 6, 2)], (
        "first come, first served"
    )


@pytest.mark.django_db(transaction=True)
def test_several_workers_together_never_exceed_what_may_run(
    project: Project, template: Template, settings: LazySettings
) -> None:
    settings.E2B_CREATES_PER_SECOND, settings.E2B_MAX_RUNNING = 100, 3
    rows = in_line(project, template, 6)
    assert len(workers(rows, until=3, rounds=3)) == 3
    assert slots.take(rows[4], CLOUD) == 2


def workers(rows: list[Sandbox], *, until: int, rounds: int = 10_000) -> list[tuple[datetime, int]]:
    """Two of them look at every row again and again; when each was let through, in order."""

    def work() -> None:
        try:
            for _ in range(rounds):
                for row in Sandbox.objects.filter(pk__in=[row.pk for row in rows], create_asked_at=None):
                    slots.take(row, CLOUD)
                if Sandbox.objects.filter(create_asked_at__isnull=False).count() >= until:
                    return
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()
    through = Sandbox.objects.exclude(create_asked_at=None).order_by("create_asked_at")
    return [(row.create_asked_at, row.pk) for row in through if row.create_asked_at]


def test_one_that_nobody_attends_to_holds_up_nobody(db: None, project: Project, template: Template) -> None:
    stuck, behind = in_line(project, template, 2)
    assert slots.take(behind, CLOUD) == 2
    Sandbox.objects.filter(pk=stuck.pk).update(due_at=timezone.now() + timedelta(minutes=1))
    assert slots.take(behind, CLOUD) == 0


def test_a_create_that_is_tried_again_keeps_its_slot_and_the_rate(
    project: Project, template: Template, settings: LazySettings
) -> None:
    settings.E2B_MAX_RUNNING = 1
    first, second = in_line(project, template, 2)
    assert slots.take(first, CLOUD) == 0
    assert slots.take(second, CLOUD) == 1
    assert slots.take(first, CLOUD) == 1, "not twice within a second"
    Sandbox.objects.filter(pk=first.pk).update(create_asked_at=timezone.now() - timedelta(seconds=5))
    assert slots.take(first, CLOUD) == 0
    assert slots.take(second, CLOUD) == 1


def test_accounts_do_not_wait_for_each_other(project: Project, template: Template, settings: LazySettings) -> None:
    settings.E2B_MAX_RUNNING = 1
    first, second = in_line(project, template, 2)
    assert slots.take(first, CLOUD) == 0
    other = e2b.Provider(e2b.CLOUD, "e2b_of-somebody-else")
    assert slots.take(second, other) == 0
