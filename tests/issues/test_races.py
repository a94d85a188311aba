"""Two at the same moment: one run for a card, one set of cards for an answer, one run for a link."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from codecourier.models import Project, User
from issues import cards, scan, sessions, tasks, work
from issues import chain as chains
from issues.models import Issue
from sandboxes.models import Template
from sandboxes.turns import NotPossible
from tests.issues.conftest import end_turn, finding, findings
from tests.issues.workflows import script
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


def both(act: Callable[[], object]) -> list[object]:
    """Do it twice at the same moment; what came of each, a refusal as its sentence."""
    gate = Barrier(2)

    def one() -> object:
        try:
            gate.wait(10)
            return act()
        except NotPossible as refused:
            return str(refused)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        return [done.result(30) for done in [pool.submit(one) for _ in range(2)]]


@pytest.fixture
def member(project: Project) -> User:
    return User.objects.create_user("mia@example.com", "open sesame")


def test_two_people_start_one_run_of_a_card(project: Project, member: User):
    flow, issue = script(project), cards.create(project, member, title="Fix it")
    said = both(lambda: work.run(Issue.objects.get(pk=issue.pk), member, flow))
    assert Run.objects.count() == 1
    assert sorted(isinstance(one, str) for one in said) == [False, True]


def test_an_answer_that_two_workers_take_becomes_its_cards_once(project: Project, member: User):
    Template.objects.create(slug="claude", name="Claude", tool="claude", image="claude", memory_mb=2048)
    project.repository_url = "https://git.example.com/acme/shop.git"
    project.save()
    session = scan.launch(project, member)
    assert session.turn
    end_turn(session.turn, findings(finding()))
    both(lambda: sessions.settle(type(session).objects.get(pk=session.pk), scan.take))
    session.refresh_from_db()
    assert (Issue.objects.count(), session.status, session.added) == (1, "done", 1)


def test_a_link_that_two_workers_begin_has_one_run(project: Project, member: User):
    chain = chains.of_goal(project, member, script(project), "Faster.", 2)
    both(lambda: tasks.advance_chain.call(chain.pk))
    assert Run.objects.count() == 1
    assert list(chain.links.values_list("status", flat=True)) == ["running", "waiting"]
