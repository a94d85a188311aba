"""Cards and their runs: started once, followed to the end, by reaction and by sweep."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_q.models import OrmQ

from codecourier.models import Project, User
from issues import answering, detail, work
from issues.models import Issue, Question
from sandboxes.turns import NotPossible
from tests.issues.workflows import end_run, script
from usage.models import Entry
from workflows import runs
from workflows.models import Run, Workflow

type Card = Callable[..., Issue]
type Follow = Callable[[], None]


@pytest.fixture
def workflow(shop: Project) -> Workflow:
    return script(shop)


@pytest.fixture
def started(card: Card, member: User, workflow: Workflow) -> Issue:
    """A card that is worked on."""
    issue = card("Fix it", suggested_prompt="echo fixed > a.txt")
    work.run(issue, member, workflow)
    return issue


def settled(issue: Issue, follow: Follow) -> Issue:
    """The card after everything that follows."""
    follow()
    issue.refresh_from_db()
    return issue


def test_a_run_of_a_card_knows_its_card_and_what_was_approved(
    card: Card, shop: Project, member: User, workflow: Workflow
):
    issue = card("Fix it", suggested_prompt="Do it.")
    question = Question.objects.create(project=shop, text="May it be negative?", status="open")
    question.issues.add(issue)
    answering.answer(question, member, "Never.")
    run = work.run(issue, member, workflow)
    assert (run.prompt, run.source, run.labels) == ("Do it.", "issue", {"issue": issue.pk})
    assert "May it be negative?\n  Never." in run.context
    assert (issue.status, issue.run) == ("running", run)
    assert issue.issue_runs.get().run == run


def test_what_a_person_made_of_the_prompt_counts(card: Card, member: User, workflow: Workflow):
    run = work.run(card(suggested_prompt="This."), member, workflow, prompt="That.", branch="next")
    assert (run.prompt, run.branch) == ("That.", "next")


def test_a_card_has_one_run_at_a_time(started: Issue, member: User, workflow: Workflow):
    with pytest.raises(NotPossible, match="is running"):
        work.run(started, member, workflow)
    assert Run.objects.count() == 1


def test_the_same_form_makes_one_run(card: Card, member: User, workflow: Workflow):
    issue = card()
    assert work.run(issue, member, workflow, request_key="k") == work.run(issue, member, workflow, request_key="k")


def test_a_workflow_of_another_project_is_refused(card: Card, member: User, stranger: User):
    other = script(Project.objects.create(name="Other", slug="other"))
    with pytest.raises(ValidationError, match="of this project"):
        work.run(card(), member, other)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("status", "becomes", "says"),
    [
        ("completed", "completed", "is completed"),
        ("failed", "failed", "not approved"),
        ("cancelled", "failed", "cancelled"),
    ],
)
def test_a_card_goes_where_its_run_went(started: Issue, follow: Follow, status: str, becomes: str, says: str):
    assert started.run
    end_run(started.run, status, detail="not approved" if status == "failed" else "")
    issue = settled(started, follow)
    assert issue.status == becomes
    assert says in issue.detail


def test_a_card_whose_run_is_gone_fails_by_the_sweep(started: Issue):
    cache.clear()
    Run.objects.all().delete()
    assert work.sweep() == 0  # a moment is left to the reactions
    cache.clear()
    Issue.objects.update(status_at=timezone.now() - timedelta(minutes=1))
    assert work.sweep() == 1
    started.refresh_from_db()
    assert (started.status, started.reason, started.detail) == ("failed", "lost", work.GONE)


def test_the_sweep_finds_what_no_reaction_told(started: Issue):
    cache.clear()
    assert started.run
    end_run(started.run)
    OrmQ.objects.all().delete()
    Issue.objects.update(status_at=timezone.now() - timedelta(minutes=1))
    assert work.sweep() == 1
    assert work.sweep() == 0  # once in a while is enough
    started.refresh_from_db()
    assert started.status == "completed"


def test_a_failed_card_is_tried_again_with_its_workflow(
    started: Issue, member: User, follow: Follow, workflow: Workflow
):
    assert started.run
    first = end_run(started.run, "failed")
    issue = settled(started, follow)
    second = work.retry(issue, member)
    assert (second.workflow, second.prompt) == (workflow, first.prompt)
    assert issue.issue_runs.count() == 2
    end_run(second)
    assert settled(issue, follow).status == "completed"


def test_a_run_that_is_repeated_on_its_own_page_is_followed(started: Issue, member: User, follow: Follow):
    assert started.run
    first = end_run(started.run, "failed")
    settled(started, follow)
    again = runs.again(first, member)
    again.move("running")
    work.follow_run(again)
    started.refresh_from_db()
    assert (started.status, started.run) == ("running", again)
    end_run(again)
    assert settled(started, follow).status == "completed"


def test_labels_of_another_project_move_nothing(started: Issue, stranger: User, follow: Follow):
    other = script(Project.objects.create(name="Other", slug="other"))
    run = runs.launch(other, None, prompt="x", labels={"issue": started.pk})
    end_run(run)
    assert settled(started, follow).status == "running"


def test_the_cost_is_that_of_all_runs(started: Issue):
    now = timezone.now()
    for number, run_id in enumerate([started.run_id, started.run_id, 10**9]):
        Entry.objects.create(
            key=str(number), fact="f", service="local", metric="input", activity="turn", quantity=2,
            price=Decimal("0.5"), cost=Decimal(1), run_id=run_id, at=now, day=now.date(),
        )  # fmt: skip
    assert detail.context(started)["cost"].usd == 2
