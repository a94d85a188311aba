"""Sessions that look for issues: what they are asked, what becomes of their answers, and how they end otherwise."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_q.models import OrmQ
from pydantic import ValidationError as Unfit

from codecourier.lifecycle import sweep
from codecourier.models import Notification, Project, User
from issues import scan, sessions
from issues.contract import Findings
from issues.models import Issue, IssueSession, IssueSettings, Question
from personas import library
from personas.models import Asset, Persona
from sandboxes import fleet
from sandboxes.models import Kind, Sandbox, SessionConfig, Template, Turn
from tests.issues.conftest import end_turn, finding, findings

type Give = Callable[[IssueSession, dict[str, Any]], IssueSession]
type Work = Callable[[], int]


def test_a_session_is_a_sandbox_that_has_to_answer_by_contract(shop: Project, member: User):
    session = scan.launch(shop, member, prompt="Look for races.", scope=["shop", "tests/*.py"], most=5)
    sandbox = session.sandbox
    assert sandbox
    assert (sandbox.kind, sandbox.publish, sandbox.tool) == (Kind.ISSUE, "nothing", "claude")
    assert sandbox.repository_url == shop.repository_url
    assert sandbox.labels["issue_session"] == session.pk
    turn = sandbox.turns.get()
    assert turn.contract == "findings"
    for part in ("Look for races.", "- `shop`\n- `tests/*.py`", "at most 5 issues", "read-only", '"priority"'):
        assert part in turn.prompt


def test_settings_decide_what_is_left_open(shop: Project, member: User, claude: Template):
    persona = Persona.objects.create(project=shop, name="Ann", tool="claude", model="opus", instructions="Be strict.")
    context = Asset.objects.create(project=shop, kind="context", name="rules")
    library.save(context, member, {context.main: b"House rules."}, 0)
    library.publish(context, member)
    SessionConfig.objects.create(
        project=shop, kind=Kind.ISSUE, persona=persona, context=context, memory_mb=4096, prompt="Look for our things."
    )
    IssueSettings.objects.create(project=shop, scope="src\n\n docs ", most=7, threshold=60)
    session = scan.launch(shop, member)
    sandbox = session.sandbox
    assert sandbox
    assert (session.scope, session.most, session.threshold) == (["src", "docs"], 7, 60)
    assert session.prompt == "Look for our things."
    assert (sandbox.memory_mb, sandbox.designer_model) == (4096, "opus")
    assert "Be strict." in sandbox.briefing["system_prompt"]
    assert sandbox.briefing["contexts"] == {"rules": "House rules."}
    assert "rules" in [source["name"] for source in sandbox.briefing["sources"]]


@pytest.mark.parametrize("path", ["/etc", "../other", "a/../../b", "x" * 301])
def test_a_path_outside_of_the_repository_is_refused(shop: Project, member: User, path: str):
    with pytest.raises(ValidationError, match="no path in the repository"):
        scan.launch(shop, member, scope=[path])
    assert not Sandbox.objects.exists()


def test_without_a_repository_there_is_nothing_to_look_at(project: Project, claude: Template, member: User):
    with pytest.raises(ValidationError, match="no repository yet"):
        scan.launch(project, member)
    assert not IssueSession.objects.exists()


def test_the_same_form_makes_one_session(shop: Project, member: User):
    first, second = (scan.launch(shop, member, request_key="k") for _ in range(2))
    assert first == second
    assert Sandbox.objects.count() == 1


def test_an_answer_becomes_cards_questions_and_assumptions(session: IssueSession, answers: Give):
    answers(
        session,
        findings(
            finding(title="Low one", priority="low", files=["./a.py:12", "/home/user/project/b.py#L3-L4"]),
            finding(title="Urgent one", priority="critical", files=["c.py"]),
            questions=[{"text": "May prices be negative?", "why": "Refunds.", "issues": [1]}],
            assumptions=[{"text": "Python 3.12 is the oldest.", "confidence": 0.7}],
        ),
    )
    assert (session.status, session.added, session.duplicates, session.left_out) == ("done", 2, 0, 0)
    urgent, low = Issue.objects.order_by("rank")
    assert (urgent.title, low.title) == ("Urgent one", "Low one")
    assert low.files == ["a.py", "b.py"]
    assert low.history.get().new == "new"
    question = Question.objects.get(kind="question")
    assert (question.status, list(question.issues.all())) == ("open", [urgent])
    assumption = Question.objects.get(kind="assumption")
    assert (assumption.status, assumption.answer, assumption.confidence) == ("answered", assumption.text, 0.7)
    told = Notification.objects.get()
    assert told.text == f"Finding issues, session {session.pk}: 2 issues."
    assert told.level == "success"


def test_the_most_urgent_are_kept_and_the_rest_is_said(shop: Project, member: User, answers: Give):
    session = scan.launch(shop, member, most=2)
    answers(session, findings(*(finding(title=f"{n} {p}", priority=p, files=[f"{n}"]) for n, p in enumerate(
        ["low", "high", "medium", "critical"]))))  # fmt: skip
    assert [issue.priority for issue in Issue.objects.all()] == [0, 1]
    assert (session.added, session.left_out) == (2, 2)


def test_an_answer_is_taken_once(session: IssueSession, answers: Give, work: Work):
    answers(session, findings(finding()))
    for _ in range(2):
        IssueSession.poke(session.pk)
        assert work()
    assert Issue.objects.count() == 1


def test_what_is_found_again_is_set_apart(shop: Project, member: User, session: IssueSession, answers: Give):
    answers(session, findings(finding()))
    known = Issue.objects.get()
    again = scan.launch(shop, member)
    answers(
        again,
        findings(
            finding(title="The total of an empty basket is wrong", description="`total([])` raises, it should give 0."),
            finding(title="Total of an empty basket is wrong", files=["other/place.py"]),
            finding(title="Names are cut after 20 letters", description="See the slice."),
        ),
    )
    twin = Issue.objects.get(duplicate_of=known)
    assert twin.similarity
    assert twin.similarity > 0.45
    assert (again.added, again.duplicates) == (2, 1)
    assert Issue.objects.cards().count() == 3
    assert "1 of them possible duplicates" in Notification.objects.first().text  # type: ignore[union-attr]


def test_what_is_said_twice_in_one_answer_is_set_apart_too(session: IssueSession, answers: Give):
    answers(session, findings(finding(), finding()))
    assert (session.added, session.duplicates) == (1, 1)


@pytest.mark.parametrize(("status", "apart"), [("closed", 1), ("completed", 0)])
def test_what_nobody_wants_stays_away_and_what_was_done_may_come_back(
    shop: Project, member: User, session: IssueSession, answers: Give, status: str, apart: int
):
    answers(session, findings(finding()))
    Issue.objects.get().move(status)
    again = answers(scan.launch(shop, member), findings(finding()))
    assert again.duplicates == apart


def test_cards_of_other_projects_are_no_duplicates(session: IssueSession, answers: Give, stranger: User):
    other = Project.objects.create(name="Other", slug="other")
    Issue.objects.create(project=other, status="new", **{**finding(), "priority": 1})
    answers(session, findings(finding()))
    assert session.duplicates == 0


def test_a_card_without_a_file_is_compared_with_others_without(
    shop: Project, member: User, session: IssueSession, answers: Give
):
    answers(session, findings(finding(files=[])))
    again = answers(scan.launch(shop, member), findings(finding(files=[]), finding(files=["a.py"])))
    assert (again.duplicates, again.added) == (1, 1)


def test_a_turn_that_failed_fails_its_session(session: IssueSession, work: Work):
    assert session.turn
    end_turn(session.turn, status="failed", reason="contract", detail="It has the wrong form.")
    work()
    session.refresh_from_db()
    assert (session.status, session.reason, session.detail) == ("failed", "contract", "It has the wrong form.")
    assert "It has the wrong form." in Notification.objects.get().text


def test_an_answer_that_is_mended_counts(session: IssueSession, work: Work):
    first = session.turn
    assert first
    mend = Turn.objects.create(sandbox=first.sandbox, prompt="x", repairs=first, contract="findings", status="queued")
    end_turn(first, status="failed", reason="contract")
    work()
    session.refresh_from_db()
    assert session.status == "running"
    end_turn(mend, findings(finding()))
    work()
    session.refresh_from_db()
    assert (session.status, session.added) == ("done", 1)


def test_a_session_whose_machine_ends_ends_too(session: IssueSession, work: Work):
    assert session.sandbox
    fleet.finish(session.sandbox, "error", "lost")
    work()
    session.refresh_from_db()
    assert session.status == "failed"
    assert session.detail


def test_a_session_whose_sandbox_was_deleted_is_found_by_the_sweep(session: IssueSession, work: Work):
    OrmQ.objects.all().delete()
    Sandbox.objects.all().delete()
    IssueSession.objects.update(due_at=timezone.now())
    assert sweep() == 1
    work()
    session.refresh_from_db()
    assert (session.status, session.reason) == ("failed", "lost")


def test_a_script_that_answers_nothing_is_told(session: IssueSession, work: Work):
    assert session.turn
    end_turn(session.turn, None)
    work()
    session.refresh_from_db()
    assert session.detail == "It ended without an answer."


def test_stopping_ends_the_machine(session: IssueSession, member: User):
    sessions.stop(session, member)
    assert session.sandbox
    session.sandbox.refresh_from_db()
    assert session.sandbox.wanted == "kill"


HOSTILE = "<script>alert(1)</script>\n\u202eevil\u0007 title"


def test_what_an_agent_writes_is_kept_harmless():
    found = Findings.model_validate(findings(finding(title=HOSTILE, files=["../../etc/passwd", "a\nb.py"])))
    assert found.issues[0].title == "<script>alert(1)</script> evil title"
    assert found.issues[0].files[1] == "a b.py"


@pytest.mark.parametrize(
    "answer",
    [
        findings(*[finding()] * 10_000),
        findings(finding(title="")),
        findings(finding(title="\u202e")),
        findings(finding(title="x" * 201)),
        findings(finding(priority="blocker")),
        findings(finding(description="x" * 20_001)),
        findings(finding(files=["x"] * 51)),
        findings(assumptions=[{"text": "x", "confidence": 1.5}]),
        findings(questions=[{"text": " "}]),
        {"summary": "no issues"},
    ],
)
def test_what_does_not_fit_is_refused(answer: dict[str, Any]):
    with pytest.raises(Unfit):
        Findings.model_validate_json(json.dumps(answer))
