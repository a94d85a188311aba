"""The bill of a day: four real CLIs, a loop, pauses, kills, a crash of every process, new prices at noon, a night in
which the clocks go back; all of it played, and equal to what was reckoned by hand, on every page and in every file."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection, connections

from codecourier import postgres
from codecourier.models import Project, User
from codecourier.templatetags.portal import usd
from sandboxes import e2b, fleet, turns
from sandboxes.bill import bills
from sandboxes.models import Sandbox, Template, Turn
from sandboxes.price import Cost
from tests import clock
from tests.agents import flows
from tests.agents.clis import PI
from tests.agents.harness import AgentStack, running
from tests.clock import Clock
from tests.conftest import person, signed_in
from tests.endtoend.script_runs import over
from tests.githubserver.contract import contract
from tests.githubserver.server import GitHub, github
from tests.stack import wait_for
from usage import ledger, rollups
from usage.filters import DIMENSIONS
from usage.models import Entry, Meter, Rate
from workflows import costs
from workflows.models import Run

pytestmark = pytest.mark.long
# The clocks go back in Berlin that night: 01:00 UTC is the second 02:00 there. Its day begins at 22:00 UTC.
DAY = datetime(2026, 10, 25, tzinfo=UTC)
SPAN = "from=2026-10-24&until=2026-10-25"
NAME = "acme/work"
# A gate in the machine: whoever waits at it says so.
HELD = "touch ~/held; until [ -e ~/go ]; do sleep 0.02; done; rm ~/held ~/go"

# Prices before noon and after it: USD for a second of one vCPU and of one GiB, and for a million tokens.
PRICES = {
    ("local", "", "vcpu_seconds"): ("0.000014", "0.000016"),
    ("local", "", "gib_seconds"): ("0.0000045", "0.000005"),
    ("anthropic", "claude-sonnet-5-5", "input"): ("2", "3"),
    ("anthropic", "claude-sonnet-5-5", "output"): ("10", "12"),
    ("anthropic", "claude-sonnet-5-5", "cache_read"): ("0.1", "0.3"),
    ("anthropic", "claude-sonnet-5-5", "cache_write"): ("2.5", "3.75"),
    ("openai", "gpt-5.5", "input"): ("99", "1.25"),
    ("openai", "gpt-5.5", "output"): ("99", "10"),
    ("openai", "gpt-5.5", "cache_read"): ("99", "0.125"),
}


def at(time: str, day: int = 0) -> datetime:
    hour, minute, second = (*map(float, time.split(":")), 0.0)[:3]
    return DAY + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


class Day:
    """What happens on it, in its order; the clock stands wherever nothing is said of it."""

    def __init__(self, stack: AgentStack, clock: Clock, project: Project) -> None:
        self.stack, self.clock, self.project = stack, clock, project
        self.owner = User.objects.get(memberships__project=project)
        self.member = person("mia@example.com", project)

    def launch(self, tool: str, prompt: str, user: User, **fields: Any) -> Sandbox:
        """A sandbox whose first message is being worked on."""
        template = Template.objects.get(slug=tool)
        sandbox = fleet.launch(self.project, user, template=template, prompt=prompt, **fields)
        self.works(sandbox.turns.get())
        return sandbox

    def works(self, turn: Turn) -> None:
        """Wait until a turn waits for its gate in the machine."""

        def held() -> bool:
            turn.refresh_from_db()
            assert not turn.final, turn.detail
            return turn.started_at is not None and "held" in self.inside(turn.sandbox, "ls")

        wait_for(held, f"turn {turn.pk} to be at its gate")

    def inside(self, sandbox: Sandbox, command: str) -> str:
        """What a command in its machine says."""
        sandbox.refresh_from_db()
        return e2b.machine_of(sandbox).run(f"cd; {command}", "look into the machine")

    def goes_on(self, sandbox: Sandbox) -> Turn:
        """Open the gate of what it works on; the turn, once it is over."""
        turn = sandbox.turns.latest("pk")
        self.inside(sandbox, "touch go")

        def ended() -> Turn | None:
            turn.refresh_from_db()
            return turn if turn.final else None

        return wait_for(ended, f"turn {turn.pk} to end")

    def reaches(self, sandbox: Sandbox, status: str) -> None:
        """Wait until it is there, and what it used is written down."""

        def there() -> bool:
            sandbox.refresh_from_db()
            metered = Meter.objects.filter(sandbox_id=sandbox.pk, closed=True).exists()
            return sandbox.status == status and (metered or not sandbox.final)

        wait_for(there, f"sandbox {sandbox.pk} to be {status}")

    # --- the day -------------------------------------------------------------------------------

    def evening(self) -> Sandbox:
        """A script, ten minutes before midnight in Berlin and ten after it."""
        self.clock.set(at("21:50", -1))
        sandbox = self.launch("script", HELD, self.member)
        self.clock.set(at("22:10", -1))
        assert self.goes_on(sandbox).status == "succeeded"
        fleet.stop(sandbox, self.member)
        self.reaches(sandbox, "killed")
        return sandbox

    def night(self) -> Sandbox:
        """Pi works while clocks go back and worker and relay are killed; it idles, sleeps, and is killed at work."""
        self.clock.set(at("00:50"))
        sandbox = self.launch("pi", flows.shell(HELD), self.owner, designer_model=PI.model)
        for name in ("worker", "relay"):
            self.stack.kill(name)
        self.clock.set(at("01:20"))
        self.stack.start("worker", "relay")
        assert self.goes_on(sandbox).status == "succeeded"
        self.clock.set(at("01:30"))
        fleet.pause(sandbox, self.owner)
        self.reaches(sandbox, "paused")
        self.clock.set(at("09:00"))
        turn = turns.send(sandbox, self.owner, flows.shell(HELD))
        self.works(turn)
        self.clock.set(at("09:07:30.25"))
        fleet.stop(sandbox, self.owner)
        self.reaches(sandbox, "killed")
        return sandbox

    def noon(self) -> Run:
        """A loop of the four; while its first step works everything crashes, and prices change before it is back."""
        self.clock.set(at("11:50"))
        run = flows.launch(self.project, hold=HELD)
        first = self.step(run, 0)
        for name in ("worker", "relay", "host", "web"):
            self.stack.kill(name)
        connection.close()
        self.stack.kill_postgres()
        self.clock.set(at("12:05"))
        postgres.ensure(self.stack.state)
        self.stack.start("host", "worker", "relay", "web")
        self.clock.set(at("12:10"))
        assert self.goes_on(first).status == "succeeded"
        last = self.step(run, 2)
        # Whoever is done has been put away before time goes on.
        for sandbox in Sandbox.objects.filter(labels__run_id=run.pk).exclude(pk=last.pk):
            self.reaches(sandbox, "killed")
        self.clock.set(at("12:31"))
        assert self.goes_on(last).status == "succeeded"
        return over(run)

    def step(self, run: Run, place: int) -> Sandbox:
        """The machine of a step of a run that waits at its gate."""

        def begun() -> Turn | None:
            row = run.step_runs.filter(step=place).last()
            return row.turn if row else None

        turn = wait_for(begun, f"step {place} to begin")
        self.works(turn)
        return turn.sandbox


# --- by hand ---------------------------------------------------------------------------------

# A second of two vCPU, before noon and after it, with as much memory as the template has: one GiB, or two.
SMALL_BEFORE = Decimal("0.0000325")
LARGE_BEFORE, LARGE_AFTER = Decimal("0.000037"), Decimal("0.000042")
MACHINE = {
    # 21:50 to 22:10, on two days of Berlin.
    "script": 2 * 600 * SMALL_BEFORE,
    # 00:50 to 01:20 at work, until 01:30 idle, and from 09:00 to 09:07:30.25.
    "pi": (1800 + 600 + Decimal("450.25")) * SMALL_BEFORE,
    # 11:50 to 12:10; that nobody looked from 11:50 to 12:05 did not stop it.
    "designer": 600 * LARGE_BEFORE + 600 * LARGE_AFTER,
    # 12:10 to 12:31.
    "optimizer": 1260 * LARGE_AFTER,
}
# Millionths of a dollar. The models' server counts calls: the n-th one takes 1,000 + 7n, gives 40 + 3n, reads 300 + 11n
# from the cache and, where that has a price, writes 200 + 13n into it.
TOKENS = {
    # Calls 1 and 2.
    "pi": 2021 * 2 + 89 * 10 + 633 * Decimal("0.1") + 439 * Decimal("2.5"),
    # Call 3; there was no fourth before it was killed.
    "pi, killed": 1021 * 2 + 49 * 10 + 333 * Decimal("0.1") + 239 * Decimal("2.5"),
    # Calls 4 and 5, asked for before noon and at the prices of then.
    "designer 1": 2063 * 2 + 107 * 10 + 699 * Decimal("0.1") + 517 * Decimal("2.5"),
    # Calls 6 and 7, and 8 and 9 to have the answer mended.
    "checker 1": (2091 + 2119) * Decimal("1.25") + (119 + 131) * 10 + (743 + 787) * Decimal("0.125"),
    "designer 2": 2147 * 3 + 143 * 12 + 831 * Decimal("0.3") + 673 * Decimal("3.75"),
    "checker 2": 2175 * Decimal("1.25") + 155 * 10 + 875 * Decimal("0.125"),
    "optimizer": 2203 * Decimal("1.25") + 167 * 10 + 919 * Decimal("0.125"),
    "evaluator": 2231 * 3 + 179 * 12 + 963 * Decimal("0.3") + 829 * Decimal("3.75"),
}
MILLION = 1_000_000
OF_PI = MACHINE["pi"] + (TOKENS["pi"] + TOKENS["pi, killed"]) / MILLION
OF_DESIGNER = MACHINE["designer"] + (TOKENS["designer 1"] + TOKENS["designer 2"]) / MILLION
OF_RUN = (
    MACHINE["designer"] + MACHINE["optimizer"] + (sum(TOKENS.values()) - TOKENS["pi"] - TOKENS["pi, killed"]) / MILLION
)
TOTAL = sum(MACHINE.values(), Decimal(0)) + sum(TOKENS.values(), Decimal(0)) / MILLION
# Before midnight in Berlin there was half of the script.
DAYS = {"2026-10-24": 600 * SMALL_BEFORE, "2026-10-25": TOTAL - 600 * SMALL_BEFORE}


@pytest.fixture
def day(
    django_db_setup: None, django_db_blocker: Any, tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[tuple[Day, GitHub]]:
    """The real processes on a clock of the test's, with new prices from noon on."""
    (folder := tmp_path / "github").mkdir()
    (state := tmp_path / "state").mkdir()
    with (
        django_db_blocker.unblock(),
        pytest.MonkeyPatch.context() as patch,
        github(folder, contract(Path(pytestconfig.cache.mkdir("github-openapi"))), "127.0.0.2") as hub,
        clock.standing(tmp_path / "clock", at("21:00", -1)) as its,
    ):
        patch.setattr(settings, "STATE", state)
        patch.setitem(settings.PROVIDER_URLS, "github", hub.api)
        env = {"CODECOURIER_GITHUB_BASE_URL": hub.api, clock.VARIABLE: str(its.path)}
        with running(state, **env) as stack:
            stack.start("web")
            for (service, model, metric), (before, after) in PRICES.items():
                of = {"service": service, "model": model, "metric": metric}
                Rate.objects.create(**of, price=before, valid_from=at("0:00", -30), valid_until=at("12:00"))
                Rate.objects.create(**of, price=after, valid_from=at("12:00"))
            yield Day(stack, its, flows.project(stack, hub, NAME, tmp_path / "seed")), hub
        connections.close_all()


def total(**where: Any) -> Decimal:
    """What the ledger has."""
    return sum((row.cost for row in Entry.objects.filter(**where) if row.cost), Decimal(0))


def check_pages(played: Day, run: Run, costs: dict[Sandbox, Decimal]) -> None:
    """Every page and file that the portal gives out says the same."""
    User.objects.filter(pk=played.owner.pk).update(is_staff=True)
    cookies = {"sessionid": signed_in(played.owner).cookies["sessionid"].value, "zone": "Europe%2FBerlin"}
    slug = f"/p/{played.project.slug}"
    with httpx.Client(base_url=played.stack.url, cookies=cookies, trust_env=False, timeout=30) as browser:

        def page(address: str) -> str:
            answer = browser.get(address)
            assert answer.status_code == 200, address
            return answer.text

        for base in ("/usage/", f"{slug}/usage/"):
            for split in DIMENSIONS if base == "/usage/" else DIMENSIONS.keys() - {"project"}:
                text = page(f"{base}?{SPAN}&split={split}")
                assert "days in Europe/Berlin" in text
                assert list(map(Decimal, re.findall(r'data-total="([^"]+)"', text))) == [TOTAL]
                assert sum(map(Decimal, re.findall(r'data-cost="([^"]+)"', text)), Decimal(0)) == TOTAL
            for first, cost in DAYS.items():
                text = page(f"{base}?from={first}&until={first}")
                assert list(map(Decimal, re.findall(r'data-total="([^"]+)"', text))) == [cost]
            table = csv.DictReader(io.StringIO(page(f"{base}rows.csv?{SPAN}")))
            for rows in (list(table), json.loads(page(f"{base}rows.json?{SPAN}"))):
                assert sum((Decimal(row["cost"]) for row in rows), Decimal(0)) == TOTAL
        for sandbox, cost in costs.items():
            assert usd(cost) in page(f"{slug}/sandboxes/{sandbox.pk}/")
        for address in (f"{slug}/runs/{run.pk}/", f"{slug}/runs/", f"{slug}/", f"{slug}/pull-requests/"):
            assert usd(OF_RUN) in page(address), address


def test_the_bill_of_a_day_is_what_was_reckoned_by_hand(day: tuple[Day, GitHub]) -> None:
    played, hub = day
    script, night, run = played.evening(), played.night(), played.noon()
    flows.check(run, hub, NAME)
    designer = Sandbox.objects.get(labels__run_id=run.pk, labels__role="designer")
    expected = {script: MACHINE["script"], night: OF_PI, designer: OF_DESIGNER}
    for sandbox, cost in expected.items():
        assert total(sandbox_id=sandbox.pk) == cost, sandbox
    assert total(run_id=run.pk) == costs.of_run(run).total.usd == OF_RUN
    assert total() == TOTAL
    assert not Entry.objects.filter(cost=None).exists()
    everything = list(Sandbox.objects.select_related("template"))
    assert {made.total for made in bills(everything).values()} >= {Cost(cost) for cost in expected.values()}
    assert sum(made.total.usd for made in bills(everything).values()) == TOTAL
    # Told again, nothing is entered twice.
    assert [ledger.meter(sandbox.pk) for sandbox in everything] == [0] * len(everything)
    assert rollups.compare() == []
    check_pages(played, run, expected)
    # The same step went on in the same conversation.
    first, second = run.step_runs.filter(step=0).order_by("iteration")
    assert first.sandbox == second.sandbox == designer
    said = [str(one.body) for one in played.stack.server.requests(played.project.slug)]
    assert any("Count them." in text for text in said)
