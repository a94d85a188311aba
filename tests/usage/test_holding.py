"""What budgets do to work: new work is refused, people are told, what runs is stopped and saved, and goes on again."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from codecourier.models import Notification, Project, User
from sandboxes import fleet, limits, turns
from sandboxes.models import Job, Sandbox, Template, Turn
from tests.sandboxes.pages import make
from usage import budgets, holding, ledger
from usage.models import Budget, Rate, Reservation

from .rows import budget, spend


@pytest.fixture
def rate(db: None) -> None:
    """A machine that costs a dollar an hour."""
    for metric, price in (("vcpu_seconds", Decimal(1) / 3600), ("gib_seconds", 0)):
        Rate.objects.create(service="e2b", metric=metric, price=Decimal(price).quantize(Decimal("1e-9")),
                            valid_from=budgets.month_start() - timedelta(days=100))  # fmt: skip


def working(project: Project, template: Template, hours: float = 0, **fields: Any) -> Sandbox:
    """A sandbox with a turn that runs, of one vCPU, for so long."""
    since = timezone.now() - timedelta(hours=hours)
    sandbox = make(project, template, provider="e2b", real_cpu=1, real_memory_mb=1024, running_since=since, **fields)
    sandbox.history.delete()
    sandbox.record("creating", "running", since)
    job = Job.objects.create(sandbox=sandbox, kind="turn", status="running")
    Turn.objects.create(sandbox=sandbox, job=job, prompt="Mend it", status="running", started_at=since)
    return sandbox


def test_nothing_new_is_started_sent_or_woken(
    member_client: Client, member: User, owner: User, project: Project, template: Template
):
    budget(project, "1")
    asleep = make(project, template, "paused", created_by=member)
    spend(project, "1")
    with pytest.raises(
        ValidationError, match=r"Nothing was started\. The budget of project Rocket .* Olga can raise it"
    ):
        fleet.launch(project, member, template=template, prompt="ls")
    for act in (lambda: turns.send(asleep, member, "ls"), lambda: fleet.wake(asleep, member)):
        with pytest.raises(turns.NotPossible, match=r"Olga can raise it\."):
            act()
    said = member_client.post(f"/p/rocket/sandboxes/{asleep.pk}/send/", {"prompt": "ls"}, follow=True)
    assert "The message was not sent. The budget of project Rocket" in said.content.decode()
    form = {"template": template.pk, "prompt": "ls", "timeout_minutes": 60, "idle_minutes": 15, "cpu": 1,
            "memory_mb": 512, "publish": ""}  # fmt: skip
    answer = member_client.post("/p/rocket/sandboxes/new/", form)
    assert answer.status_code == 422
    assert "Nothing was started. The budget of project Rocket" in answer.content.decode()
    assert Sandbox.objects.count() == 1


def test_a_turn_sets_something_aside_until_it_is_metered(project: Project, template: Template):
    budget(project, "1")
    sandbox = make(project, template)
    first, second = (Turn.objects.create(sandbox=sandbox, prompt="ls", status="queued") for _ in range(2))
    assert [holding.admission(first), holding.admission(first), holding.admission(second)] == ["", "", ""]
    third = Turn.objects.create(sandbox=sandbox, prompt="ls", status="queued")
    assert "is used up" in holding.admission(third)
    Turn.objects.filter(pk=first.pk).update(status="succeeded")
    ledger.meter(sandbox.pk)
    assert Reservation.objects.get(released_at=None).turn_id == second.pk
    assert holding.admission(third) == ""


def test_without_budgets_nothing_is_set_aside(project: Project, template: Template):
    turn = Turn.objects.create(sandbox=make(project, template), prompt="ls", status="queued")
    assert holding.admission(turn) == ""
    assert not Reservation.objects.exists()


def test_what_a_run_has_set_aside_becomes_its_turn_s(project: Project, template: Template, member: User):
    budget(project, "1")
    made = budgets.reserve(project, run_id=7, amount=Decimal(5))
    labels = {"run_id": 7, "reservation": made.pk}
    assert holding.refusal(project, member, labels) == ""
    assert holding.refusal(project, member, {"run_id": 8}) != ""
    turn = Turn.objects.create(sandbox=make(project, template, labels=labels), prompt="ls", status="queued")
    assert holding.admission(turn) == ""
    made.refresh_from_db()
    assert made.turn_id == turn.pk
    # It is used once: the next turn needs another one.
    assert holding.refusal(project, member, labels) != ""


@pytest.mark.parametrize("odd", ["x", [1], True, 2**70, None])
def test_odd_labels_set_nothing_aside(project: Project, member: User, odd: Any):
    budget(project, "1")
    spend(project, "1")
    assert "is used up" in holding.refusal(project, member, {"reservation": odd, "run_id": odd, "cap": odd})


def test_a_turn_that_may_not_run_waits_in_a_machine_that_sleeps(project: Project, template: Template):
    budget(project, "1")
    spend(project, "1")
    sandbox = make(project, template)
    waiting = Turn.objects.create(sandbox=sandbox, prompt="ls", status="queued")
    turns.advance(sandbox)
    waiting.refresh_from_db()
    assert waiting.status == "queued"
    assert (sandbox.wanted, sandbox.wanted_reason) == ("pause", "budget")


def test_at_eighty_and_ninety_percent_people_are_told_once(project: Project, owner: User, member: User):
    mine = budget(project, "10")
    for usd, level in (("7.99", 0), ("0.01", 80), ("1", 90), ("1", 100)):
        spend(project, usd)
        holding.watch()
        holding.watch()
        mine.refresh_from_db()
        assert mine.level == level
    told = Notification.objects.filter(user=owner).order_by("id")
    assert [note.text[:4].strip() for note in told] == ["80 %", "90 %", "100"]
    assert "$10.00 of $10.00. New work is refused" in told[2].text
    assert told[0].url == "/p/rocket/usage/budgets/"
    assert not Notification.objects.filter(user=member).exists()


def test_what_runs_counts_and_is_stopped_when_the_budget_is_used_up(
    rate: None, project: Project, template: Template, owner: User
):
    budget(project, "2")
    spend(project, "1")
    sandbox = working(project, template, hours=0.9)
    holding.watch()
    sandbox.refresh_from_db()
    assert sandbox.wanted == "run"
    other = working(project, template, hours=0.2)
    holding.watch()
    for row in (sandbox, other):
        row.refresh_from_db()
        assert (row.wanted, row.wanted_reason) == ("pause", "budget")
        assert row.jobs.get().stop_reason == "budget"
    # Nothing of it is metered yet, and yet it is used up.
    assert "is used up" in budgets.refusal(project)


def test_a_turn_that_was_stopped_says_so(project: Project, template: Template):
    sandbox = working(project, template)
    job = sandbox.jobs.get()
    Job.objects.filter(pk=job.pk).update(status="exited", exit_reason="stopped", stop_reason="budget")
    job.refresh_from_db()
    assert (turns.judge(job).status, turns.judge(job).reason) == ("interrupted", "budget")


def test_a_run_is_stopped_at_its_own_cap_and_others_are_not(rate: None, project: Project, template: Template):
    capped = working(project, template, hours=0.6, labels={"run_id": 7, "cap": "1.00"})
    same = working(project, template, hours=0.6, labels={"run_id": 7})
    other = working(project, template, hours=3, labels={"run_id": 8})
    holding.watch()
    for row, wanted in ((capped, "pause"), (same, "pause"), (other, "run")):
        row.refresh_from_db()
        assert row.wanted == wanted
    budget(project, "2.50", scope="run")
    holding.watch()
    other.refresh_from_db()
    assert other.wanted == "pause"


def asleep(project: Project, template: Template, **fields: Any) -> Sandbox:
    """As a used-up budget left it: a turn stopped, another one waiting."""
    sandbox = make(project, template, "paused", wanted="pause", wanted_reason="budget", reason="budget",
                   stop_by=timezone.now(), **fields)  # fmt: skip
    for place, status in enumerate(("interrupted", "queued"), 1):
        Turn.objects.create(sandbox=sandbox, prompt=f"Number {place}", position=place, status=status,
                            reason="budget" if place == 1 else "")  # fmt: skip
    return sandbox


def test_raised_all_of_it_goes_on(project: Project, member: User, owner: User):
    mine = budget(project, "1")
    spend(project, "1")
    holding.watch()
    claude = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    sandbox = asleep(project, claude, created_by=member)
    holding.watch()
    sandbox.refresh_from_db()
    assert sandbox.wanted == "pause"
    Budget.objects.filter(pk=mine.pk).update(amount=2)
    mine.refresh_from_db()
    assert holding.change(mine, owner) == 1
    assert holding.go_on() == 0
    sandbox.refresh_from_db()
    assert (sandbox.wanted, sandbox.wanted_by) == ("run", owner)
    queue = list(sandbox.turns.filter(status="queued"))
    assert [turn.prompt for turn in queue] == [limits.GO_ON, "Number 2"]


def test_a_script_that_was_stopped_is_run_again(project: Project, template: Template):
    sandbox = asleep(project, template)
    assert holding.go_on() == 1
    assert [turn.prompt for turn in sandbox.turns.filter(status="queued")] == ["Number 1", "Number 2"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_turn_that_fell_asleep_with_its_machine_goes_on_unless_it_was_asked_to_end(
    project: Project, template: Template, asked: bool
):
    sandbox = make(project, template, "paused", wanted="pause", wanted_reason="budget", reason="budget",
                   stop_by=timezone.now())  # fmt: skip
    job = Job.objects.create(sandbox=sandbox, kind="turn", status="running", stop_reason="budget",
                             stop_asked_at=timezone.now() if asked else None)  # fmt: skip
    Turn.objects.create(sandbox=sandbox, job=job, prompt="ls", status="running", started_at=timezone.now())
    assert holding.go_on() == 1
    job.refresh_from_db()
    assert job.stop_reason == ("budget" if asked else "")
    assert sandbox.turns.filter(status="queued").count() == asked


def test_another_budget_in_the_way_keeps_it_asleep(project: Project, template: Template, owner: User):
    mine = budget(project, "5")
    budget(None, "1")
    spend(project, "1")
    sandbox = asleep(project, template)
    assert holding.change(mine, owner) == 0
    sandbox.refresh_from_db()
    assert sandbox.wanted == "pause"
