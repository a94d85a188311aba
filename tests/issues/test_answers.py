"""Questions: answered by people and by sessions, approved by people only."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from codecourier.models import Project, User
from issues import answering
from issues.models import Issue, IssueSession, Question
from sandboxes.models import Kind
from sandboxes.turns import NotPossible
from tests.issues.conftest import finding, findings

type Give = Callable[[IssueSession, dict[str, Any]], IssueSession]


@pytest.fixture
def asked(session: IssueSession, answers: Give) -> list[Question]:
    """A question about the first card, one about all, an assumption about the second card."""
    answers(
        session,
        findings(
            finding(title="First", files=["a"]),
            finding(title="Second", files=["b"]),
            questions=[{"text": "About the first?", "issues": [0]}, {"text": "About all?"}],
            assumptions=[{"text": "It is UTC.", "confidence": 0.4, "issues": [1]}],
        ),
    )
    return list(Question.objects.order_by("pk"))


def given(question: Question, **fields: Any) -> dict[str, Any]:
    return {
        "question": question.pk, "answer": "Yes.", "confidence": 0.9,
        "evidence": [{"file": "./shop/basket.py", "line": 12}], **fields,
    }  # fmt: skip


def test_a_session_proposes_answers_with_evidence(shop: Project, member: User, asked: list[Question], answers: Give):
    session = answering.launch(shop, member, asked[:2])
    assert session.sandbox
    assert session.sandbox.kind == Kind.ANSWERING
    turn = session.turn
    assert turn
    assert f"Question {asked[0].pk}: About the first?" in turn.prompt
    unasked = given(asked[2], answer="Not yours to answer.")
    answers(session, {"answers": [given(asked[0]), unasked, given(asked[0]) | {"question": 10**12}]})
    assert (session.added, session.left_out) == (1, 1)
    first, second, third = Question.objects.order_by("pk")
    assert (first.status, first.answer, first.confidence) == ("answered", "Yes.", 0.9)
    assert first.evidence == [{"file": "shop/basket.py", "line": 12}]
    assert first.answered_in == session
    assert (second.status, third.answer) == ("open", "It is UTC.")


def test_what_a_person_decided_meanwhile_stands(shop: Project, member: User, asked: list[Question], answers: Give):
    session = answering.launch(shop, member, asked[:1])
    answering.answer(asked[0], member, "No.")
    answers(session, {"answers": [given(asked[0])]})
    asked[0].refresh_from_db()
    assert (asked[0].status, asked[0].answer) == ("approved", "No.")


def test_a_question_is_asked_once_at_a_time(shop: Project, member: User, asked: list[Question], answers: Give):
    first = answering.launch(shop, member, asked)
    assert first.asked.count() == 2
    with pytest.raises(ValidationError, match="no session is working on"):
        answering.launch(shop, member, asked)
    answers(first, {"answers": []})
    assert answering.launch(shop, member, asked[:1]).asked.get() == asked[0]


def test_only_what_is_approved_travels_and_only_with_its_cards(member: User, asked: list[Question]):
    first, second = Issue.objects.order_by("pk")
    assert answering.context([first, second]) == ""
    answering.answer(asked[0], member, "Yes, always.")
    answering.answer(asked[1], member, "All of them.")
    answering.approve(asked[2], member)
    about_first, about_second = answering.context([first]), answering.context([second])
    assert "About the first?\n  Yes, always." in about_first
    assert "It is UTC." not in about_first
    assert "It is UTC." in about_second
    assert "Yes, always." not in about_second
    assert all("All of them." in text for text in (about_first, about_second))
    answering.reject(asked[1], member)
    assert "All of them." not in answering.context([first])


def test_an_answer_needs_words_and_an_approval_an_answer(member: User, asked: list[Question]):
    with pytest.raises(ValidationError, match="Write the answer"):
        answering.answer(asked[0], member, " ")
    with pytest.raises(NotPossible, match="no answer yet"):
        answering.approve(asked[0], member)


def test_a_changed_answer_is_the_persons_own(member: User, asked: list[Question]):
    answering.answer(asked[2], member, "It is local time.")
    asked[2].refresh_from_db()
    assert (asked[2].answer, asked[2].confidence, asked[2].decided_by) == ("It is local time.", None, member)


def test_two_people_do_not_decide_over_each_other(member: User, owner: User, asked: list[Question]):
    stale = Question.objects.get(pk=asked[2].pk)
    answering.reject(asked[2], member)
    with pytest.raises(NotPossible, match="Look again"):
        answering.approve(stale, owner)


def test_what_runs_are_told_is_bounded(member: User, asked: list[Question]):
    answering.answer(asked[0], member, "x" * 50_000)
    text = answering.context([Issue.objects.order_by("pk")[0]])
    assert len(text) < 41_000
    assert text.endswith("did not fit.")
