"""The pages, live: what their sockets send, and to whom."""

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone

from codecourier.models import Project, User
from issues import cards, sessions
from issues import chain as chains
from issues import work as verbs
from issues.models import Issue, IssueSession, Question
from tests.codecourier.test_live_pages import closed_with, opened, said
from tests.issues.workflows import end_run, script
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def issue(project: Project, member: User) -> Issue:
    return cards.create(project, member, title="Fix the total")


async def test_a_stranger_is_closed_out_of_every_page(issue: Issue, stranger_client: Client):
    for path in ("", f"{issue.pk}/", "sessions/", "questions/", "chains/"):
        async with opened(f"/ws/p/rocket/issues/{path}", stranger_client) as socket:
            assert await closed_with(socket) == 4404


async def test_a_card_that_is_not_of_the_project_is_not_there(issue: Issue, member_client: Client):
    other = await Project.objects.acreate(name="Other", slug="other")
    theirs = await Issue.objects.acreate(project=other, title="Theirs", status="new")
    async with opened(f"/ws/p/rocket/issues/{theirs.pk}/", member_client) as socket:
        assert await closed_with(socket) == 4404


async def test_the_board_moves_a_card_as_soon_as_somebody_does(issue: Issue, member: User, member_client: Client):
    async with opened("/ws/p/rocket/issues/?q=total", member_client) as socket:
        begun = await said(socket, 'id="cards"', 'id="cards-new"')
        assert "Fix the total" in begun
        await sync_to_async(cards.complete)(issue, member)
        moved = await said(socket, 'id="cards"')
        assert moved.index("Fix the total") > moved.index('id="cards-completed"')


async def test_a_card_s_page_shows_its_run_and_its_end(
    project: Project, issue: Issue, member: User, member_client: Client
):
    flow = await sync_to_async(script)(project)
    async with opened(f"/ws/p/rocket/issues/{issue.pk}/", member_client) as socket:
        await said(socket, 'id="heading"', "New")
        run = await sync_to_async(start)(issue, member, flow)
        await said(socket, 'id="runs"', f"/runs/{run.pk}/")
        await sync_to_async(finish)(run)
        await said(socket, 'id="heading"', "Completed")


def start(issue: Issue, member: User, flow: object) -> Run:
    return verbs.run(issue, member, flow)  # type: ignore[arg-type]


def finish(run: Run) -> None:
    verbs.follow_run(end_run(run))


async def test_a_session_s_page_shows_its_end(project: Project, member_client: Client):
    session = await IssueSession.objects.acreate(project=project, status="running", prompt="Look.")
    async with opened(f"/ws/p/rocket/issues/sessions/{session.pk}/", member_client) as socket:
        await said(socket, 'id="heading"', "Running")
        await sync_to_async(sessions.fail)(session, "contract", "It has the wrong form.")
        await said(socket, 'id="notice"', "It has the wrong form.")


async def test_a_chain_s_page_and_the_questions_move_too(
    project: Project, issue: Issue, member: User, member_client: Client
):
    flow = await sync_to_async(script)(project)
    chain = await sync_to_async(chains.of_issues)(project, member, flow, [issue])
    async with opened(f"/ws/p/rocket/issues/chains/{chain.pk}/", member_client) as socket:
        await said(socket, 'id="links"', "Waiting")
        await sync_to_async(chains.advance)(chain)
        await said(socket, 'id="links"', 'data-state="running"')
    question = await Question.objects.acreate(project=project, text="Why?", status="open")
    async with opened("/ws/p/rocket/issues/questions/", member_client) as socket:
        await said(socket, "Why?")
        await sync_to_async(question.move)("rejected", decided_by=member, status_at=timezone.now())
        await said(socket, "Nothing here")
