"""What a run cost, on its own page and wherever else it is shown."""

import pytest
from django.test import Client

from codecourier.models import Project
from codecourier.templatetags.portal import usd
from sandboxes.models import PullRequest, Template
from tests.workflows import rows
from tests.workflows.test_run_page import page, part, plain
from usage import ledger, stock
from workflows import costs


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


def test_the_costs_of_the_steps_are_the_cost_of_the_run(member_client: Client, project: Project, claude: Template):
    stock.rates()
    run = rows.make_run(project, status="completed")
    first = rows.step(run, claude)
    rows.step(run, claude, 1, began=10, answer=rows.verdict(False))
    rows.step(run, claude, 0, began=6, iteration=2, sandbox=first.sandbox)
    # 1,200 x 3 + 800 x 15 + 9,000 x 0.30 + 400 x 3.75 USD for a million, for each turn.
    cost = plain(part(page(member_client, run), "facts"))
    cost = cost[cost.index("Cost") :]
    assert "22,800" in cost
    assert "11,400" in cost
    assert "0.0594" in cost.split("Step")[0]
    assert "0.0396" in cost
    assert "0.0198" in cost


def test_a_deleted_sandbox_takes_no_money_with_it(member_client: Client, project: Project, claude: Template):
    stock.rates()
    run = rows.make_run(project, status="completed", work_branch="codecourier/mended")
    first, second = rows.step(run, claude), rows.step(run, claude, 1, began=10, answer=rows.verdict(False))
    assert first.sandbox
    assert second.sandbox
    PullRequest.objects.create(
        project=project, sandbox=second.sandbox, branch=run.work_branch, title="Mended", status="open", number=7
    )
    was = usd(costs.of_run(run).total.usd)
    places = [f"runs/{run.pk}/", "runs/", "", "pull-requests/"]
    assert all(was in member_client.get(f"/p/rocket/{place}").content.decode() for place in places)
    ledger.meter(first.sandbox.pk)
    first.sandbox.delete()
    assert all(was in member_client.get(f"/p/rocket/{place}").content.decode() for place in places)
    spent = plain(part(page(member_client, run), "facts"))
    assert "Deleted sandboxes 11,400 $0.0198" in spent
