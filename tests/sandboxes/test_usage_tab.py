"""What a sandbox used and what it costs: on its page, in figures that add up, and after its machine is gone."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes import e2b, metrics
from sandboxes.bill import bill
from sandboxes.metering import elapsed, service
from sandboxes.models import Event, Job, Phase, Sample, Sandbox, Template, Turn
from sandboxes.price import Cost, Prices
from tests.faults import Faults
from tests.sandboxes.pages import make
from tests.stack import wait_for
from usage import stock
from usage.models import Rate

SONNET = {"input": 1_000, "output": 200, "cache_read": 50_000, "cache_write": 4_000, "reasoning": 80}
# 1,000 x 2 + 200 x 10 + 50,000 x 0.10 + 4,000 x 2.50 USD for a million.
SONNET_USD = Decimal("0.019")


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


@pytest.fixture
def rates(db: None) -> None:
    stock.rates()


def turn(sandbox: Sandbox, usage: Any, status: str = "succeeded", **fields: Any) -> Turn:
    job = Job.objects.create(sandbox=sandbox, kind="turn", status="exited" if status != "running" else "running")
    now = timezone.now()
    return Turn.objects.create(
        sandbox=sandbox, job=job, prompt="Mend it", status=status, usage=usage, started_at=now, **fields
    )


def billed(sandbox: Sandbox) -> Any:
    return bill(sandbox, sandbox.turns.select_related("job"), sandbox.phases.all())


def figures(client: Client, sandbox: Sandbox) -> str:
    answer = client.get(f"/p/rocket/sandboxes/{sandbox.pk}/usage/", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


# --- what it costs ---


def test_tokens_of_every_turn_and_model_are_counted_and_priced(rates: None, project: Project, claude: Template):
    sandbox = make(project, claude, "killed", provider="local")
    turn(sandbox, {"claude-sonnet-5-5": SONNET, "claude-haiku-5-5": {**SONNET, "input": 0}})
    turn(sandbox, {"claude-sonnet-5-5": SONNET})
    made = billed(sandbox)
    assert [(line.number, line.model) for line in made.lines] == [
        (1, "claude-haiku-5-5"), (1, "claude-sonnet-5-5"), (2, "claude-sonnet-5-5"),
    ]  # fmt: skip
    assert made.totals == {
        "input": 2_000, "output": 600, "cache_read": 150_000, "cache_write": 12_000, "reasoning": 240,
    }  # fmt: skip
    # Reasoning is part of the output: it is not paid twice.
    assert made.lines[1].cost == Cost(SONNET_USD)
    assert made.total == made.tokens == Cost(SONNET_USD * 2 + Decimal("0.0011"))


def test_what_a_turn_costs_is_its_tokens_and_the_machine_time_for_it(rates: None, project: Project, claude: Template):
    sandbox, now = make(project, claude, provider="e2b", real_cpu=1, real_memory_mb=1024), timezone.now()
    for began, ended in ((50, 40), (30, 20)):
        turn(sandbox, {"claude-sonnet-5-5": SONNET})
        at = {"started_at": now - timedelta(minutes=began), "ended_at": now - timedelta(minutes=ended)}
        Turn.objects.filter(pk=sandbox.turns.latest("pk").pk).update(**at)
    sandbox.history.update(at=now - timedelta(hours=1))
    made = billed(sandbox)
    first, second = (made.of_turns[pk] for pk in sandbox.turns.values_list("pk", flat=True))
    assert first + second == made.base
    # The idle time after the first is its own as well; of the second only what is settled counts so far.
    assert first.usd > second.usd > SONNET_USD
    assert made.works_for == sandbox.turns.latest("pk").pk


def test_a_model_without_a_rate_is_named_and_never_free(rates: None, project: Project, claude: Template):
    sandbox = make(project, claude, "killed", provider="local")
    turn(sandbox, {"claude-sonnet-5-5": SONNET, "stub-model": SONNET})
    assert billed(sandbox).total == Cost(SONNET_USD, unpriced=("stub-model",))
    alone = make(project, claude, "killed", provider="local")
    turn(alone, {"stub-model": SONNET})
    assert billed(alone).total.known is None


def test_a_metric_without_a_rate_leaves_its_model_without_a_price(rates: None, project: Project, claude: Template):
    Rate.objects.filter(model="claude-sonnet-5-5", metric="cache_write").delete()
    sandbox = make(project, claude, "killed", provider="local")
    made = turn(sandbox, {"claude-sonnet-5-5": SONNET})
    assert Prices().turn(made, made.usage).unpriced == ("claude-sonnet-5-5",)
    used = {"claude-sonnet-5-5": {**SONNET, "cache_write": 0}}
    assert Prices().turn(made, used) == Cost(Decimal("0.009"))


def test_what_is_cached_for_an_hour_is_told_apart_and_paid_by_itself(rates: None, project: Project, claude: Template):
    sandbox = make(project, claude, "killed", provider="local")
    running = turn(sandbox, None, "running")
    for seq, hour in ((1, 3_000), (2, 0)):
        data = {"model": "claude-sonnet-5-5", **SONNET, "cache_write_1h": hour}
        Event.objects.create(job_id=running.job_id or 0, seq=seq, t_ms=seq, kind="usage", data=data)
    # Of 8,000 tokens 3,000 at 4 USD a million instead of 2.50.
    assert billed(sandbox).tokens == Cost(SONNET_USD * 2 + 3_000 * Decimal("0.0000015"))
    assert billed(sandbox).totals["cache_write"] == 8_000


def test_tokens_that_nobody_told_are_unknown_and_not_none(rates: None, project: Project, claude: Template):
    sandbox = make(project, claude, "killed", provider="local")
    turn(sandbox, None, "interrupted")
    assert billed(sandbox).total == Cost(uncounted=True)
    assert billed(sandbox).total.known is None


def test_a_turn_that_never_ran_and_a_script_use_no_tokens(
    rates: None, project: Project, claude: Template, template: Template
):
    sandbox = make(project, claude, "killed", provider="local")
    Turn.objects.create(sandbox=sandbox, prompt="Mend it", status="failed", reason="missing_key")
    script = make(project, template, "killed", provider="local")
    turn(script, None)
    for row in (sandbox, script):
        assert billed(row).lines == []
        assert billed(row).total == Cost()


def test_a_running_turn_shows_what_it_used_so_far(rates: None, project: Project, claude: Template):
    sandbox = make(project, claude, provider="local")
    running = turn(sandbox, None, "running")
    assert billed(sandbox).tokens == Cost()
    for seq in (1, 2):
        data = {"model": "claude-sonnet-5-5", **SONNET}
        Event.objects.create(job_id=running.job_id or 0, seq=seq, t_ms=seq, kind="usage", data=data)
    assert billed(sandbox).tokens == Cost(SONNET_USD * 2)


def test_a_turn_costs_what_the_rate_was_on_its_day(rates: None, project: Project, claude: Template):
    Rate.objects.filter(model="claude-sonnet-5-5").update(valid_until=datetime(2026, 11, 21, tzinfo=UTC))
    sandbox = make(project, claude, "killed", provider="local")
    for day in (20, 21):
        made = turn(sandbox, {"claude-sonnet-5-5": SONNET})
        Turn.objects.filter(pk=made.pk).update(started_at=datetime(2026, 11, day, 12, tzinfo=UTC))
    assert [line.cost.known for line in billed(sandbox).lines] == [SONNET_USD, None]


def test_many_turns_of_a_day_ask_once_for_a_rate(
    rates: None, project: Project, claude: Template, django_assert_num_queries: Any
):
    sandbox = make(project, claude, "killed", provider="local")
    for _ in range(12):
        turn(sandbox, {"claude-sonnet-5-5": SONNET})
    with django_assert_num_queries(5):  # turns, phases, moves, what is recorded, the model's rate
        billed(sandbox)


def ran(sandbox: Sandbox, *spans: tuple[datetime, datetime | None]) -> Sandbox:
    """Its status history: it ran in these spans and slept between them."""
    sandbox.history.delete()
    for start, end in spans:
        sandbox.record("paused", "running", start)
        if end:
            sandbox.record("running", "paused", end)
    return sandbox


def test_machine_time_counts_from_the_machine_on_and_not_while_paused(
    rates: None, project: Project, template: Template
):
    now = timezone.now()
    fields: dict[str, Any] = {"provider": "e2b", "real_cpu": 2, "real_memory_mb": 4096, "cpu": 8, "memory_mb": 8192}
    sandbox = make(project, template, "paused", **fields)
    for position, (name, began, took) in enumerate([("create", 100, 60), ("clone", 40, 4), ("inject", 30, 6)]):
        start = now - timedelta(hours=3, seconds=began)
        end = start + timedelta(seconds=took)
        Phase.objects.create(
            sandbox=sandbox, name=name, position=position, status="succeeded", started_at=start, ended_at=end
        )
    first, second = now - timedelta(hours=3), now - timedelta(hours=1)
    ran(sandbox, (first, first + timedelta(seconds=3_000)), (second, second + timedelta(seconds=590)))
    made = billed(sandbox)
    assert made.seconds == 3600
    # facts: 0.1656 USD an hour for 2 vCPU and 4 GiB, by the size that the provider says.
    assert made.machine == Cost(Decimal("0.1656"))
    assert (made.per_second, made.since) == (0, None)


def test_while_the_machine_runs_its_cost_grows_by_the_second(rates: None, project: Project, template: Template):
    now = timezone.now()
    began = now - timedelta(minutes=70)
    fields: dict[str, Any] = {"provider": "e2b", "real_cpu": 2, "real_memory_mb": 4096}
    sandbox = make(project, template, running_since=began, **fields)
    ran(sandbox, (began - timedelta(hours=2), began - timedelta(hours=2) + timedelta(seconds=60)), (began, None))
    made = billed(sandbox)
    assert made.per_second == Decimal("0.000046")
    # What is settled goes as far as the last quarter of an hour that is over.
    assert made.since
    assert made.since.minute % 15 == made.since.second == 0
    assert made.settled == Cost(made.per_second * (60 + elapsed(made.since - began)))
    assert made.machine.usd == made.per_second * made.seconds > made.settled.usd


def test_machine_time_without_a_rate_is_not_free(project: Project, template: Template):
    now = timezone.now()
    sandbox = ran(make(project, template, "killed", provider="e2b"), (now - timedelta(seconds=1), now))
    assert billed(sandbox).total == Cost(unpriced=("E2B machine time",))


@pytest.mark.parametrize(
    ("tool", "model", "paid"),
    [
        ("claude", "claude-opus-5-5", "anthropic"),
        ("claude", "some-gateway-s-own", "anthropic"),
        ("codex", "gpt-6.1-sol", "openai"),
        ("pi", "gpt-5.5", "openai"),
        ("opencode", "claude-haiku-5-5", "anthropic"),
        ("opencode", "anthropic/claude-haiku-5-5", "anthropic"),
        ("pi", "qwen/qwen3-coder", "openrouter"),
        ("pi", "stub-model", "openrouter"),
    ],
)
def test_who_is_paid_follows_from_the_model(tool: str, model: str, paid: str):
    assert service(tool, model) == paid


# --- what the machine used ---


def moment(second: int, cpu: float = 10.0) -> e2b.Usage:
    return e2b.Usage(
        datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=second), cpu, 2**28, 2**30, 2**20, 2**33
    )


def test_a_moment_in_fifteen_seconds_is_kept():
    every_five = [moment(second) for second in range(0, 61, 5)]
    assert [usage.at.second for usage in metrics.thinned(every_five, None)] == [0, 15, 30, 45, 0]
    assert [usage.at.second for usage in metrics.thinned(every_five, moment(15).at)] == [30, 45, 0]


def test_the_same_moment_is_stored_once(project: Project, template: Template):
    sandbox = make(project, template)
    metrics.keep(sandbox, [moment(0), moment(15)])
    metrics.keep(sandbox, [moment(15), moment(30)])
    assert Sample.objects.filter(sandbox=sandbox).count() == 3


def test_a_long_life_is_drawn_with_few_points_and_the_newest_among_them():
    moments = [moment(15 * number) for number in range(1_000)]
    drawn = metrics.sparse(moments)
    assert 200 <= len(drawn) <= metrics.POINTS
    assert drawn[-1] is moments[-1]
    assert metrics.sparse([]) == []


def test_a_machine_that_does_not_answer_holds_nobody_up(
    project: Project, template: Template, monkeypatch: pytest.MonkeyPatch
):
    good, bad = (make(project, template, provider_id=name) for name in ("good", "bad"))

    def answer(provider: e2b.Provider, machine: str, since: datetime | None) -> list[e2b.Usage]:
        if machine == "bad":
            raise e2b.Gone("It is gone.")
        return [moment(0)]

    monkeypatch.setattr(e2b, "metrics", answer)
    monkeypatch.setattr(e2b, "provider_of", lambda project: e2b.Provider("local", ""))
    assert [sandbox.pk for sandbox, _ in metrics.answers([good, bad], {})] == [good.pk]


def test_what_the_local_host_measured_is_there_when_the_machine_is_gone(
    provider: Faults, member_client: Client, project: Project, template: Template
):
    host = e2b.provider_of(project)
    machine = e2b.create(host, template="script-1c-512m", metadata={}, envs={}, key="usage-tab", network=None)
    sandbox = make(project, template, provider="local", provider_id=machine.id)

    def sampled() -> bool:
        cache.delete("upkeep-samples")
        metrics.sample()
        return Sample.objects.filter(sandbox=sandbox, memory__gt=0, memory_total=512 * 2**20).exists()

    try:
        wait_for(sampled, "a sample of the machine")
        assert metrics.series(sandbox).problem == ""
    finally:
        e2b.kill(host, machine.id)
    assert "is gone" in metrics.series(sandbox).problem
    Sandbox.objects.filter(pk=sandbox.pk).update(status="killed", running_since=None, ended_at=timezone.now())
    assert "512.0" in figures(member_client, sandbox)


# --- the page ---


def test_the_page_shows_tokens_costs_and_a_chart_after_the_machine_is_gone(
    rates: None, member_client: Client, project: Project, claude: Template
):
    sandbox = make(project, claude, "killed", provider="local", provider_id="m", real_cpu=2, real_memory_mb=1024)
    turn(sandbox, {"claude-sonnet-5-5": SONNET, "stub-model": SONNET})
    metrics.keep(sandbox, [moment(0, 10.0), moment(15, 30.0)])
    text = figures(member_client, sandbox)
    series = json.loads(re.search(r'data-series="(\{.*?\})"', text).group(1))  # type: ignore[union-attr]
    assert series["cpu"] == [10.0, 30.0]
    assert series["at"][1] - series["at"][0] == 15_000
    for words in ("50,000", "4,000", "claude-sonnet-5-5", "no rate for stub-model", "at least", "$0.0190", "20.0 %"):
        assert words in text
    assert "data-per-second" not in text


def test_a_script_s_page_speaks_of_no_tokens(rates: None, member_client: Client, project: Project, template: Template):
    text = figures(member_client, make(project, template, "killed", provider="local"))
    assert "Input" not in text
    assert "It ended before anything was measured." in text


def test_a_provider_that_fails_leaves_what_was_known(
    rates: None, member_client: Client, project: Project, template: Template, monkeypatch: pytest.MonkeyPatch
):
    sandbox = make(project, template, provider="local", provider_id="m")
    metrics.keep(sandbox, [moment(0)])

    def fail(*_: Any) -> None:
        raise e2b.Busy("Could not ask what the machine uses: the provider has no room just now.")

    monkeypatch.setattr(e2b, "provider_of", lambda project: e2b.Provider("local", ""))
    monkeypatch.setattr(e2b, "metrics", fail)
    text = figures(member_client, sandbox)
    assert "the provider has no room just now. What is shown is what was known before." in text
    assert '"cpu": [10.0]' in text


def test_without_scripts_it_is_a_page_of_its_own_and_strangers_see_none(
    rates: None, member_client: Client, stranger_client: Client, project: Project, template: Template
):
    sandbox = make(project, template, "killed", title="Mend it")
    address = f"/p/rocket/sandboxes/{sandbox.pk}/usage/"
    assert "Usage of Mend it" in member_client.get(address).content.decode()
    assert stranger_client.get(address).status_code == 404


def test_the_facts_show_the_cost_with_what_it_grows_by(
    rates: None, member_client: Client, member: User, project: Project, claude: Template
):
    sandbox = make(
        project,
        claude,
        provider="e2b",
        real_cpu=2,
        real_memory_mb=4096,
        tool_version="2.1.330 (Claude Code)",
    )
    turn(sandbox, {"claude-sonnet-5-5": SONNET}, ended_at=timezone.now())
    now = timezone.now()
    ran(sandbox, (now - timedelta(days=1), now - timedelta(days=1) + timedelta(seconds=60)), (now, None))
    text = member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/").content.decode()
    facts = text[text.index('id="facts"') :]
    found = re.search(r'<data value="([\d.]+)" data-per-second="([\d.]+)"', facts)
    assert found
    assert [*map(Decimal, found.groups())] == [SONNET_USD + Decimal("0.00276"), Decimal("0.000046")]
    assert "55,000 in" in facts
    assert "2.1.330 (Claude Code)" in facts
    assert "Deadline" in facts


# --- the timeline ---


def test_a_phase_that_takes_much_longer_than_usual_stands_out_and_its_log_is_there(
    member_client: Client, project: Project, template: Template
):
    now = timezone.now()
    for took in (1, 1, 1, 30):
        sandbox = make(project, template, "killed")
        Phase.objects.create(
            sandbox=sandbox, name="template", position=0, status="succeeded", started_at=now,
            ended_at=now + timedelta(seconds=took), log="added 3 packages <b>",
        )  # fmt: skip
    text = member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/?tab=timeline").content.decode()
    assert "More than twice of what is usual" in text
    assert "added 3 packages &lt;b&gt;" in text
    assert 'id="boot"' in text
