"""The list of sandboxes over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes.models import Sandbox, Template
from tests.sandboxes.pages import make, make_many
from usage.models import Rate

LIST = "/p/rocket/sandboxes/"


def shown(client: Client, query: str = "") -> list[str]:
    """The titles on the page, in order."""
    return [str(row) for row in client.get(f"{LIST}?{query}").context["rows"]]


def test_an_empty_list_says_what_it_is_and_offers_the_first_step(member_client: Client):
    page = member_client.get(LIST).content.decode()
    assert "No sandboxes yet" in page
    assert 'href="/p/rocket/sandboxes/new/"' in page


def test_standalone_ones_are_shown_with_counts_of_the_other_kinds(
    member_client: Client, project: Project, template: Template
):
    make(project, template, title="Mine to watch")
    make(project, template, title="A step", kind="step")
    make(project, template, title="Another step", kind="step")
    answer = member_client.get(LIST)
    assert [str(row) for row in answer.context["rows"]] == ["Mine to watch"]
    counts = {kind["key"]: kind["count"] for kind in answer.context["kinds"]}
    assert counts == {"standalone": 1, "step": 2, "all": 3}
    assert shown(member_client, "kind=step") == ["Another step", "A step"]
    assert len(shown(member_client, "kind=all")) == 3


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("status=running", ["Run the tests"]),
        ("status=alive", ["Run the tests"]),
        ("status=over", ["Broken", "Done"]),
        ("status=error", ["Broken"]),
        ("q=TESTS", ["Run the tests"]),
        ("q=i0abc", ["Done"]),
        ("mine=true", ["Broken"]),
        ("trash=true", ["Thrown away"]),
        ("q=%25", []),
        ("status=nonsense&page=99&kind=&mine=perhaps", ["Broken", "Run the tests", "Done"]),
    ],
)
def test_filters_stand_in_the_url(
    query: str, titles: list[str], member_client: Client, member: User, project: Project, template: Template
):
    make(project, template, "killed", title="Done", provider_id="i0abc")
    make(project, template, title="Run the tests")
    broken = make(project, template, "error", title="Broken", created_by=member)
    make(project, template, "killed", title="Thrown away", deleted_at=broken.created_at)
    assert shown(member_client, query) == titles


def test_a_number_finds_its_sandbox(member_client: Client, project: Project, template: Template):
    made = make(project, template, title="Seventh")
    make(project, template, title="Eighth")
    assert shown(member_client, f"q=%23{made.pk}") == ["Seventh"]
    assert shown(member_client, "q=99999999999999999999999999") == []


def test_fifty_rows_a_page(member_client: Client, project: Project, template: Template):
    make_many(project, template, 60)
    answer = member_client.get(LIST)
    assert len(answer.context["rows"]) == 50
    assert "page=2" in answer.content.decode()
    assert len(shown(member_client, "page=2&status=over")) == 10


def test_queries_do_not_grow_with_the_rows(member_client: Client, member: User, project: Project, template: Template):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            member_client.get(LIST)
        return len(captured)

    make(project, template, created_by=member)
    few = queries()
    make_many(project, template, 1_000, created_by=member)
    assert queries() == few <= 20


def chosen(client: Client, verb: str, *rows: Sandbox) -> Any:
    return client.post(
        f"{LIST}bulk/", {"verb": verb, "sandbox": [row.pk for row in rows], "query": "kind=all"}, follow=True
    )


def test_many_are_stopped_and_thrown_away_and_restored_at_once(
    member_client: Client, member: User, project: Project, template: Template
):
    first, second, over = make(project, template), make(project, template), make(project, template, "killed")
    answer = chosen(member_client, "stop", first, second, over)
    assert "2 of 3 sandboxes asked to stop." in answer.content.decode()
    assert answer.redirect_chain[0][0].endswith("?kind=all")
    first.refresh_from_db()
    assert (first.wanted, first.wanted_by) == ("kill", member)
    chosen(member_client, "trash", first, over)
    assert Sandbox.objects.filter(deleted_at=None).get() == second
    chosen(member_client, "restore", first, over)
    assert Sandbox.objects.filter(deleted_at=None).count() == 3


def test_nothing_chosen_is_told(member_client: Client, project: Project):
    assert "Choose one or more sandboxes first" in chosen(member_client, "stop").content.decode()
    assert "Choose one or more sandboxes first" in chosen(member_client, "explode").content.decode()


def test_a_title_is_never_markup(member_client: Client, project: Project, template: Template):
    make(project, template, title="<script>alert(1)</script>")
    assert "<script>alert" not in member_client.get(LIST).content.decode()


def test_a_row_shows_what_the_sandbox_cost(member_client: Client, project: Project, template: Template):
    Rate.objects.create(service="e2b", metric="vcpu_seconds", price=1, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    Rate.objects.create(service="e2b", metric="gib_seconds", price=0, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    now = timezone.now()
    sandbox = make(project, template, "killed", provider="e2b", real_cpu=2, real_memory_mb=1024)
    sandbox.record("creating", "running", now - timedelta(seconds=30))
    sandbox.record("running", "killed", now)
    assert "$60.00" in member_client.get("/p/rocket/sandboxes/").content.decode()
