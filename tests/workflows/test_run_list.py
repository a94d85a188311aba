"""The list of runs over HTTP."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from codecourier.models import Project, User
from sandboxes.models import PullRequest, Template
from tests.sandboxes.pages import make
from tests.workflows.pages import run, with_machine, workflow
from workflows.models import Run

LIST = "/p/rocket/runs/"


def shown(client: Client, query: str = "") -> list[str]:
    """The titles on the page, in order."""
    return [str(row) for row in client.get(f"{LIST}?{query}").context["rows"]]


def test_a_stranger_finds_nothing(stranger_client: Client, project: Project):
    made = run(workflow(project))
    for path in (LIST, f"{LIST}{made.pk}/"):
        assert stranger_client.get(path).status_code == 404
    assert stranger_client.post(f"{LIST}bulk/", {"run": made.pk}).status_code == 404


def test_an_empty_list_says_what_it_is_and_offers_the_first_step(member_client: Client, project: Project):
    page = member_client.get(LIST).content.decode()
    assert "No runs yet" in page
    assert 'href="/p/rocket/workflows/"' in page


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("status=active", ["In line", "At work"]),
        ("status=failed", ["Broken"]),
        ("source=issue", ["Broken"]),
        ("q=WORK", ["At work"]),
        ("q=courier/7", ["Broken"]),
        ("q=%25", []),
        ("status=nonsense&page=99&workflow=x&who=y&source=z", ["Broken", "In line", "At work"]),
    ],
)
def test_filters_stand_in_the_url(query: str, titles: list[str], member_client: Client, project: Project):
    loop = workflow(project)
    run(loop, "running", title="At work")
    run(loop, "pending", title="In line")
    run(loop, "failed", title="Broken", source="issue", work_branch="courier/7")
    assert shown(member_client, query) == titles


def test_workflow_person_and_number_narrow_it(member_client: Client, member: User, project: Project):
    first, second = workflow(project, "One"), workflow(project, "Two")
    mine = run(first, title="Mine", created_by=member)
    run(second, title="Other")
    assert shown(member_client, f"workflow={second.pk}") == ["Other"]
    assert shown(member_client, f"who={member.pk}") == ["Mine"]
    assert shown(member_client, f"q=%23{mine.pk}") == ["Mine"]
    assert shown(member_client, "q=99999999999999999999999999") == []


def test_counts_are_those_of_what_it_is_narrowed_to(member_client: Client, project: Project):
    loop = workflow(project)
    for status in ("running", "failed", "failed", "completed"):
        run(loop, status)
    run(loop, "failed", source="issue")
    views = member_client.get(f"{LIST}?source=manual&status=failed").context["views"]
    counts = {view["name"]: view["count"] for view in views}
    assert counts == {"all": 4, "active": 1, "pending": 0, "running": 1, "completed": 1, "failed": 2, "cancelled": 0}
    assert [view["query"] for view in views if view["chosen"]] == ["source=manual&status=failed"]


def test_a_row_shows_where_its_work_went(member_client: Client, project: Project, template: Template):
    made = run(workflow(project), work_branch="courier/run-1", score=87)
    PullRequest.objects.create(
        sandbox=make(project, template), project=project, remote_url="https://github.com/a/b", branch="courier/run-1",
        status="open", number=12, url="https://github.com/a/b/pull/12", wanted_commit="c",
    )  # fmt: skip
    page = member_client.get(LIST).content.decode()
    assert 'href="https://github.com/a/b/pull/12"' in page
    assert f'id="run-{made.pk}"' in page
    assert ">87<" in page


def test_queries_do_not_grow_with_the_rows(member_client: Client, member: User, project: Project, template: Template):
    loop = workflow(project)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            member_client.get(LIST)
        return len(captured)

    with_machine(run(loop, created_by=member), template)
    few = queries()
    for _ in range(12):
        with_machine(run(loop, created_by=member), template)
    assert queries() == few <= 20


def chosen(client: Client, *rows: Run) -> Any:
    return client.post(f"{LIST}bulk/", {"run": [row.pk for row in rows], "query": "status=active"}, follow=True)


def test_many_are_cancelled_at_once(member_client: Client, member: User, project: Project):
    loop = workflow(project)
    first, second, over = run(loop, "running"), run(loop, "pending"), run(loop)
    answer = chosen(member_client, first, second, over)
    assert "2 of 3 runs asked to stop." in answer.content.decode()
    assert answer.redirect_chain[0][0].endswith("?status=active")
    asked = Run.objects.filter(cancel_asked=True, cancelled_by=member)
    assert set(asked) == {first, second}
    assert "Choose one or more runs first" in chosen(member_client).content.decode()


def test_a_title_is_never_markup(member_client: Client, project: Project):
    run(workflow(project), title="<script>alert(1)</script>")
    assert "<script>alert" not in member_client.get(LIST).content.decode()
