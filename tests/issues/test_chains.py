"""Chains: one at a time, each from the result before it, stopped by a failure, resumed, skipped, cancelled."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from codecourier.lifecycle import sweep
from codecourier.models import Notification, Project, User
from issues import chain as chains
from issues import panels
from issues.models import Chain, Issue, Link
from sandboxes.turns import NotPossible
from tests.issues.workflows import end_run, result, script
from workflows.models import Run, Workflow

type Card = Callable[..., Issue]


@pytest.fixture
def workflow(shop: Project) -> Workflow:
    return script(shop)


@pytest.fixture
def go(follow: Callable[[], None]) -> Callable[[Chain], Chain]:
    """Has chains and cards brought forward."""

    def forward(chain: Chain) -> Chain:
        Chain.poke(chain.pk)
        follow()
        chain.refresh_from_db()
        return chain

    return forward


@pytest.fixture
def three(shop: Project, member: User, workflow: Workflow, card: Card, go: Callable[[Chain], Chain]) -> Chain:
    """A work chain of three cards whose first run is on its way."""
    issues = [card(title, suggested_prompt=f"Do {title}.") for title in ("one", "two", "three")]
    return go(chains.of_issues(shop, member, workflow, issues))


def statuses(chain: Chain) -> list[str]:
    return list(chain.links.values_list("status", flat=True))


def runs_of(chain: Chain) -> list[Run]:
    return list(Run.objects.filter(labels__chain=chain.pk).order_by("pk"))


def test_links_run_one_at_a_time_each_from_the_result_before(three: Chain, go: Callable[[Chain], Chain]):
    assert statuses(three) == ["running", "waiting", "waiting"]
    (first,) = runs_of(three)
    assert (first.prompt, first.continues, first.source) == ("Do one.", None, "chain")
    saved = result(first)
    end_run(first)
    go(three)
    assert statuses(three) == ["completed", "running", "waiting"]
    second = runs_of(three)[1]
    assert second.continues == saved
    assert second.work_branch == first.work_branch == three.work_branch
    end_run(second)  # it changed nothing
    go(three)
    third = runs_of(three)[2]
    assert third.continues == saved
    end_run(third)
    go(three)
    assert (three.status, statuses(three)) == ("done", ["completed"] * 3)
    assert Issue.objects.filter(status="running").count() == 0
    assert Notification.objects.filter(text__startswith="Chain done").count() == 1


def test_a_failing_link_stops_the_chain_and_it_goes_on_from_there(
    three: Chain, member: User, go: Callable[[Chain], Chain]
):
    saved = result(runs_of(three)[0])
    end_run(runs_of(three)[0])
    go(three)
    end_run(runs_of(three)[1], "failed", reason="not_approved", detail="The tests fail.")
    go(three)
    assert (three.status, statuses(three)) == ("stopped", ["completed", "failed", "waiting"])
    assert three.detail == "Link 2, two: The tests fail."
    assert "The tests fail." in Notification.objects.get(level="error", text__startswith="Chain").text
    chains.resume(three, three.links.get(position=1), member)
    go(three)
    third = runs_of(three)[2]
    assert (statuses(three), third.prompt, third.continues) == (["completed", "running", "waiting"], "Do two.", saved)
    for run in (third, None):
        end_run(run or runs_of(three)[-1])
        go(three)
    assert (three.status, len(runs_of(three))) == ("done", 4)
    assert Issue.objects.filter(status="completed").count() == 3


def test_a_failed_link_can_be_skipped(three: Chain, member: User, go: Callable[[Chain], Chain]):
    end_run(runs_of(three)[0], "failed")
    go(three)
    chains.skip(three, three.links.get(position=0), member)
    go(three)
    assert statuses(three) == ["skipped", "running", "waiting"]
    with pytest.raises(NotPossible, match="is running"):
        chains.skip(three, three.links.get(position=1), member)
    chains.skip(three, three.links.get(position=2), member)
    end_run(runs_of(three)[1])
    go(three)
    assert (three.status, statuses(three)) == ("done", ["skipped", "completed", "skipped"])


def test_a_chain_that_is_done_can_be_done_again_from_any_link(three: Chain, member: User, go: Callable[[Chain], Chain]):
    for _ in range(3):
        last = runs_of(three)[-1]
        result(last, f"{last.pk:040}")
        end_run(last)
        go(three)
    chains.resume(three, three.links.get(position=1), member)
    go(three)
    assert statuses(three) == ["completed", "running", "waiting"]
    again = runs_of(three)[-1]
    assert again.continues == runs_of(three)[0].checkpoint
    with pytest.raises(NotPossible, match="is running"):
        chains.resume(three, three.links.get(position=0), member)


def test_cancelling_ends_the_run_at_work(three: Chain, member: User, go: Callable[[Chain], Chain]):
    (run,) = runs_of(three)
    chains.cancel(three, member)
    run.refresh_from_db()
    assert run.cancel_asked
    three.refresh_from_db()
    assert three.stopping
    end_run(run, "cancelled")
    go(three)
    assert (three.status, statuses(three)) == ("cancelled", ["failed", "waiting", "waiting"])
    with pytest.raises(NotPossible, match="over already"):
        chains.cancel(three, member)
    chains.resume(three, three.links.get(position=0), member)
    go(three)
    assert statuses(three) == ["running", "waiting", "waiting"]


def test_a_project_is_not_deleted_over_a_chain(three: Chain, shop: Project):
    assert "1 chain is being cancelled" in panels.hold(shop)
    three.refresh_from_db()
    assert three.cancel_asked


def test_a_sprint_asks_the_same_with_the_number_of_the_pass(
    shop: Project, member: User, workflow: Workflow, go: Callable[[Chain], Chain]
):
    chain = go(chains.of_goal(shop, member, workflow, "Make it faster.", 2, one_request=False))
    first = runs_of(chain)[0]
    assert "Make it faster." in first.prompt
    assert "pass 1 of 2" in first.prompt
    end_run(first)
    go(chain)
    second = runs_of(chain)[1]
    assert "pass 2 of 2" in second.prompt
    assert second.work_branch != first.work_branch
    assert chain.title == "Make it faster."


def test_what_is_no_chain_is_refused(shop: Project, member: User, workflow: Workflow):
    with pytest.raises(ValidationError, match="1 to 100 links"):
        chains.of_issues(shop, member, workflow, [])
    with pytest.raises(ValidationError, match="work towards"):
        chains.of_goal(shop, member, workflow, " ", 2)
    with pytest.raises(ValidationError, match="1 to 100 links"):
        chains.of_goal(shop, member, workflow, "x", 101)


def test_a_link_whose_card_is_worked_on_elsewhere_stops_it(three: Chain, go: Callable[[Chain], Chain]):
    Issue.objects.get(title="two").move("running")
    end_run(runs_of(three)[0])
    go(three)
    assert three.status == "stopped"
    assert "“two” is running" in three.detail


def test_a_chain_whose_workflow_or_card_is_gone_stops(three: Chain, go: Callable[[Chain], Chain], member: User):
    Issue.objects.get(title="two").delete()
    end_run(runs_of(three)[0])
    go(three)
    assert "card of this link is gone" in three.detail
    Workflow.objects.all().delete()
    chains.skip(three, three.links.get(position=1), member)
    go(three)
    assert "workflow of this chain is gone" in three.detail


def test_a_link_whose_run_was_deleted_has_failed_by_the_sweep(three: Chain, follow: Callable[[], None]):
    Run.objects.all().delete()
    Chain.objects.update(due_at=timezone.now())
    assert sweep() == 1
    follow()
    three.refresh_from_db()
    assert (three.status, statuses(three)[0]) == ("stopped", "failed")


def test_a_second_delivery_starts_nothing(three: Chain, go: Callable[[Chain], Chain]):
    go(three)
    go(three)
    assert len(runs_of(three)) == 1


def test_a_link_that_is_skipped_this_moment_is_not_begun(three: Chain, go: Callable[[Chain], Chain]):
    stale = Link.objects.select_related("issue").get(chain=three, position=1)
    Link.objects.filter(pk=stale.pk).update(status="skipped")
    chains.begin(three, stale, None)
    assert (len(runs_of(three)), Link.objects.get(pk=stale.pk).status) == (1, "skipped")


def test_a_crash_between_the_run_and_its_link_finds_the_run_again(three: Chain, go: Callable[[Chain], Chain]):
    Link.objects.filter(chain=three, position=0).update(status="waiting", run=None)
    go(three)
    assert (len(runs_of(three)), statuses(three)[0]) == (1, "running")
