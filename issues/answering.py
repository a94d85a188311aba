"""Answers to questions: by a person, or proposed by a session; what a person approved travels with the runs.

open ──> session ──> answered (confidence, evidence) ──> approved | rejected
open ──> a person's own answer ──> approved
"""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from codecourier.models import Project, User
from sandboxes.turns import NotPossible

from . import sessions
from .contract import ANSWERS, MOST_QUESTIONS, Answers
from .models import Issue, IssueSession, Question

S = Question.Status
PROMPT = """Answer these questions about the repository from what is in it: code, tests, configuration, history.

Say how sure you are (0 to 1), and point at the lines that show it. Leave a question out rather than guess where the
repository tells nothing."""
# What a run is told at most.
CONTEXT_CHARS = 40_000


def prompt_of(project: Project) -> str:
    """The project's own, else the stock text."""
    return sessions.config_of(project, IssueSession.Kind.ANSWERS).prompt.strip() or PROMPT


def launch(project: Project, user: User | None, questions: Iterable[Question]) -> IssueSession:
    """A session that looks for the answers; ValidationError when there is nothing to answer."""
    busy = Question.objects.filter(sessions__status=IssueSession.Status.RUNNING).values("pk")
    rows = Question.objects.open().filter(project=project, pk__in=[row.pk for row in questions]).exclude(pk__in=busy)
    asked = list(rows.order_by("pk")[:MOST_QUESTIONS])
    if not asked:
        raise ValidationError("Choose one or more open questions that no session is working on.")
    session = IssueSession(project=project, created_by=user, kind=IssueSession.Kind.ANSWERS, prompt=prompt_of(project))
    said = "\n\n".join(f"Question {row.pk}: {row.text}" + (f"\n{row.why}" if row.why else "") for row in asked)
    with transaction.atomic():
        sessions.begin(session, f"{session.prompt}\n\n{said}", ANSWERS, f"Answers: {asked[0]}")
        session.asked.set(asked)
    return session


def take(session: IssueSession, answer: dict[str, Any]) -> None:
    """Answers into their questions, in the caller's transaction; what was not asked is left out."""
    found = {given.question: given for given in Answers.model_validate(answer).answers}
    for row in session.asked.open():
        if given := found.get(row.pk):
            evidence = [one.model_dump() for one in given.evidence]
            fields: dict[str, Any] = {"answer": given.answer, "confidence": given.confidence, "evidence": evidence}
            session.added += row.move(S.ANSWERED, answered_in=session, **fields)
    session.left_out = session.asked.count() - session.added


def answer(question: Question, user: User, text: str) -> None:
    """A person's own words, approved by that; ValidationError for none."""
    if not text.strip():
        raise ValidationError({"answer": "Write the answer, or reject the question."})
    changed = text.strip() != question.answer
    own: dict[str, Any] = (
        {"answer": text.strip(), "confidence": None, "evidence": [], "answered_in": None} if changed else {}
    )
    decide(question, user, S.APPROVED, **own)


def approve(question: Question, user: User) -> None:
    """The answer holds; NotPossible without one."""
    if not question.answer:
        raise NotPossible("There is no answer yet that could be approved.")
    decide(question, user, S.APPROVED)


def reject(question: Question, user: User) -> None:
    """It holds not, or needs no answer: no run is told of it."""
    decide(question, user, S.REJECTED)


def reopen(question: Question, user: User) -> None:
    """It is open again; the answer it had is a thing of the past."""
    decide(question, user, S.OPEN)


def decide(question: Question, user: User, to: str, **fields: Any) -> None:
    """NotPossible when it stands there already, or somebody else was first."""
    if to not in Question.EDGES[S(question.status)] or not question.move(to, decided_by=user, **fields):
        raise NotPossible(f"This question is {S(question.status).label.lower()} by now. Look again.")


def approved(issues: Iterable[Issue]) -> list[Question]:
    """What a run of these cards is told: answers about them, and those about their whole session."""
    rows = list(issues)
    whole = Q(issues=None, session__in=[row.session_id for row in rows if row.session_id])
    about = Q(issues__in=[row.pk for row in rows])
    return list(Question.objects.filter(about | whole, status=S.APPROVED).distinct().order_by("pk"))


def context(issues: Iterable[Issue]) -> str:
    """The same as Markdown; empty without any."""
    parts = [f"- {row.text}\n  {row.answer}" if row.text != row.answer else f"- {row.text}" for row in approved(issues)]
    if not parts:
        return ""
    text = "# Answers\n\nA person has approved these:\n\n" + "\n".join(parts)
    return text if len(text) <= CONTEXT_CHARS else text[:CONTEXT_CHARS] + "\n… and more that did not fit."
