"""A project's runs on its dashboard, and the way back to a run from its sandboxes and pull requests."""

import html
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from codecourier.models import Project
from sandboxes.models import PullRequest, Template
from tests.sandboxes.pages import make
from tests.workflows import rows
from workflows.models import Run


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


def dashboard(client: Client) -> str:
    text = html.unescape(client.get("/p/rocket/").content.decode())
    return text[text.index('id="runs-card"') :]


def test_what_is_at_work_what_needs_somebody_and_what_was_last(
    member_client: Client, project: Project, claude: Template
):
    assert "No runs yet" in dashboard(member_client)
    works = rows.make_run(project, title="At work")
    rows.step(works, claude, 1, iteration=2, took=None)
    rows.make_run(project, status="pending", held="2nd.")
    rows.make_run(project, title="Stuck", held="Designer was interrupted.")
    old = timezone.now() - timedelta(days=8)
    rows.make_run(project, status="failed", title="Long ago", ended_at=old)
    unmet = rows.make_run(project, status="failed", reason="not_approved", title="Unmet")
    rows.make_run(project, status="completed", title="Repeated", retry_of=rows.make_run(project, status="failed"))
    text = dashboard(member_client)
    assert "Checker, iteration 2" in text
    assert "2nd." in text
    needs = text[: text.index("Runs at work")]
    assert "Stuck" in needs
    assert "Waits for you" in needs
    assert "Not approved" in needs
    assert f"/runs/{unmet.pk}/" in needs
    assert needs.count('id="needs-') == 2
    assert "25 % completed" in text


def test_its_queries_do_not_grow_with_the_runs(member_client: Client, project: Project, claude: Template):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            dashboard(member_client)
        return len(found)

    def more() -> None:
        rows.step(rows.make_run(project), claude, took=None)
        rows.step(rows.make_run(project, status="completed"), claude)
        rows.make_run(project, status="failed")

    more()
    dashboard(member_client)
    few = queries()
    for _ in range(4):
        more()
    assert queries() == few


def test_sandboxes_and_pull_requests_lead_to_their_run(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, status="completed")
    row = rows.step(run, claude)
    assert row.sandbox
    later = make(project, claude, labels={"follows_run": run.pk})
    PullRequest.objects.create(
        sandbox=row.sandbox, project=project, branch="b", status="pushed", remote_url="x", wanted_commit="a" * 40
    )
    link = f'href="/p/rocket/runs/{run.pk}/">'
    for path, words in (
        (f"sandboxes/{row.sandbox_id}/", str(run)), (f"sandboxes/{later.pk}/", f"Run {run.pk}"),
        ("pull-requests/", str(run)),
    ):  # fmt: skip
        text = member_client.get(f"/p/rocket/{path}").content.decode()
        assert f"{link}{words}" in text
        assert "Run_id" not in text
    assert f"Run: {run}" in member_client.get("/p/rocket/sandboxes/?kind=step").content.decode()
    assert Run.objects.count() == 1


def test_a_search_finds_runs_too(member_client: Client, project: Project):
    run = rows.make_run(project, title="Cheaper & better")
    text = member_client.get("/p/rocket/sandboxes/?kind=all&q=cheaper").content.decode()
    assert '<a href="/p/rocket/runs/?q=cheaper">1 run with this</a>' in text
    assert str(run.pk) in member_client.get("/p/rocket/runs/?q=cheaper").content.decode()
    assert "with this" not in member_client.get("/p/rocket/sandboxes/?kind=all&q=nothing").content.decode()
