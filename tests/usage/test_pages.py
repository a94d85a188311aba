"""Reports: every page and file says the same, days are the viewer's, and each sees exactly their part."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import AsyncClient, Client
from django.utils import timezone

from codecourier import registries
from codecourier.models import Project, User
from sandboxes.models import Job, PullRequest, Template, Turn
from tests.conftest import person, signed_in
from tests.sandboxes.pages import make
from usage import budgets, holding, report, rollups
from usage.filters import Asked, asked
from usage.models import Budget, Check, Entry

from .rows import budget, entry, spend

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


def enter(*rows: Entry) -> None:
    rollups.add(Entry.objects.bulk_create(rows))


def ask(of: Project | None = None, in_zone: str = "UTC", **params: str) -> Asked:
    return asked(params, in_zone, of, NOW)


@pytest.fixture
def other(db: None) -> Project:
    return Project.objects.create(name="Comet", slug="comet")


@pytest.fixture
def filled(project: Project, other: Project, owner: User, member: User) -> None:
    """A month of two projects, with a run, an idle machine and a model without a price."""
    number = 0
    for of, who, day in ((project, owner, 1), (project, member, 2), (other, owner, 3)):
        for model, usd in (("claude-opus-5-5", "1.25"), ("gpt-5", "0.5")):
            number += 1
            enter(entry(of, key=f"f{number}", at=NOW - timedelta(days=day), model=model, person=who,
                        person_name=str(who), quantity=Decimal(1000), price=Decimal(usd) / 1000, run_id=number % 2 + 1,
                        iteration=1, step="0", workflow="Loop", persona="Ann", role="designer", kind="step",
                        source="manual", service="anthropic" if "claude" in model else "openai"))  # fmt: skip
    machine: dict[str, Any] = {"service": "e2b", "model": "", "metric": "vcpu_seconds", "quantity": Decimal(3600)}
    enter(entry(project, key="m1", at=NOW, activity="idle", price=Decimal("0.0001"), **machine))
    enter(entry(project, key="u1", at=NOW, model="=odd model", price=None))


TOTAL, ROCKET = Decimal("5.61"), Decimal("3.86")


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def total_of(text: str) -> Decimal:
    found = re.search(r'data-total="([\d.]+)"', text)
    assert found
    return Decimal(found[1])


@pytest.fixture
def manager(db: None) -> User:
    """In no project, with the permission for reports."""
    user = person("max@example.com")
    user.user_permissions.add(Permission.objects.get(codename="view_reports"))
    return user


SPLITS = ("project", "person", "service", "model", "workflow", "persona", "role", "kind", "source", "activity")


def test_every_split_and_the_trend_add_up_to_the_total(filled: None, project: Project):
    for of, total in ((None, TOTAL), (project, ROCKET)):
        for split in SPLITS[1:] if of else SPLITS:
            for step in ("day", "week", "month"):
                found = report.report(ask(of, split=split, by=step))
                assert found["total"].cost == total
                assert sum(line.sums.cost for line in found["lines"]) == total
                assert sum(bar["cost"] for bar in found["trend"]) == total
                assert sum(sums.cost for sums in found["activities"].values()) == total


def test_pages_and_files_say_the_same(filled: None, member_client: Client, manager: User):
    days = "from=2026-11-01&until=2026-11-30"
    for client, base, total in ((member_client, "/p/rocket/usage/", ROCKET), (signed_in(manager), "/usage/", TOTAL)):
        for split in SPLITS:
            assert total_of(page(client, f"{base}?{days}&split={split}")) == total
        rows = page(client, f"{base}rows/?{days}")
        assert (
            sum(map(Decimal, re.findall(r'<td class="text-end text-nowrap">([\d.]+)</td>', rows)), Decimal(0)) >= total
        )


@pytest.fixture
async def tidy() -> AsyncIterator[None]:
    """Leaves no connection of another thread to the test database."""
    yield
    await sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", ["csv", "json"])
async def test_files_hold_every_row_to_the_last_digit(
    filled: None, member: User, manager: User, tidy: None, form: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("usage.exports.ROWS", 3)
    for user, address, total, rows in ((member, "/p/rocket/usage/", ROCKET, 6), (manager, "/usage/", TOTAL, 8)):
        client = AsyncClient()
        await client.aforce_login(user)
        answer = await client.get(f"{address}rows.{form}?from=2026-11-01&until=2026-11-30")
        assert f'.{form}"' in answer["Content-Disposition"]
        text = "".join([part.decode() async for part in answer.streaming_content])  # type: ignore[attr-defined]
        found = list(csv.DictReader(io.StringIO(text))) if form == "csv" else json.loads(text)
        assert len(found) == rows
        assert sum((Decimal(row["cost"]) for row in found if row["cost"]), Decimal(0)) == total
        # A spreadsheet must not take a model's name for a formula.
        odd = next(row["model"] for row in found if "odd" in row["model"])
        assert odd == ("'=odd model" if form == "csv" else "=odd model")
    empty = await client.get(f"/usage/rows.{form}?from=2020-01-01&until=2020-01-02")
    text = "".join([part.decode() async for part in empty.streaming_content])  # type: ignore[attr-defined]
    assert json.loads(text) == [] if form == "json" else text.count("\n") == 1


def test_a_stranger_a_member_and_a_manager_see_exactly_their_part(
    filled: None, stranger_client: Client, member_client: Client, manager: User, other: Project
):
    mine = ["", "worth/", "rows/", "rows.csv", "rows.json", "budgets/"]
    all_of_it = signed_in(manager)
    for part in mine:
        assert stranger_client.get(f"/p/rocket/usage/{part}").status_code == 404
        assert member_client.get(f"/p/rocket/usage/{part}").status_code == 200
        assert member_client.get(f"/p/comet/usage/{part}").status_code == 404
        for client in (stranger_client, member_client):
            assert client.get(f"/usage/{part}").status_code == 404
        assert all_of_it.get(f"/usage/{part}").status_code == 200
        assert all_of_it.get(f"/p/rocket/usage/{part}").status_code == 404
    assert "Comet" not in page(member_client, "/p/rocket/usage/rows/?project=99&span=all")
    assert 'href="/usage/"' in page(all_of_it, "/projects/")
    assert 'href="/usage/"' not in page(member_client, "/projects/")
    assert member_client.get("/p/rocket/usage/rows.xml").status_code == 404


def test_narrowed_down_by_the_address(filled: None, project: Project, owner: User):
    assert report.report(ask(model="gpt-5"))["total"].cost == Decimal("1.5")
    assert report.report(ask(project, person=str(owner.pk)))["total"].cost == Decimal("1.75")
    assert report.report(ask(activity="idle"))["total"].cost == report.report(ask())["idle"] == Decimal("0.36")
    assert report.report(ask(workflow="none"))["total"].cost == Decimal("0.36")
    assert report.report(ask(person="none", service="e2b"))["total"].cost == Decimal("0.36")
    assert Entry.objects.filter(ask(run="1").entries()).count() == 3
    chips = report.report(ask(model="gpt-5", person=str(owner.pk)))["chips"]
    assert [(chip["heading"], chip["label"]) for chip in chips] == [("Person", "Olga"), ("Model", "gpt-5")]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"from": "soon"}, "is no day"),
        ({"span": "<b>"}, "There is no span"),
        ({"person": "olga"}, "is no number of a person"),
        ({"run": "-1"}, "is no number of a run"),
        ({"from": "2026-11-09", "until": "2026-11-01"}, "the days were exchanged"),
        ({"from": "1066-10-14"}, "too far away"),
        ({"from": "2001-01-01"}, "At most ten years"),
        ({"zone": "Mars/Base", "by": "eon", "split": "x", "page": "x"}, "days in UTC"),
    ],
)
def test_a_question_that_can_t_be_understood_is_answered_with_a_sentence(
    member_client: Client, params: dict[str, str], said: str
):
    for part in ("", "rows/"):
        text = member_client.get(f"/p/rocket/usage/{part}", params).content.decode()
        assert said in text
        assert "<b>" not in text


def test_days_are_those_of_the_viewer_also_when_clocks_change(project: Project):
    # Berlin: 25 October 2026 has 25 hours, 28 March 2027 has 23.
    for number, at in enumerate((
        datetime(2026, 10, 24, 21, 45, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 22, 45, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC),
    )):  # fmt: skip
        enter(entry(project, key=f"d{number}", at=at, price=Decimal(1), quantity=Decimal(number + 1)))

    def days(zone: str) -> dict[date, Decimal]:
        found = report.report(ask(project, zone, **{"from": "2026-10-23", "until": "2026-10-27"}))
        return {bar["day"]: bar["cost"] for bar in found["trend"] if bar["cost"]}

    assert days("Europe/Berlin") == {date(2026, 10, 24): 1, date(2026, 10, 25): 5, date(2026, 10, 26): 4}
    assert days("UTC") == {date(2026, 10, 24): 3, date(2026, 10, 25): 7}
    # Half-hour zones too: 24 October ends at 18:30 UTC in Kolkata.
    assert days("Asia/Kolkata") == {date(2026, 10, 25): 3, date(2026, 10, 26): 7}
    berlin = ask(project, "Europe/Berlin", **{"from": "2026-10-25", "until": "2026-10-25"})
    assert berlin.end - berlin.start == timedelta(hours=25)
    assert report.report(berlin)["total"].cost == sum(
        row.cost or 0 for row in Entry.objects.filter(berlin.entries())
    )  # fmt: skip


def test_the_viewer_s_zone_comes_with_the_browser(member_client: Client, filled: None):
    member_client.cookies["zone"] = "Asia%2FKolkata"
    assert "days in Asia/Kolkata" in page(member_client, "/p/rocket/usage/")
    assert "days in Europe/Berlin" in page(member_client, "/p/rocket/usage/?zone=Europe/Berlin")


def test_a_month_is_compared_with_the_same_days_of_the_one_before(project: Project):
    for key, at in (("a", datetime(2026, 10, 10, 23, tzinfo=UTC)), ("b", datetime(2026, 10, 11, tzinfo=UTC)),
                    ("c", datetime(2026, 9, 30, tzinfo=UTC)), ("d", NOW)):  # fmt: skip
        enter(entry(project, key=key, at=at, quantity=Decimal(1), price=Decimal(1)))
    for params, before in (({}, 1), ({"span": "last-month"}, 1), ({"span": "30"}, 3), ({"span": "all"}, None)):
        assert report.report(ask(project, **params))["before"] == before, params
    assert report.report(ask(project, span="all"))["total"].cost == 4
    assert report.report(ask(project, span="30"))["change"] == -67


def test_a_page_asks_few_questions_however_much_there_is(
    filled: None, member_client: Client, project: Project, template: Template, django_assert_max_num_queries: Any
):
    for number in range(5):
        make(project, template, provider="e2b", labels={"run_id": number})
        enter(*(entry(project, key=f"q{number}-{n}", model=f"m{number}{n}", run_id=number) for n in range(20)))
    for address in ("", "worth/", "rows/", "budgets/", "?split=person&span=all", "?model=gpt-5"):
        member_client.get(f"/p/rocket/usage/{address}")
        with django_assert_max_num_queries(20):
            member_client.get(f"/p/rocket/usage/{address}")


def test_what_has_no_price_stands_out_with_its_tokens(filled: None, member_client: Client, db: None):
    text = page(member_client, "/p/rocket/usage/?from=2026-11-01&until=2026-11-30")
    assert 'id="unpriced"' in text
    assert "=odd model" in text
    assert "An administrator can add a rate" in text
    assert "at least" in text
    root = signed_in(User.objects.create_superuser("root@example.com", "open sesame"))
    link = re.search(r'href="(/admin/usage/rate/add/\?[^"]+)"', page(root, "/usage/?from=2026-11-01&until=2026-11-30"))
    assert link
    assert "%3Dodd%20model" in link[1]


def test_what_was_deleted_is_still_named(filled: None, other: Project, project: Project):
    other.delete()
    User.objects.get(name="Mia").delete()
    lines = {line.label for line in report.report(ask(split="project"))["lines"]}
    assert lines == {"Rocket", "Comet (deleted)"}
    assert "Mia (deleted)" in {line.label for line in report.report(ask(split="person"))["lines"]}


def test_runs_iterations_and_pull_requests_have_their_price(
    filled: None, member_client: Client, project: Project, template: Template, monkeypatch: pytest.MonkeyPatch
):
    for iteration in (1, 2):
        enter(entry(project, key=f"i{iteration}", at=NOW, run_id=9, iteration=iteration, step="0", workflow="Loop",
                    quantity=Decimal(1), price=Decimal(iteration)))  # fmt: skip
    monkeypatch.setattr(registries, "verdicts", [lambda runs: {(9, 1): False, (9, 2): True}])
    monkeypatch.setattr(registries, "expectations", [lambda runs: {9: Decimal("2.75")}])
    sandbox = make(project, template, "killed", labels={"run_id": 9})
    PullRequest.objects.create(sandbox=sandbox, project=project, status="merged", status_at=NOW, remote_url="x",
                               branch="b")  # fmt: skip
    found = report.worth(ask(project))
    assert [(run["run_id"], run["usd"]) for run in found["runs"]] == [(9, 3), (2, Decimal("2.5")), (1, 1)]
    assert [run["expected"] for run in found["runs"]] == [Decimal("2.75"), None, None]
    assert found["per_run"] == (3, Decimal("6.5") / 3)
    assert found["per_merged"] == (1, 3)
    first, second = found["iterations"]
    assert (first.runs, first.cost, first.judged, first.approved, first.worth) == (3, Decimal("4.5"), 1, 0, None)
    assert (second.runs, second.approved, second.worth) == (1, 1, 2)
    assert found["per_approved"] == (1, Decimal("6.5"))
    text = member_client.get("/p/rocket/usage/worth/?from=2026-11-01&until=2026-11-30", headers={"HX-Request": "true"})
    assert 'href="/p/rocket/runs/9/"' in text.content.decode()
    assert "$2.75" in text.content.decode()
    assert "<html" not in text.content.decode()


def test_turns_that_nobody_counted_are_said(member_client: Client, project: Project, template: Template):
    tools = {tool: Template.objects.create(slug=tool, name=tool, tool=tool, image=tool) for tool in ("claude", "codex")}

    def turn(of: Template, at: datetime, **fields: Any) -> None:
        sandbox = make(project, of, "killed")
        job = Job.objects.create(sandbox=sandbox, kind="turn", status="exited")
        told = {"prompt": "x", "job": job, "status": "interrupted", "started_at": at, **fields}
        Turn.objects.create(sandbox=sandbox, **told)

    def said(query: str) -> str:
        return " ".join(page(member_client, f"/p/rocket/usage/worth/?{query}").split())

    turn(tools["claude"], NOW)
    turn(tools["claude"], NOW, usage={"claude-opus-5-5": {"input": 1}})
    turn(template, NOW)
    days = "from=2026-11-01&until=2026-11-30"
    assert "1 turn was never counted." in said(days)
    turn(tools["codex"], NOW)
    turn(tools["codex"], NOW - timedelta(days=40))
    assert "2 turns were never counted." in said(days)
    assert "never counted" not in said(f"{days}&model=gpt-5")
    assert "never counted" not in said("from=2026-11-11&until=2026-11-30")


def test_what_runs_now_is_shown_beside_what_is_recorded(member_client: Client, project: Project, template: Template):
    since = timezone.now() - timedelta(minutes=5)
    sandbox = make(project, template, provider="local", running_since=since)
    assert sandbox
    text = page(member_client, "/p/rocket/usage/")
    assert "more, running now: 1" in text
    assert "data-per-second" in text
    assert "more, running now" not in page(member_client, "/p/rocket/usage/?span=last-month")


def test_sums_that_disagree_are_shown_on_the_page(filled: None, member_client: Client):
    Check.objects.create(pk=1, at=timezone.now(), days=["2026-11-07", "runs"])
    assert "Found" in page(member_client, "/p/rocket/usage/")
    assert "on 2026-11-07, runs." in page(member_client, "/p/rocket/usage/")


def test_nothing_used_says_what_to_do_first(member_client: Client, project: Project):
    text = page(member_client, "/p/rocket/usage/")
    assert "Nothing was used" in text
    assert "Start a sandbox" in text
    assert "No rows" in page(member_client, "/p/rocket/usage/rows/")


# --- budgets ---


def test_an_admin_sets_raises_and_removes_budgets(owner: User, member_client: Client, project: Project):
    client = signed_in(owner)
    address = "/p/rocket/usage/budgets/"
    assert "No budgets" in page(client, address)
    assert client.post(address, {"scope": "project", "amount": "10"}, follow=True).status_code == 200
    made = Budget.objects.get()
    assert (made.project, made.amount, made.set_by) == (project, Decimal(10), owner)
    assert (
        "There is such a budget already" in client.post(address, {"scope": "project", "amount": "1"}).content.decode()
    )
    for wrong in ({"scope": "organisation", "amount": "1"}, {"scope": "run", "amount": "-1"}, {"scope": "run"}):
        assert client.post(address, wrong).status_code == 422
    spend(project, "10")
    holding.watch()
    assert "is used up" in page(client, "/p/rocket/")
    raised = client.post(f"{address}{made.pk}/", {"amount": "20"}, follow=True).content.decode()
    assert "The budget of project Rocket is $20.00." in raised
    assert budgets.refusal(project) == ""
    assert "is used up" not in page(client, "/p/rocket/")
    assert "stays as it was" in client.post(f"{address}{made.pk}/", {"amount": "x"}, follow=True).content.decode()
    assert "$10.00 of $20.00" in page(member_client, address)
    for post in (address, f"{address}{made.pk}/"):
        assert member_client.post(post, {"scope": "run", "amount": "5", "verb": "remove"}).status_code == 404
    client.post(f"{address}{made.pk}/", {"verb": "remove"})
    assert not Budget.objects.exists()


def test_administrators_set_budgets_for_everybody(project: Project, member: User, manager: User):
    root = signed_in(User.objects.create_superuser("root@example.com", "open sesame"))
    for fields in ({"scope": "organisation", "amount": "1"}, {"scope": "person", "person": member.pk, "amount": "2"},
                   {"scope": "run", "project": project.pk, "amount": "3"}):  # fmt: skip
        assert root.post("/usage/budgets/", fields).status_code == 302
    assert (
        "Choose the person that it is for."
        in root.post("/usage/budgets/", {"scope": "person", "amount": 1}).content.decode()
    )
    assert Budget.objects.count() == 3
    assert "Each run" in page(signed_in(manager), "/usage/budgets/")
    assert signed_in(manager).post("/usage/budgets/", {"scope": "organisation", "amount": "9"}).status_code == 404


def test_a_banner_says_how_the_budget_stands_until_it_is_raised(member_client: Client, project: Project, owner: User):
    budget(project, "10")
    spend(project, "8.50")
    holding.watch()
    assert "80 % of the budget of project Rocket are spent: $8.50 of $10.00" in page(member_client, "/p/rocket/")


def test_the_dashboard_shows_the_month(member_client: Client, project: Project):
    spend(project, "12.345")
    text = page(member_client, "/p/rocket/")
    assert "$12.35" in text or "$12.34" in text
    assert 'id="usage-card"' in text


def test_it_is_in_the_navigation(member_client: Client, project: Project):
    assert 'href="/p/rocket/usage/" data-go="u"' in page(member_client, "/p/rocket/")


def test_one_look_is_enough(project: Project, django_assert_num_queries: Callable[[int], Any]):
    with django_assert_num_queries(2):  # one to have memory for it
        report.summed(ask(project))
