"""What the page of one session shows, to its view and to its socket."""

from typing import Any

from django.core.exceptions import ValidationError
from django.template.loader import render_to_string

from sandboxes import e2b
from sandboxes.bill import bill
from sandboxes.models import SessionConfig, Turn

from . import listing, sessions
from .models import Issue, IssueSession, Question

PARTS = ("heading", "notice", "found", "questions", "facts")


def context(session: IssueSession) -> dict[str, Any]:
    """Everything."""
    sandbox = session.sandbox
    issues = list(
        Issue.objects.filter(session=session).defer("search", "words").select_related("duplicate_of", "run")
        .order_by("priority", "pk")[: listing.PAGE * 2]
    )  # fmt: skip
    listing.dress(issues)
    turn = session.turn
    questions = session.questions if session.kind == IssueSession.Kind.SCAN else session.asked
    return {
        "project": session.project,
        "session": session,
        "sandbox": sandbox,
        "phase": sandbox.phases.running().first() if sandbox and not session.final else None,
        "mending": Turn.objects.filter(repairs=turn).exists() if turn else False,
        "cards": [issue for issue in issues if not issue.duplicate_of_id],
        "repeats": [issue for issue in issues if issue.duplicate_of_id],
        "questions": list(questions.prefetch_related("issues").order_by("pk")[:100]),
        "undecided": Question.UNDECIDED,
        "bill": bill(sandbox, sandbox.turns.all(), sandbox.phases.all()) if sandbox else None,
        "outcome": sessions.outcome(session) if session.status == IssueSession.Status.DONE else "",
        "tabs": listing.tabs(session.project),
    }


def made_with(config: SessionConfig) -> dict[str, Any]:
    """What a new session will run with, for the panel beside its form."""
    try:
        template = sessions.template_of(config)
    except ValidationError as error:
        return {"config": config, "problem": " ".join(error.messages)}
    fields = sessions.fields(config)
    isolation = e2b.isolation(config.project)
    return {"config": config, "template": template, "machine": fields, "isolation": isolation}


def fragments(found: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**found, "live": True}
    return {name: render_to_string(f"issues/session_detail.html#{name}", shown) for name in PARTS}
