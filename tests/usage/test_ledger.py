"""The ledger: a scripted day to the last digit, once however often it is told, and kept whatever is deleted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import Sum
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes.bill import bill
from sandboxes.models import Job, Orphan, Phase, Sandbox, Template, Turn
from sandboxes.price import Cost
from tests.sandboxes.pages import make
from usage import ledger, rollups, stock, upkeep
from usage.models import Entry, Meter, Rate, Rollup, RunSum

# Clocks go back in Berlin that night: 01:00 UTC is the second 02:00 there.
DAY = datetime(2026, 10, 25, tzinfo=UTC)


def at(clock: str, day: int = 0) -> datetime:
    hour, minute, *second = map(float, clock.split(":"))
    return DAY + timedelta(days=day, hours=hour, minutes=minute, seconds=second[0] if second else 0)


@pytest.fixture
def rates(db: None) -> None:
    """One price before noon, another after it."""
    noon = at("12:00")

    def rate(service: str, model: str, metric: str, before: str, after: str | None = None) -> None:
        fields = {"service": service, "model": model, "metric": metric}
        Rate.objects.create(**fields, price=before, valid_from=at("0:00", -30), valid_until=noon if after else None)
        if after:
            Rate.objects.create(**fields, price=after, valid_from=noon)

    for metric, before, after in (("input", "2", "3"), ("output", "10", "12"), ("cache_read", "0.1", "0.3")):
        rate("anthropic", "claude-sonnet-5-5", metric, before, after)
    rate("anthropic", "claude-sonnet-5-5", "cache_write", "2.5")
    for metric, price in (("input", "1.25"), ("output", "10"), ("cache_read", "0.125"), ("cache_write", "1.25")):
        rate("openai", "gpt-5", metric, price)
    rate("e2b", "", "vcpu_seconds", "0.000014", "0.000016")
    rate("e2b", "", "gib_seconds", "0.0000045")


def template(tool: str) -> Template:
    return Template.objects.get_or_create(slug=tool, defaults={"name": tool, "tool": tool, "image": tool})[0]


def machine(project: Project, tool: str, status: str, *moves: tuple[str, str], **fields: Any) -> Sandbox:
    """A sandbox with this history: pairs of what it became and when."""
    fields = {"provider": "e2b", "real_cpu": 2, "real_memory_mb": 1536, "cpu": 8, **fields}
    sandbox = make(project, template(tool), status, **fields)
    sandbox.history.delete()
    old = "creating"
    for new, clock in moves:
        sandbox.record(old, new, at(clock))
        old = new
    return sandbox


def turn(sandbox: Sandbox, start: str, end: str | None, usage: Any, **fields: Any) -> Turn:
    job = Job.objects.create(sandbox=sandbox, kind="turn", status="exited" if end else "running")
    return Turn.objects.create(
        sandbox=sandbox, job=job, prompt="Mend it", usage=usage, status="succeeded" if end else "running",
        started_at=at(start), ended_at=at(end) if end else None, **fields,
    )  # fmt: skip


def tokens(given: int = 0, output: int = 0, read: int = 0, write: int = 0) -> dict[str, int]:
    return {"input": given, "output": output, "cache_read": read, "cache_write": write, "reasoning": 0}


def scripted(project: Project, owner: User, member: User) -> list[Sandbox]:
    """A day: a boot, a loop across noon and a pause, a kill, a crash in the night, and a script that uses no model."""
    loop = machine(
        project, "claude", "killed", ("running", "11:50:01.5"), ("paused", "12:10"), ("running", "13:00"),
        ("killed", "13:05:00.25"), created_by=owner, kind="step", ended_at=at("13:05:00.25"),
        labels={"run_id": 7, "step": "design", "iteration": 3, "workflow": "Loop", "persona": "Later"},
    )  # fmt: skip
    boots = [
        ("create", "11:49:00", "11:49:30"),
        ("clone", "11:49:30", "11:49:40.5"),
        ("inject", "11:49:41", "11:50:01"),
    ]
    for place, (name, start, end) in enumerate(boots):
        Phase.objects.create(sandbox=loop, name=name, position=place, status="succeeded", started_at=at(start),
                             ended_at=at(end))  # fmt: skip
    told = {"run_id": "7", "step": "design", "workflow": "Loop", "persona": "Ann", "role": "designer", "source": "run"}
    turn(
        loop, "11:52", "12:03", {"claude-sonnet-5-5": tokens(1000, 200, 50_000, 4000)}, labels={**told, "iteration": 1}
    )
    turn(loop, "13:00:30", "13:05", {"claude-sonnet-5-5": tokens(10, 20, 0, 7)}, labels={**told, "iteration": 2})
    codex = machine(project, "codex", "killed", ("running", "9:00"), ("killed", "9:01"), created_by=member)
    turn(codex, "9:00:10", "9:00:50", {"gpt-5": tokens(4500, 123, 300)})
    turn(codex, "9:00:55", "9:01", None)
    # The machine was lost in the night and nobody looked until then: its last running stretch ends with the move.
    pi = machine(project, "pi", "error", ("running", "0:50"), ("error", "1:20"), real_cpu=1, real_memory_mb=512)
    turn(pi, "0:51", "1:20", {"unheard-of": tokens(100, 10)})
    script = machine(project, "script", "paused", ("running", "23:59"), ("paused", "23:59:30"))
    turn(script, "23:59:01", "23:59:20", None)
    return [loop, codex, pi, script]


# By hand: USD.
MACHINE_BEFORE, MACHINE_AFTER = Decimal("0.00003475"), Decimal("0.00003875")  # 2 vCPU and 1.5 GiB, a second
TABLE = {
    # Boot 30.5 s (not the create), then 9:58.5 before noon; 10:00 and 5:00.25 after it.
    "loop machine": Decimal("30.5") * MACHINE_BEFORE
    + Decimal("598.5") * MACHINE_BEFORE
    + Decimal("900.25") * MACHINE_AFTER,
    # The turn that began before noon: 1,000 x 2 + 200 x 10 + 50,000 x 0.1 + 4,000 x 2.5.
    # The one after it: 10 x 3 + 20 x 12 + 7 x 2.5.
    "loop tokens": Decimal("0.019") + Decimal("0.0002875"),
    "codex machine": 60 * MACHINE_BEFORE,
    # 4,500 x 1.25 + 123 x 10 + 300 x 0.125
    "codex tokens": Decimal("0.0068925"),
    # 1,800 s of 1 vCPU and 0.5 GiB; its model has no price.
    "pi machine": 1800 * Decimal("0.00001625"),
    "script machine": 30 * MACHINE_AFTER,
}


def meter_all() -> int:
    return sum(ledger.meter(pk) for pk in Sandbox.objects.values_list("pk", flat=True))


def total(**where: Any) -> Decimal:
    return Entry.objects.filter(**where).aggregate(sum=Sum("cost"))["sum"] or Decimal(0)


def test_a_scripted_day_is_what_it_was_reckoned_by_hand(rates: None, project: Project, owner: User, member: User):
    loop, codex, pi, script = scripted(project, owner, member)
    before = [bill(row, row.turns.all(), row.phases.all()).total for row in (loop, codex, pi, script)]
    meter_all()
    assert total(sandbox_id=loop.pk, model="") == TABLE["loop machine"]
    assert total(sandbox_id=loop.pk, model="claude-sonnet-5-5") == TABLE["loop tokens"]
    assert total(sandbox_id=codex.pk, model="") == TABLE["codex machine"]
    assert total(sandbox_id=codex.pk, model="gpt-5") == TABLE["codex tokens"]
    assert total(sandbox_id=pi.pk) == TABLE["pi machine"]
    assert total(sandbox_id=script.pk) == TABLE["script machine"]
    assert total() == sum(TABLE.values())
    unpriced = Entry.objects.filter(cost=None).values_list("model", "metric", "quantity")
    assert {*unpriced} == {("unheard-of", "input", Decimal(100)), ("unheard-of", "output", Decimal(10))}
    # The bill says the same, before and after; and what it says is not priced again.
    assert before == [bill(row, row.turns.all(), row.phases.all()).total for row in (loop, codex, pi, script)]
    assert before[0] == Cost(TABLE["loop machine"] + TABLE["loop tokens"])
    assert before[1] == Cost(TABLE["codex machine"] + TABLE["codex tokens"], uncounted=True)
    Rate.objects.update(price=99)
    assert bill(loop, loop.turns.all(), loop.phases.all()).total == before[0]


def test_work_is_labelled_as_it_was_when_it_began(rates: None, project: Project, owner: User, member: User):
    loop, codex, *_ = scripted(project, owner, member)
    meter_all()
    rows = Entry.objects.filter(sandbox_id=loop.pk)
    assert {*rows.values_list("run_id", "step", "workflow", "persona", "role", "kind", "source")} == {
        (7, "design", "Loop", "Ann", "designer", "step", "run")
    }
    # Booting and idling before the second turn are the first one's.
    by = {(row.iteration, row.activity): row.quantity for row in rows.filter(metric="vcpu_seconds").order_by("-at")}
    assert {*by} == {(1, "boot"), (1, "idle"), (1, "turn"), (2, "turn"), (2, "idle")}
    assert {*rows.values_list("person_name", "project_name")} == {("Olga", "Rocket")}
    assert {*Entry.objects.filter(sandbox_id=codex.pk).values_list("person_id", flat=True)} == {member.pk}


def test_machine_time_is_cut_at_quarters(rates: None, project: Project, owner: User, member: User):
    scripted(project, owner, member)
    meter_all()
    cpus = {row.pk: row.real_cpu or 1 for row in Sandbox.objects.all()}
    for row in Entry.objects.filter(metric="vcpu_seconds"):
        until = row.at + timedelta(seconds=float(row.quantity / cpus[row.sandbox_id or 0]))
        assert until <= row.at - (row.at - DAY) % timedelta(minutes=15) + timedelta(minutes=15)


def test_everything_told_twice_changes_no_total(
    rates: None, project: Project, owner: User, member: User, work: Callable[[], int]
):
    scripted(project, owner, member)
    cache.delete("upkeep-usage-sweep")  # due only once a minute, whichever test asked before
    upkeep.sweep()
    work()
    was, rows = total(), Entry.objects.count()
    for _ in range(2):
        assert meter_all() == 0
        ledger.sweep(ledger.meter)
    Meter.objects.update(closed=False, looked_at=None)
    assert meter_all() == 0
    assert (total(), Entry.objects.count()) == (was, rows)
    assert was == sum(TABLE.values())
    assert rollups.compare() == []


def test_a_lost_task_loses_nothing(rates: None, project: Project, owner: User, member: User, work: Callable[[], int]):
    scripted(project, owner, member)
    assert ledger.sweep(ledger.meter) == 4
    assert total() == sum(TABLE.values())
    # The paused one may wake: it is looked at again when it has moved.
    assert Meter.objects.filter(closed=False).count() == 1
    assert ledger.sweep(ledger.meter) == 0


def test_a_machine_that_runs_is_metered_by_the_quarter(rates: None, project: Project, owner: User):
    now = timezone.now()
    sandbox = machine(project, "claude", "running", created_by=owner)
    sandbox.record("creating", "running", now - timedelta(minutes=50))
    ledger.meter(sandbox.pk)
    metered = Entry.objects.filter(metric="vcpu_seconds").aggregate(sum=Sum("quantity"))["sum"]
    assert 2 * 30 * 60 <= metered <= 2 * 50 * 60
    assert not Meter.objects.get().closed
    Meter.objects.update(looked_at=now - ledger.EVERY)
    assert ledger.waiting().get() == sandbox
    # What it goes on to use is not in the ledger yet, but on the bill.
    shown = bill(sandbox, [], [])
    assert shown.settled.usd == total()
    assert shown.machine.usd > shown.settled.usd


def test_what_is_deleted_keeps_its_money(rates: None, project: Project, owner: User, member: User):
    loop, *_ = scripted(project, owner, member)
    loop.delete()
    assert total() == TABLE["loop machine"] + TABLE["loop tokens"]
    project.delete()
    assert not Sandbox.objects.exists()
    assert total() == sum(TABLE.values())
    assert Rollup.objects.aggregate(sum=Sum("cost"))["sum"] == sum(TABLE.values())
    assert rollups.compare() == []


def test_a_machine_that_nobody_claimed_costs_until_it_was_found(rates: None, project: Project, owner: User):
    sandbox = machine(project, "claude", "killed", created_by=owner, labels={"run_id": 7, "iteration": 1})
    for number, of in enumerate((sandbox, None)):
        Orphan.objects.create(what="machine", provider="e2b", provider_id=f"lost-{number}", sandbox=of, cpu=2,
                              memory_mb=1536, seconds=1000, found_at=at("12:10"), done="Killed.")  # fmt: skip
    assert [ledger.orphans(), ledger.orphans()] == [8, 0]
    each = 400 * MACHINE_BEFORE + 600 * MACHINE_AFTER
    assert total(activity="orphan", project=project) == total(activity="orphan", project=None) == each
    assert total(run_id=7) == 0


def sums() -> list[Any]:
    by_run = RunSum.objects.order_by("run_id", "step", "iteration").values("run_id", "iteration", "cost", "last_at")
    return [*Rollup.objects.order_by("slot", "work").values("slot", "work", "cost", "vcpu_us"), *by_run]


def test_sums_that_disagree_are_found_and_rebuilt(rates: None, project: Project, owner: User, member: User):
    scripted(project, owner, member)
    meter_all()
    kept = sums()
    Rollup.objects.filter(work__model="gpt-5").update(cost=1)
    RunSum.objects.update(cost=1)
    assert rollups.check() == [DAY.date().isoformat(), "runs"]
    rollups.rebuild(DAY.date(), DAY.date())
    assert rollups.check(DAY.date()) == rollups.check() == ["runs"]
    rollups.rebuild()
    assert rollups.check() == []
    assert sums() == kept


@pytest.mark.parametrize("told", [{"run_id": "x" * 400}, {"run_id": 2**80}, {"step": ["a"]}, {"persona": "p" * 999}])
def test_odd_labels_harm_nothing(db: None, project: Project, told: dict[str, Any]):
    stock.rates()
    sandbox = machine(project, "claude", "killed", ("running", "9:00"), ("killed", "9:01"), labels=told)
    assert ledger.meter(sandbox.pk) == 2
