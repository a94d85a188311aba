"""The pages, over HTTP: who may see them, what they show, what their forms do."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from codecourier.models import Project, User
from issues import answering
from issues import chain as chains
from issues.models import Chain, Issue, IssueSession, IssueSettings, Question
from sandboxes.models import Kind, SessionConfig
from tests.conftest import signed_in
from tests.issues.conftest import finding, findings
from tests.issues.workflows import script
from workflows.models import Run, Workflow

type Card = Callable[..., Issue]
type Give = Callable[[IssueSession, dict[str, Any]], IssueSession]
HOSTILE, IMAGE = "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"


@pytest.fixture
def workflow(shop: Project) -> Workflow:
    return script(shop)


@pytest.fixture
def everything(
    shop: Project, member: User, session: IssueSession, answers: Give, card: Card, workflow: Workflow
) -> list[str]:
    """One of each, and the addresses of their pages."""
    answers(
        session,
        findings(
            finding(title=HOSTILE, description=f"{HOSTILE} {IMAGE}", labels=["<b>"], files=["<i>/a.py"]),
            finding(title=HOSTILE, description=f"{HOSTILE} {IMAGE}", files=["<i>/a.py"]),
            questions=[{"text": HOSTILE, "why": HOSTILE}],
            assumptions=[{"text": HOSTILE, "confidence": 0.5}],
            summary=HOSTILE,
        ),
    )  # fmt: skip
    chain = chains.of_issues(shop, member, workflow, [Issue.objects.cards().get()])
    first, twin = Issue.objects.order_by("pk")
    answering.launch(shop, member, Question.objects.open())
    return [
        "issues/", "issues/?view=list", "issues/?view=list&status=all&q=alert", "issues/new/", f"issues/{first.pk}/",
        f"issues/{twin.pk}/", f"issues/{first.pk}/edit/", "issues/sessions/", "issues/sessions/new/",
        f"issues/sessions/new/?like={session.pk}", f"issues/sessions/{session.pk}/", "issues/questions/?view=all",
        "issues/chains/", "issues/chains/new/", f"issues/chains/new/?issue={first.pk}", f"issues/chains/{chain.pk}/",
        "settings/issues/", "settings/issues/?kind=answers", "",
    ]  # fmt: skip


def test_every_page_opens_escapes_what_agents_wrote_and_is_nothing_to_a_stranger(
    owner: User, stranger_client: Client, everything: list[str], shop: Project
):
    client = signed_in(owner)
    for path in everything:
        answer = client.get(f"/p/{shop.slug}/{path}")
        assert answer.status_code == 200, path
        text = answer.content.decode()
        assert HOSTILE not in text, path
        assert "<img src=x" not in text, path
        assert stranger_client.get(f"/p/{shop.slug}/{path}").status_code == 404, path


def test_a_session_s_sandbox_leads_to_it(member_client: Client, shop: Project, session: IssueSession):
    assert session.sandbox
    page = member_client.get(f"/p/{shop.slug}/sandboxes/{session.sandbox.pk}/").content.decode()
    assert f"/p/{shop.slug}/issues/sessions/{session.pk}/" in page


def test_the_search_of_the_frame_finds_cards(member_client: Client, shop: Project, card: Card):
    card("A basket")
    page = member_client.get(f"/p/{shop.slug}/sandboxes/?kind=all&q=basket").content.decode()
    assert "1 issue with this" in page
    assert "issues/?view=list&amp;status=all&amp;q=basket" in page


def test_few_queries_however_many_cards(member_client: Client, card: Card, shop: Project):
    seen = []
    for _ in range(2):
        for number in range(6):
            card(f"Card {number}", files=[f"{number}.py"])
        for path in ("issues/", "issues/?view=list"):
            with CaptureQueriesContext(
                connection,
            ) as found:
                member_client.get(f"/p/{shop.slug}/{path}")
            seen.append(len(found))
    assert seen[:2] == seen[2:]
    assert max(seen) <= 20


def test_the_board_has_four_columns_and_the_list_is_by_priority(member_client: Client, card: Card, shop: Project):
    card("Low one", priority=3)
    card("Urgent one", priority=0)
    Issue.objects.filter(title="Low one").update(status="failed")
    board = member_client.get(f"/p/{shop.slug}/issues/")
    assert [column["label"] for column in board.context["columns"]] == ["New", "Running", "Completed", "Failed"]
    assert [column["count"] for column in board.context["columns"]] == [1, 0, 0, 1]
    table = member_client.get(f"/p/{shop.slug}/issues/?view=list")
    assert [issue.title for issue in table.context["rows"]] == ["Urgent one", "Low one"]


@pytest.mark.parametrize(
    ("query", "titles"),
    [("q=basket", ["A basket"]), ("priority=low", ["Names"]), ("mine=true", ["A basket", "Names"]),
     ("label=ui", ["Names"]),
     ("status=nonsense", ["A basket", "Names"]), ("session=99999", []), ("session=x", ["A basket", "Names"])],
)  # fmt: skip
def test_the_list_is_narrowed_by_its_address(
    member_client: Client, card: Card, shop: Project, query: str, titles: list[str]
):
    card("A basket", priority=1)
    card("Names", priority=3, labels=["ui"])
    found = member_client.get(f"/p/{shop.slug}/issues/?view=list&{query}")
    assert [issue.title for issue in found.context["rows"]] == titles


def test_a_card_is_written_and_changed_by_hand(member_client: Client, shop: Project, member: User):
    said = {
        "title": " Fix  it ",
        "priority": "1",
        "description": "Text",
        "files": "a.py\nb.py\n",
        "labels": "ui, ui,api",
    }
    answer = member_client.post(f"/p/{shop.slug}/issues/new/", said)
    issue = Issue.objects.get()
    assert answer.headers["Location"] == f"/p/{shop.slug}/issues/{issue.pk}/"
    assert (issue.title, issue.priority, issue.files, issue.labels) == ("Fix it", 1, ["a.py", "b.py"], ["ui", "api"])
    assert issue.created_by == member
    member_client.post(f"/p/{shop.slug}/issues/{issue.pk}/edit/", {**said, "suggested_prompt": "Do it."})
    issue.refresh_from_db()
    assert issue.suggested_prompt == "Do it."


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"title": ""}, "required"), ({"title": "x" * 201}, "200"), ({"priority": "9"}, "valid choice"),
     ({"files": "\n".join(map(str, range(51)))}, "At most 50 files"), ({"labels": "x" * 41}, "longer than 40")],
)  # fmt: skip
def test_a_wrong_card_comes_back_with_what_was_typed(
    member_client: Client, shop: Project, wrong: dict[str, str], says: str
):
    said = {"title": "Fix it", "priority": "1", "description": "Keep this."} | wrong
    answer = member_client.post(f"/p/{shop.slug}/issues/new/", said)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert "Keep this." in answer.content.decode()
    assert not Issue.objects.exists()


def test_a_card_is_run_once_however_often_the_form_is_sent(
    member_client: Client, card: Card, shop: Project, workflow: Workflow
):
    issue = card(suggested_prompt="echo 1")
    page = member_client.get(f"/p/{shop.slug}/issues/{issue.pk}/")
    said = {"prompt": "echo 2", "workflow": workflow.pk, "request_key": page.context["form"].initial["request_key"]}
    first, second = (member_client.post(f"/p/{shop.slug}/issues/{issue.pk}/run/", said) for _ in range(2))
    run = Run.objects.get()
    assert first.headers["Location"] == second.headers["Location"] == f"/p/{shop.slug}/runs/{run.pk}/"
    assert run.prompt == "echo 2"
    again = member_client.post(f"/p/{shop.slug}/issues/{issue.pk}/run/", said | {"request_key": "other"})
    assert again.status_code == 422
    assert "is running" in again.content.decode()


def test_a_drop_moves_a_card_and_answers_with_the_board(member_client: Client, card: Card, shop: Project):
    first, second, third = (card(title) for title in ("1", "2", "3"))
    address = f"/p/{shop.slug}/issues/{third.pk}/place/"
    answer = member_client.post(address, {"to": "new", "before": first.pk, "after": second.pk}, HTTP_HX_REQUEST="true")
    assert answer.status_code == 200
    assert 'id="cards"' in answer.content.decode()
    assert list(Issue.objects.order_by("rank").values_list("title", flat=True)) == ["1", "3", "2"]
    member_client.post(address, {"step": "up"})
    assert list(Issue.objects.order_by("rank").values_list("title", flat=True)) == ["3", "1", "2"]
    member_client.post(address, {"step": "up"})
    member_client.post(address, {"step": "down"})
    assert list(Issue.objects.order_by("rank").values_list("title", flat=True)) == ["1", "3", "2"]
    member_client.post(address, {"to": "completed"}, HTTP_HX_REQUEST="true")
    third.refresh_from_db()
    assert third.status == "completed"


def test_in_the_list_a_step_is_one_among_the_same_priority(member_client: Client, card: Card, shop: Project):
    first, second, other = card("1", priority=1), card("2", priority=1), card("3", priority=2)
    Issue.objects.filter(pk=first.pk).update(status="failed")
    said = {"step": "up", "query": "view=list&status=open"}
    answer = member_client.post(f"/p/{shop.slug}/issues/{second.pk}/place/", said)
    assert answer.headers["Location"].endswith("?view=list&status=open")
    assert list(Issue.objects.order_by("rank").values_list("title", flat=True)) == ["2", "1", "3"]
    member_client.post(f"/p/{shop.slug}/issues/{other.pk}/place/", said)
    assert list(Issue.objects.order_by("rank").values_list("title", flat=True)) == ["2", "1", "3"]


def test_a_drop_that_can_not_be_says_why(member_client: Client, card: Card, shop: Project):
    issue = card()
    address = f"/p/{shop.slug}/issues/{issue.pk}/place/"
    refused = member_client.post(address, {"to": "failed"}, HTTP_HX_REQUEST="true")
    assert refused.status_code == 422
    assert "Only a run can fail a card." in refused.content.decode()
    asked = member_client.post(address, {"to": "running"}, HTTP_HX_REQUEST="true")
    assert asked.headers["HX-Redirect"] == f"/p/{shop.slug}/issues/{issue.pk}/#run"
    member_client.post(address, {"to": "critical", "before": "x", "after": "9" * 30}, HTTP_HX_REQUEST="true")
    issue.refresh_from_db()
    assert (issue.status, issue.priority) == ("new", 0)


def test_many_cards_at_once(member_client: Client, card: Card, shop: Project, workflow: Workflow):
    issues = [card(title) for title in ("1", "2")]
    chosen = [issue.pk for issue in issues]
    address = f"/p/{shop.slug}/issues/bulk/"
    member_client.post(address, {"issue": chosen, "verb": "priority", "priority": "low"})
    assert set(Issue.objects.values_list("priority", flat=True)) == {3}
    said = member_client.post(address, {"issue": chosen, "verb": "run", "workflow": workflow.pk}, follow=True)
    assert Run.objects.count() == 2
    assert "2 of 2 cards started with Script." in said.content.decode()
    said = member_client.post(address, {"issue": chosen, "verb": "close", "query": "view=list"}, follow=True)
    assert said.redirect_chain[0][0] == f"/p/{shop.slug}/issues/?view=list"
    assert "0 of 2 cards closed." in said.content.decode()
    assert "Cancel its run first" in said.content.decode()
    chain = member_client.post(address, {"issue": chosen, "verb": "chain"})
    assert chain.headers["Location"].endswith(f"chains/new/?issue={chosen[0]}&issue={chosen[1]}")
    for wrong in ({"verb": "run", "workflow": "x"}, {"verb": "nonsense"}):
        said = member_client.post(address, {"issue": chosen, **wrong}, follow=True)
        assert "Choose what to do" in said.content.decode()
    said = member_client.post(address, {"verb": "close"}, follow=True)
    assert "Choose one or more cards first" in said.content.decode()


def test_cards_of_another_project_are_out_of_reach(
    member_client: Client, shop: Project, card: Card, workflow: Workflow
):
    other = Project.objects.create(name="Other", slug="other")
    theirs = Issue.objects.create(project=other, title="Theirs", status="new")
    mine = card("Mine")
    assert member_client.post(f"/p/{shop.slug}/issues/{theirs.pk}/close/").status_code == 404
    member_client.post(f"/p/{shop.slug}/issues/bulk/", {"issue": [theirs.pk], "verb": "close"})
    member_client.post(f"/p/{shop.slug}/issues/{mine.pk}/place/", {"before": theirs.pk})
    answer = member_client.post(f"/p/{shop.slug}/issues/chains/new/", {"issue": [theirs.pk], "workflow": workflow.pk})
    assert answer.status_code in {200, 422}
    assert not Chain.objects.exists()
    theirs.refresh_from_db()
    assert theirs.status == "new"


def test_a_session_is_started_from_its_form(member_client: Client, shop: Project, member: User):
    page = member_client.get(f"/p/{shop.slug}/issues/sessions/new/")
    said = {**page.context["form"].initial, "prompt": "Look for races.", "scope": "src\n", "most": "3"}
    first, second = (member_client.post(f"/p/{shop.slug}/issues/sessions/new/", said) for _ in range(2))
    session = IssueSession.objects.get()
    assert first.headers["Location"] == second.headers["Location"] == f"/p/{shop.slug}/issues/sessions/{session.pk}/"
    assert (session.prompt, session.scope, session.most, session.created_by) == ("Look for races.", ["src"], 3, member)
    member_client.post(f"/p/{shop.slug}/issues/sessions/{session.pk}/stop/")
    assert session.sandbox
    session.sandbox.refresh_from_db()
    assert session.sandbox.wanted == "kill"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"most": "0"}, "greater than or equal to 1"), ({"most": "101"}, "less than or equal to 100"),
     ({"prompt": ""}, "required"), ({"scope": "/etc"}, "no path in the repository")],
)  # fmt: skip
def test_a_wrong_session_form_starts_nothing(member_client: Client, shop: Project, wrong: dict[str, str], says: str):
    said = {"prompt": "x", "scope": "", "most": "3"} | wrong
    answer = member_client.post(f"/p/{shop.slug}/issues/sessions/new/", said)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not IssueSession.objects.exists()


def test_questions_are_answered_approved_and_looked_up(
    member_client: Client, shop: Project, session: IssueSession, answers: Give
):
    answers(
        session, findings(questions=[{"text": "One?"}, {"text": "Two?"}], assumptions=[{"text": "A.", "confidence": 1}])
    )
    one, two, assumption = Question.objects.order_by("pk")
    base = f"/p/{shop.slug}/issues/questions"
    member_client.post(f"{base}/{one.pk}/answer/", {"answer": "Yes.", "session": session.pk})
    member_client.post(f"{base}/{assumption.pk}/approve/")
    said = member_client.post(f"{base}/{two.pk}/approve/", follow=True)
    assert "no answer yet" in said.content.decode()
    assert list(Question.objects.order_by("pk").values_list("status", flat=True)) == ["approved", "open", "approved"]
    asked = member_client.post(f"{base}/ask/", {})
    looked = IssueSession.objects.first()
    assert looked
    assert asked.headers["Location"] == f"/p/{shop.slug}/issues/sessions/{looked.pk}/"
    assert looked.asked.get() == two
    said = member_client.post(f"{base}/ask/", {"question": [two.pk]}, follow=True)
    assert "no session is working on" in said.content.decode()
    member_client.post(f"{base}/{one.pk}/reopen/")
    assert Question.objects.get(pk=one.pk).status == "open"


def test_chains_are_made_in_the_order_of_the_form(member_client: Client, shop: Project, card: Card, workflow: Workflow):
    first, second = card("1"), card("2")
    said = {"issue": [second.pk, first.pk], "workflow": workflow.pk, "one_request": "on", "request_key": "k"}
    for _ in range(2):
        member_client.post(f"/p/{shop.slug}/issues/chains/new/", said)
    chain = Chain.objects.get()
    assert [link.issue for link in chain.links.all()] == [second, first]
    sprint = {"goal": "Faster.", "times": "2", "workflow": workflow.pk, "title": "Speed"}
    member_client.post(f"/p/{shop.slug}/issues/chains/new/", sprint)
    chain = Chain.objects.get(kind="sprint")
    assert (str(chain), chain.links.count(), chain.one_request) == ("Speed", 2, False)
    link = chain.links.get(position=1)
    base = f"/p/{shop.slug}/issues/chains/{chain.pk}"
    member_client.post(f"{base}/links/{link.pk}/skip/")
    link.refresh_from_db()
    assert link.status == "skipped"
    said_no = member_client.post(f"{base}/links/{link.pk}/resume/", follow=True)
    assert "Cancel it first" in said_no.content.decode()
    member_client.post(f"{base}/cancel/")
    chain.refresh_from_db()
    assert chain.cancel_asked
    wrong = member_client.post(f"/p/{shop.slug}/issues/chains/new/", {**sprint, "times": "101"})
    assert wrong.status_code == 422


def test_sessions_and_chains_are_narrowed_by_their_address(
    member_client: Client, shop: Project, member: User, session: IssueSession, workflow: Workflow
):
    IssueSession.objects.create(project=shop, kind="answers", status="failed", prompt="Which provider?")
    for query, count in [("", 2), ("kind=answers", 1), ("status=failed", 1), ("q=provider", 1), ("status=done", 0),
                         ("kind=x&status=x", 2)]:  # fmt: skip
        page = member_client.get(f"/p/{shop.slug}/issues/sessions/?{query}")
        assert len(page.context["rows"]) == count, query
    assert "No session matches" in page_of(member_client, f"/p/{shop.slug}/issues/sessions/?q=zebra")
    chains.of_goal(shop, member, workflow, "Make it faster", 2)
    for query, count in [("", 1), ("q=faster", 1), ("q=slower", 0), ("status=done", 0), ("status=x", 1)]:
        page = member_client.get(f"/p/{shop.slug}/issues/chains/?{query}")
        assert len(page.context["rows"]) == count, query


def page_of(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_settings_are_saved_for_both_kinds(owner: User, member_client: Client, shop: Project, workflow: Workflow):
    client = signed_in(owner)
    address = f"/p/{shop.slug}/settings/issues/"
    said = {"prompt": "Ours.", "most": "7", "threshold": "60", "workflow": workflow.pk, "scope": "src"}
    assert client.post(address, said).status_code == 302
    own = IssueSettings.objects.get()
    assert (own.most, own.threshold, own.workflow, own.one_request) == (7, 60, workflow, False)
    assert SessionConfig.of(shop, Kind.ISSUE).prompt == "Ours."
    client.post(f"{address}?kind=answers", {"prompt": "Theirs."})
    assert SessionConfig.of(shop, Kind.ANSWERING).prompt == "Theirs."
    refused = client.post(address, {**said, "threshold": "5", "most": "101"})
    assert refused.status_code == 422
    assert "Allowed is 10 to 100 percent." in refused.content.decode()
    assert member_client.get(address).status_code == 404
